"""What changes when a sweep is extended on resuming: by more trials, epochs or time."""

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
    """The settings, overridden by those that the user gave on resuming.

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
        raise ToprungError(
            "trials: a grid tries all its combinations from the start; it has no more"
        )
    before = settings.model_dump()
    if values.get("trials", settings.trials) > settings.trials and settings.stages:
        before["stages"] = _longer_last_stage(settings, values["trials"])
    return resolve(before, values)


def _more(name: str, now: int, given: int | str) -> int:
    """The new number, given as such or as an addition to the old one."""
    text = str(given)
    try:
        number = now + int(text) if text.startswith("+") else int(text)
    except ValueError:
        raise ToprungError(
            f"{name} = {given!r}: must be a number, or an addition such as +50"
        ) from None
    if number < now:
        raise ToprungError(f"{name} = {given}: must be at least {now}, which the sweep already has")
    return number


def _more_time(now: float | None, given: float | str) -> float:
    text = str(given)
    try:
        total = seconds(text.removeprefix("+")) + (now or 0 if text.startswith("+") else 0)
    except ValueError as error:
        raise ToprungError(f"time_budget = {given!r}: {error}") from None
    if now is not None and total < now:
        raise ToprungError(
            f"time_budget = {given}: must be at least {now:g} s, which the sweep already has"
        )
    return total


def _longer_last_stage(settings: SweepSettings, num_trials: int) -> list[dict[str, Any]]:
    """The search stages; all but the last keep their numbers of trials."""
    ends = [0, *stage_ends(settings)[:-1], num_trials]
    lengths = [end - start for start, end in pairwise(ends)]
    return [
        stage.model_dump()
        | {"share": max(length - 1, 1e-9)}  # besides its share, each has one trial
        for stage, length in zip(settings.stages, lengths, strict=True)
    ]


def continued_trials(
    trials: Sequence[FrozenTrial],
    folder: SweepFolder,
    before: SweepSettings,
    now: SweepSettings,
    *,
    has_more_time: bool,
) -> tuple[list[FrozenTrial], list[int]]:
    """The trials that continue although they had ended, as the study is to record them.

    With more epochs, trials that had finished continue, if their checkpoints were kept; with more
    time, trials that the time budget had stopped.

    Args:
        trials: the trials of the study.
        folder: the sweep's folder.
        before: the settings so far.
        now: the new settings.
        has_more_time: whether trials that the time budget had stopped may continue.

    Returns:
        These trials (and with them the confirmation runs that end, because the trials that they
        confirm continue), and the numbers of those that would continue if their checkpoints had
        been kept.
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
        finished = result.ended == attributes.FINISHED and result.last_epoch >= before.max_epochs
        running = trial.state == TrialState.RUNNING
        if result.confirms is not None:
            if longer and running:
                again.append(_ended(trial))
            continue
        cut = result.ended == attributes.TIME_BUDGET and has_more_time
        if not (cut or (longer and (finished or running))):
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
    """A confirmation run, marked as ended: the trial that it confirms will train for longer."""
    ended = deepcopy(trial)
    ended.state = TrialState.PRUNED if attributes.BEST in trial.user_attrs else TrialState.FAIL
    ended.datetime_complete = datetime.now()
    ended.user_attrs |= {attributes.ENDED: attributes.INTERRUPTED}
    return ended


def _running(trial: FrozenTrial, config: str) -> FrozenTrial:
    """The trial, marked as running, with this config."""
    running = deepcopy(trial)
    running.state = TrialState.RUNNING
    running.values = None
    running.datetime_complete = None
    changes = {attributes.CONFIG: config}
    if attributes.ENDED in trial.user_attrs:
        changes |= {attributes.ENDED: attributes.RUNNING, attributes.REASON: ""}
    running.user_attrs |= changes
    return running
