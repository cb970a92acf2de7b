"""What changes when a sweep is resumed with more to do."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import datetime
from itertools import pairwise
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from toprung.analysis.study.trials import trial_result
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.errors import ToprungError
from toprung.search.staged_search import stage_ends
from toprung.settings import SweepSettings, resolve, seconds
from toprung.trainables.config import dump_config


def changed(settings: SweepSettings, given: Mapping[str, Any]) -> SweepSettings:
    """The settings with what the user gave on resuming laid over them.

    `trials`, `max_epochs` and `time_budget` may be given as an addition, such as `+50`.

    Raises:
        ConfigError: for a value that is out of its range.
        ToprungError: for fewer trials or epochs than the sweep has had.
    """
    values = {name: value for name, value in given.items() if value is not None}
    for name in ("trials", "max_epochs"):
        if name in values:
            values[name] = _more(name, getattr(settings, name), values[name])
    if "time_budget" in values:
        values["time_budget"] = _more_time(settings.time_budget, values["time_budget"])
    if settings.sampler == "grid" and values.get("trials", 0) > settings.trials:
        raise ToprungError("trials: a grid has all its combinations from the start, and no more")
    before = settings.model_dump()
    if values.get("trials", settings.trials) > settings.trials and settings.stages:
        before["stages"] = _longer_last_stage(settings, values["trials"])
    return resolve(before, values)


def _more(name: str, now: int, given: int | str) -> int:
    """The new number: as it is, or added to the old one."""
    text = str(given)
    try:
        number = now + int(text) if text.startswith("+") else int(text)
    except ValueError:
        raise ToprungError(f"{name} = {given!r}: must be a number, or an addition as +50") from None
    if number < now:
        raise ToprungError(f"{name} = {given}: the sweep has {now}, and can only be given more")
    return number


def _more_time(now: float | None, given: float | str) -> float:
    text = str(given)
    try:
        total = seconds(text.removeprefix("+")) + (now or 0 if text.startswith("+") else 0)
    except ValueError as error:
        raise ToprungError(f"time_budget = {given!r}: {error}") from None
    if now is not None and total < now:
        raise ToprungError(f"time_budget = {given}: the sweep has {now:g} s, and can only get more")
    return total


def _longer_last_stage(settings: SweepSettings, num_trials: int) -> list[dict[str, Any]]:
    """The stages, of which those before the last keep their numbers of trials."""
    ends = [0, *stage_ends(settings)[:-1], num_trials]
    lengths = [end - start for start, end in pairwise(ends)]
    return [
        stage.model_dump() | {"share": max(length - 1, 1e-9)}  # each has one besides its share
        for stage, length in zip(settings.stages, lengths, strict=True)
    ]


def taken_up_again(
    trials: Sequence[FrozenTrial],
    folder: SweepFolder,
    before: SweepSettings,
    now: SweepSettings,
    *,
    has_more_time: bool,
) -> tuple[list[FrozenTrial], list[int]]:
    """The trials that go on although they had ended, as they are to stand in the study.

    With more epochs those go on that had come to their end, if their checkpoint has been kept;
    with more time those that the time budget had cut short.

    Args:
        trials: of the study.
        folder: the sweep's.
        before: the settings so far.
        now: the new ones.
        has_more_time: whether trials that were cut short by the time budget may go on.

    Returns:
        These trials (with them runs that are to end, because what they confirm goes on), and the
        numbers of those that would go on if their checkpoint had been kept.
    """
    again, left = [], []
    kept = folder.checkpoints()
    for trial in trials:
        result = trial_result(trial)
        if result.config is None:
            continue
        longer = now.max_epochs > before.max_epochs and (
            result.config.training.epochs == before.max_epochs
        )
        came_to_its_end = (
            result.ended == attributes.FINISHED and result.last_epoch >= before.max_epochs
        )
        running = trial.state == TrialState.RUNNING
        if result.confirms is not None:
            if longer and running:
                again.append(_ended(trial))
            continue
        cut = result.ended == attributes.TIME_BUDGET and has_more_time
        if not (cut or (longer and (came_to_its_end or running))):
            continue
        trained = result.last is not None and not running
        if trained and trial.number not in kept:
            left.append(trial.number)
            continue
        training = result.config.training
        if longer:
            training = training.model_copy(update={"epochs": now.max_epochs})
        config = result.config.model_copy(update={"training": training})
        again.append(_running(trial, dump_config(config)))
    return again, left


def _ended(trial: FrozenTrial) -> FrozenTrial:
    """A run as one that has ended: what it confirms is to be trained for longer."""
    ended = deepcopy(trial)
    ended.state = TrialState.PRUNED if attributes.BEST in trial.user_attrs else TrialState.FAIL
    ended.datetime_complete = datetime.now()
    ended.user_attrs |= {attributes.ENDED: attributes.INTERRUPTED}
    return ended


def _running(trial: FrozenTrial, config: str) -> FrozenTrial:
    """The trial as one that runs."""
    taken_up = deepcopy(trial)
    taken_up.state = TrialState.RUNNING
    taken_up.values = None
    taken_up.datetime_complete = None
    told = {attributes.CONFIG: config}
    if attributes.ENDED in trial.user_attrs:
        told |= {attributes.ENDED: attributes.RUNNING, attributes.REASON: ""}
    taken_up.user_attrs |= told
    return taken_up
