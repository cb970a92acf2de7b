"""The state in which a sweep starts or resumes: the study in memory, and its persistent mirror."""

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
from toprung.planning.extension import continued_trials
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
    """The study of a sweep and its records, for the driver.

    Attributes:
        study: the in-memory study.
        file: its persistent mirror.
        places: records what each config uses outside the sweep's folder.
        past: the events before the sweep was resumed, each with its time.
    """

    study: optuna.Study
    file: StudyFile
    places: OwnPlaces
    past: Sequence[tuple[float, Event]] = ()

    @property
    def confirmation(self) -> dict[str, Any] | None:
        """The confirmation that was decided before the sweep was resumed, if any."""
        kept: dict[str, Any] = self.file.attributes.get(attributes.CONFIRMATION, {})
        return kept if kept.get("decided") else None


@contextmanager
def begun(plan: SweepPlan, patience: Patience) -> Iterator[SweepState]:
    """Create a new sweep's folder and study; both are removed again if no trial reports anything.

    Raises:
        ToprungError: if the folder cannot be written, or another process has just created it.
    """
    folder = plan.folder
    try:
        folder.trials.mkdir(parents=True)  # of two at once, one succeeds
    except FileExistsError:
        raise ToprungError(
            f"{folder.path}: another sweep of this name has just started there (see toprung "
            "status); choose another --name"
        ) from None
    except OSError as error:
        raise ToprungError(f"{folder.path}: cannot be created: {error.strerror}") from None
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
    """Delete the study from the user's database, if no trial has reported anything."""
    if raised is not None and not folder.any_trial_reported:
        file.discard()


@contextmanager
def resumed(plan: SweepPlan, patience: Patience) -> Iterator[SweepState]:
    """Resume a sweep from its study. The caller holds the sweep's lock.

    Raises:
        ToprungError: if its study cannot be opened, or it is extended with no time left.
        RecordLostError: if the study cannot be written.
    """
    with ExitStack() as stack:
        file = StudyFile(plan.study_place, plan.folder.decisions, patience)
        stack.callback(file.close)
        past = file.events()
        if not past:
            raise ToprungError(f"{plan.folder.path}: the study has lost its decision log")
        show_problems(plan.console, plan.folder, file, [event for _, event in past])
        before, has_time = _settings(file), _has_time(plan, past)
        _check_time(before, plan.settings, has_time=has_time)
        again, left = continued_trials(
            file.trials, plan.folder, before, plan.settings, has_more_time=has_time
        )
        _show_continued(plan, again, left)
        by_number = {trial.number: trial for trial in [*file.trials, *again]}
        study = optuna.create_study(
            sampler=sampler_of(plan.settings), direction=_direction(plan.settings)
        )
        study.add_trials(trial for _, trial in sorted(by_number.items()))
        resumption = events.sweep(RESUMED, taken_up_again=[trial.number for trial in again])
        undecided = _undecided(plan, file, bool(again), has_time=has_time)
        file.write([resumption], again, _driven(plan.settings) | undecided)
        patience(lambda: write_changed_settings(plan))
        yield SweepState(study, file, OwnPlaces(plan, plan.said or {}), past)


def seconds_used(past: Sequence[tuple[float, Event]]) -> float:
    """How long the sweep has run trials; with a killed driver, up to its last written event."""
    total, before, searches = 0.0, 0.0, False
    for at, event in past:
        total += at - before if searches else 0.0
        before = at
        if event["event"] == events.SWEEP:
            searches = event["what"] == SEARCHING
    return total


def show_problems(
    console: Console, folder: SweepFolder, file: StudyFile, past: Sequence[Event]
) -> None:
    """Show where the record is incomplete; the sweep can resume all the same."""
    if file.num_unknown_lines:
        log = folder.shown(folder.decisions)
        problem = f"{file.num_unknown_lines} of its lines are not in the study, and are dropped"
        show_line(console, f"{log}: {problem}")
    if found := record_check.problems(file.trials, past):
        show_line(console, f"the sweep's record is incomplete, and will remain so: {found}")


def _show_continued(plan: SweepPlan, again: Sequence[FrozenTrial], left: Sequence[int]) -> None:
    if again:
        numbers = ", ".join(str(trial.number) for trial in again)
        show_line(plan.console, f"continuing: trial {numbers}")
    if left:
        numbers = ", ".join(map(str, left))
        show_line(plan.console, f"not continued, for lack of a checkpoint: trial {numbers}")


def _undecided(
    plan: SweepPlan, file: StudyFile, any_again: bool, *, has_time: bool
) -> dict[str, Any]:
    """Let the confirmation be decided again, if there will be more trials to choose from."""
    kept = file.attributes.get(attributes.CONFIRMATION)
    search = [t for t in file.trials if attributes.CONFIG in t.user_attrs]
    begun = [t for t in search if attributes.CONFIRMS not in t.user_attrs]
    more = has_time and len(begun) < plan.settings.trials
    if not kept or not (more or any_again):
        return {}
    return {attributes.CONFIRMATION: kept | {"decided": False, "done": False}}


def _has_time(plan: SweepPlan, past: Sequence[tuple[float, Event]]) -> bool:
    budget = plan.settings.time_budget
    return budget is None or budget > seconds_used(past)


def _settings(file: StudyFile) -> SweepSettings:
    return SweepSettings(**file.attributes[attributes.SETTINGS])


def _check_time(before: SweepSettings, now: SweepSettings, *, has_time: bool) -> None:
    """Check that there is time left for more trials or epochs.

    Raises:
        ToprungError: if the time budget is used up.
    """
    grown = now.trials > before.trials or now.max_epochs > before.max_epochs
    if grown and not has_time:
        raise ToprungError(
            f"time_budget = {now.time_budget:g} s: is used up; add more, such as --time-budget +1h"
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
