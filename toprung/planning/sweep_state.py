"""The state in which a sweep begins, or is resumed: its study in memory, and the study's file."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from rich.console import Console

from toprung import events
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.driver import this_driver
from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.console import show_line
from toprung.errors import ToprungError
from toprung.planning import record_check
from toprung.planning.extension import taken_up_again
from toprung.planning.own_places import OwnPlaces
from toprung.planning.plan import SweepPlan
from toprung.planning.sweep_files import write_changed_settings, write_files
from toprung.search.samplers import sampler_of
from toprung.settings import SweepSettings
from toprung.storage.driver_lock import driver_lock
from toprung.storage.retry import Patience
from toprung.storage.study_database import Event, StudyFile
from toprung.trainables.config import METRICS

BEGUN, RESUMED, SEARCHING = "begun", "resumed", "searching"


@dataclass(frozen=True)
class SweepState:
    """What a driver works with.

    Attributes:
        study: in memory.
        file: follows it.
        places: records what each config uses outside the sweep's folder.
        past: what happened before the sweep was resumed, each with its time.
    """

    study: optuna.Study
    file: StudyFile
    places: OwnPlaces
    past: Sequence[tuple[float, Event]] = ()

    @property
    def confirmation(self) -> dict[str, Any] | None:
        """What was decided of the confirmation before the sweep was resumed."""
        told: dict[str, Any] = self.file.attributes.get(attributes.CONFIRMATION, {})
        return told if told.get("decided") else None


@contextmanager
def begun(plan: SweepPlan, patience: Patience) -> Iterator[SweepState]:
    """Make a new sweep's folder and study. It is taken away again if no trial gets to start.

    Raises:
        ToprungError: if the folder cannot be written, or has been made by another in the meantime.
    """
    folder = plan.folder
    try:
        folder.trials.mkdir(parents=True)  # of two at once, one does
    except FileExistsError:
        raise ToprungError(
            f"{folder.path}: another sweep of this name has begun there just now (see toprung "
            "status); choose another --name"
        ) from None
    except OSError as error:
        raise ToprungError(f"{folder.path}: cannot be made: {error.strerror}") from None
    try:
        with ExitStack() as stack:
            stack.enter_context(driver_lock(folder))
            direction = _direction(plan.settings)
            study = optuna.create_study(sampler=sampler_of(plan.settings), direction=direction)
            if plan.warm_start is not None:
                plan.warm_start.begin(study)
            for parameters in plan.grid:
                study.enqueue_trial(parameters)
            file = StudyFile(plan.study_place, folder.decisions, patience, direction)
            stack.callback(file.close)
            if plan.study_place.file is None:
                stack.push(partial(_discard_unused, file, folder))
            began = events.sweep(BEGUN, seed=plan.settings.seed)
            file.write([began], study.get_trials(deepcopy=False), _driven(plan.settings))
            yield SweepState(study, file, write_files(plan))
    except BaseException:
        if not folder.any_trial_reported:
            shutil.rmtree(folder.path, ignore_errors=True)
        raise


def _discard_unused(file: StudyFile, folder: SweepFolder, raised: object, *_: object) -> None:
    """Leave no study in a database of the user's, if no trial got to start."""
    if raised is not None and not folder.any_trial_reported:
        file.discard()


@contextmanager
def resumed(plan: SweepPlan, patience: Patience) -> Iterator[SweepState]:
    """Take a sweep up where its study is. The caller holds the sweep's lock.

    Raises:
        ToprungError: if its study cannot be opened, or it is given more to do and no time.
        RecordLostError: if nothing can be written.
    """
    with ExitStack() as stack:
        file = StudyFile(plan.study_place, plan.folder.decisions, patience)
        stack.callback(file.close)
        past = file.events()
        if not past:
            raise ToprungError(f"{plan.folder.path}: the study has lost its log of decisions")
        tell_problems(plan.console, plan.folder, file, [event for _, event in past])
        before, has_time = _settings(file), _has_time(plan, past)
        _check_time(before, plan.settings, has_time=has_time)
        again, left = taken_up_again(
            file.trials, plan.folder, before, plan.settings, has_more_time=has_time
        )
        _tell(plan, again, left)
        by_number = {trial.number: trial for trial in [*file.trials, *again]}
        study = optuna.create_study(
            sampler=sampler_of(plan.settings), direction=_direction(plan.settings)
        )
        study.add_trials(trial for _, trial in sorted(by_number.items()))
        went_on = events.sweep(RESUMED, taken_up_again=[trial.number for trial in again])
        undecided = _undecided(plan, file, bool(again), has_time=has_time)
        file.write([went_on], again, _driven(plan.settings) | undecided)
        patience(lambda: write_changed_settings(plan))
        yield SweepState(study, file, OwnPlaces(plan, plan.said or {}), past)


def seconds_used(past: Sequence[tuple[float, Event]]) -> float:
    """For how long trials have run; with a driver that was killed, up to what it wrote at last."""
    total, before, searches = 0.0, 0.0, False
    for at, event in past:
        total += at - before if searches else 0.0
        before = at
        if event["event"] == events.SWEEP:
            searches = event["what"] == SEARCHING
    return total


def tell_problems(
    console: Console, folder: SweepFolder, file: StudyFile, past: Sequence[Event]
) -> None:
    """Say where the record is not whole; the sweep can go on all the same."""
    if file.num_unknown_lines:
        log = folder.shown(folder.decisions)
        told = f"{file.num_unknown_lines} of its lines are not in the study, and left out"
        show_line(console, f"{log}: {told}")
    if found := record_check.problems(file.trials, past):
        show_line(console, f"the sweep's record is not whole, and stays so: {found}")


def _tell(plan: SweepPlan, again: Sequence[FrozenTrial], left: Sequence[int]) -> None:
    if again:
        numbers = ", ".join(str(trial.number) for trial in again)
        show_line(plan.console, f"taken up again: trial {numbers}")
    if left:
        numbers = ", ".join(map(str, left))
        show_line(plan.console, f"as they are, because they have no checkpoint: trial {numbers}")


def _undecided(
    plan: SweepPlan, file: StudyFile, any_again: bool, *, has_time: bool
) -> dict[str, Any]:
    """Let what confirms the winner be decided anew, if there will be more trials to choose from."""
    told = file.attributes.get(attributes.CONFIRMATION)
    search = [t for t in file.trials if attributes.CONFIG in t.user_attrs]
    begun = [t for t in search if attributes.CONFIRMS not in t.user_attrs]
    more = has_time and len(begun) < plan.settings.trials
    if not told or not (more or any_again):
        return {}
    return {attributes.CONFIRMATION: told | {"decided": False, "done": False}}


def _has_time(plan: SweepPlan, past: Sequence[tuple[float, Event]]) -> bool:
    budget = plan.settings.time_budget
    return budget is None or budget > seconds_used(past)


def _settings(file: StudyFile) -> SweepSettings:
    return SweepSettings(**file.attributes[attributes.SETTINGS])


def _check_time(before: SweepSettings, now: SweepSettings, *, has_time: bool) -> None:
    """More trials or epochs need time.

    Raises:
        ToprungError: if the time budget is used up.
    """
    grown = now.trials > before.trials or now.max_epochs > before.max_epochs
    if grown and not has_time:
        raise ToprungError(
            f"time_budget = {now.time_budget:g} s: is used up; give more, such as --time-budget +1h"
        )


def _driven(settings: SweepSettings) -> dict[str, Any]:
    return {
        attributes.OWNER: this_driver(),
        attributes.SWEEP_ENDED: attributes.RUNNING,
        attributes.SETTINGS: settings.model_dump(mode="json"),
    }


def _direction(settings: SweepSettings) -> StudyDirection:
    larger = METRICS[settings.metric] == "max"
    return StudyDirection.MAXIMIZE if larger else StudyDirection.MINIMIZE
