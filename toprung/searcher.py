"""Ray Tune's searcher around the sweep's Optuna study.

Ray's own OptunaSearch tells every trial as COMPLETE with its last value; this one tells the
study the truth: every validation's value, and COMPLETE, PRUNED or FAIL with the reason.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from analysis import attributes
from analysis.trials import read_trials, select_best
from toprung.confirm import Confirmation
from toprung.errors import USER_ERRORS
from toprung.proposals import Proposals
from toprung.ray_parts import NotPickled
from toprung.settings import Stage
from toprung.staged_search import fixing_sampler
from trainables import report
from trainables.config import TrialConfig, dump_config
from trainables.freezing import FreezeError
from trainables.network import ImpossibleNetworkError
from trainables.record import Record

MAX_REFUSALS_IN_A_ROW = 200


@dataclass
class _Running:
    """A trial that Ray runs: its Optuna trial, and its last and best validation so far."""

    trial: optuna.Trial
    metric: str
    confirms: int | None = None
    last: Record | None = None
    best: Record | None = None
    failure: str = ""


class StudySearcher(NotPickled, Searcher):  # type: ignore[misc]
    """Asks the study for trials and tells it what became of them.

    Args:
        study: the sweep's study.
        write: brings the study's file up to date with a trial.
        proposals: makes a config of each of its trials.
        complete: puts the prepared data into a config, so that every trial sees the same, and
            checks what is only known then.
        refused: is told of each trial that never starts: how it ended, and why.
        tell: shows the user a line.
        confirmation: what follows when the search is over.
        num_trials: of the search.
        only_enqueued: try what waits in the study, and nothing else.
    """

    def __init__(
        self,
        study: optuna.Study,
        write: Callable[[FrozenTrial], None],
        proposals: Proposals,
        complete: Callable[[TrialConfig], TrialConfig],
        refused: Callable[[str, str], None],
        tell: Callable[[str], None],
        confirmation: Confirmation,
        *,
        num_trials: int,
        only_enqueued: bool,
    ) -> None:
        super().__init__()
        self._study = study
        self._write_trial = write
        self._proposals = proposals
        self._complete = complete
        self._refused = refused
        self._show = tell
        self._confirmation = confirmation
        self._num_trials = num_trials
        self._search_is_over = self._is_cut_off = False
        self._sampler = study.sampler
        self._stage: Stage | None = None
        self._num_started = 0
        self._only_enqueued = only_enqueued
        self._running: dict[str, _Running] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial's config; those of the search first, then those that confirm its best.

        None while a stage, or the confirmation, waits for the last trials of what was before.
        """
        if not self._search_is_over and self._num_started < self._num_trials:
            suggestion = self._searched(trial_id)
            if suggestion != Searcher.FINISHED:
                return suggestion
        self._search_is_over = True
        return self._confirming(trial_id)

    def cut_off(self) -> bool:
        """Begin no more trials of the search, and stop those that run; False if it was over."""
        if self._search_is_over or self._num_started >= self._num_trials:
            return self._is_cut_off
        self._search_is_over = self._is_cut_off = True
        return True

    def is_cut_off(self, trial_id: str) -> bool:
        """Whether this trial is one that runs though the search was cut off."""
        return self._is_cut_off and self._running[trial_id].confirms is None

    def _confirming(self, trial_id: str) -> dict[str, Any] | str | None:
        if not self._confirmation.wanted:
            return str(Searcher.FINISHED)
        if any(running.confirms is None for running in self._running.values()):
            return None
        following = self._confirmation.next()
        return self._start(trial_id, *following) if following else str(Searcher.FINISHED)

    def _searched(self, trial_id: str) -> dict[str, Any] | str | None:
        """The search's next trial; networks that cannot exist never reach a worker."""
        stage = self._proposals.stages.stage_of(self._num_started)
        if stage is not None and stage != self._stage:
            if self._running:
                return None
            if not self._begin(stage):
                return str(Searcher.FINISHED)
        for _ in range(MAX_REFUSALS_IN_A_ROW):
            if self._only_enqueued and not self._study.get_trials(states=(TrialState.WAITING,)):
                break
            trial = self._study.ask()
            try:
                proposed = self._proposals.config(trial, stage.name if stage else None)
                config = self._complete(proposed)
            except (ImpossibleNetworkError, FreezeError) as error:
                trial.set_constraint("network can exist", 1.0)
                self._tell(trial, TrialState.PRUNED, attributes.INFEASIBLE, str(error))
                self._refused(attributes.INFEASIBLE, str(error))
                continue
            except USER_ERRORS as error:
                self._tell(trial, TrialState.FAIL, attributes.FAILED, str(error))
                self._refused(attributes.FAILED, str(error))
                continue
            self._num_started += 1
            return self._start(trial_id, trial, config)
        return str(Searcher.FINISHED)

    def _start(
        self, trial_id: str, trial: optuna.Trial, config: TrialConfig, confirms: int | None = None
    ) -> dict[str, Any]:
        """What Tune is given to run; the study's file has the trial from now on."""
        trial.set_user_attr(attributes.CONFIG, dump_config(config))
        self._write(trial)
        self._running[trial_id] = _Running(trial, config.training.metric, confirms)
        # As text: Tune copies, flattens and keeps what it is given, with every report.
        text = config.model_dump_json()
        return {"number": trial.number, "confirms": confirms, "config": text}

    def _begin(self, stage: Stage) -> bool:
        """Fix what this stage leaves alone; False if the stages before have found nothing."""
        best = select_best(read_trials(self._study), self._proposals.metric)
        if best is None and self._stage is not None:
            self._show(f"stage {stage.name}: cannot begin, because no trial before it succeeded")
            return False
        fixed = self._proposals.stages.fixed(stage, best.parameters if best else {})
        self._study.sampler = fixing_sampler(fixed, self._sampler)
        self._stage = stage
        values = ", ".join(f"{name} = {value}" for name, value in fixed.items()) or "nothing"
        self._show(f"stage {stage.name}: searches {', '.join(stage.searches)}; fixed: {values}")
        return True

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass a validation's value on to the study."""
        running = self._running[trial_id]
        if report.FAILURE in result:
            running.failure = result[report.FAILURE]
            if result[report.TRACEBACK]:
                running.trial.set_user_attr(attributes.TRACEBACK, result[report.TRACEBACK])
            return
        record, best = report.record_of(result), report.best_record_of(result)
        if running.last is None or record.validation > running.last.validation:
            running.trial.report(getattr(record, running.metric), record.validation)
            if best != running.best:
                running.trial.set_user_attr(attributes.BEST, asdict(best))
            running.last, running.best = record, best
            self._write(running.trial)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the study how a trial ended; one that Ray ends before its course is ASHA's."""
        running = self._running[trial_id]
        if result and not running.failure:
            self.on_trial_result(trial_id, result)
        if running.failure:
            self._end(trial_id, attributes.FAILED, running.failure)
        elif error or not result:
            self._end(trial_id, attributes.FAILED, "its process died; see Ray's log of the trial")
        elif result[report.FINISHED]:
            self._end(trial_id, attributes.FINISHED)
        elif self.is_cut_off(trial_id):
            self._end(trial_id, attributes.TIME_BUDGET)
        else:
            self._end(trial_id, attributes.STOPPED_EARLY)

    def close(self, ended: str) -> None:
        """Tell the study of the trials that were cut short when the sweep ended so."""
        any_run_cut = any(running.confirms is not None for running in self._running.values())
        for trial_id, running in list(self._running.items()):
            reason = "" if running.best else "no validation before the sweep ended"
            self._end(trial_id, ended, reason)
        self._confirmation.close(any_run_cut=any_run_cut)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing to save: the study is the record."""

    def _end(self, trial_id: str, ended: str, reason: str = "") -> None:
        running = self._running.pop(trial_id)
        if running.last and running.confirms is None:
            self._confirmation.note(running.trial.number, running.last)
        match ended:
            case attributes.FAILED:
                state = TrialState.FAIL
            case attributes.FINISHED:
                state = TrialState.COMPLETE
            case _:
                state = TrialState.PRUNED if running.best else TrialState.FAIL
        value = getattr(running.best, running.metric) if state == TrialState.COMPLETE else None
        self._tell(running.trial, state, ended, reason, value)

    def _tell(
        self,
        trial: optuna.Trial,
        state: TrialState,
        ended: str,
        reason: str,
        value: float | None = None,
    ) -> None:
        trial.set_user_attr(attributes.ENDED, ended)
        if reason:
            trial.set_user_attr(attributes.REASON, reason)
        self._study.tell(trial, values=value, state=state)
        self._write(trial)

    def _write(self, trial: optuna.Trial) -> None:
        self._write_trial(self._study._storage.get_trial(trial._trial_id))
