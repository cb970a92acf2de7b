"""Ray Tune's searcher around the sweep's Optuna study.

Ray's own OptunaSearch tells every trial as COMPLETE with its last value; this one tells the
study the truth: every validation's value, and COMPLETE, PRUNED or FAIL with the reason. All that
it knows can be read from the study again, so that a resumed sweep goes on where it was.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from toprung import events
from toprung.analysis.study.rungs import rung_heights
from toprung.analysis.study.trials import trial_result
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.cluster.placement.packing import Packing
from toprung.errors import USER_ERRORS
from toprung.search.confirmation_runs import Confirmation
from toprung.search.current_stage import CurrentStage
from toprung.search.first_trials import FirstTrials
from toprung.search.proposals import Proposals
from toprung.search.study_books import StudyBooks
from toprung.search.trial_ledger import RunningTrial
from toprung.settings import SweepSettings
from toprung.trainables.config import TrialConfig, dump_config
from toprung.trainables.networks.base import ImpossibleNetworkError
from toprung.trainables.networks.freezing import FreezeError
from toprung.trainables.results import columns
from toprung.trainables.results.failures import CODE_ERROR, WORKER_LOST
from toprung.trainables.system.secrecy import redacted
from toprung.tune.callbacks.not_pickled import NotPickled

MAX_REFUSALS_IN_A_ROW = 200


class StudySearcher(NotPickled, Searcher):  # type: ignore[misc]
    """Asks the study for trials and tells it what became of them.

    Args:
        books: of the sweep's study; trials in it that run are given to Ray first.
        proposals: makes a config of each of its trials.
        complete: puts the prepared data into a config, so that every trial sees the same, and
            checks what is only known then.
        refused: is told of each trial that never starts: how it ended, and why.
        tell: shows the user a line.
        confirmation: what follows when the search is over.
        at_once: tells how many trials are to run now.
        settings: the sweep's.
        folder: where the trials' folders are.
        past: what happened before the sweep was resumed.
        packing: what each trial is given of a machine.
    """

    def __init__(
        self,
        *,
        books: StudyBooks,
        proposals: Proposals,
        complete: Callable[[TrialConfig], TrialConfig],
        refused: Callable[[str, str], None],
        tell: Callable[[str], None],
        confirmation: Confirmation,
        at_once: Callable[[], int],
        settings: SweepSettings,
        folder: SweepFolder,
        past: Sequence[Mapping[str, Any]],
        packing: Packing,
    ) -> None:
        super().__init__()
        self._books = books
        self._proposals = proposals
        self._complete = complete
        self._refused = refused
        self._show = tell
        self._confirmation = confirmation
        self._at_once = at_once
        self._settings = settings
        self._folder = folder
        self._packing = packing
        self._rungs = rung_heights(settings.model_dump())
        self._search_is_over = self._is_cut_off = False
        self._num_started = self._num_refused = 0
        trials = books.study.get_trials(deepcopy=False)
        self._first_trials = FirstTrials.since_the_last_end(past, trials)
        self._running: dict[str, RunningTrial] = {}
        self._unfinished: deque[FrozenTrial] = deque()
        self._stages = proposals.stages
        self._stage = CurrentStage(
            books.study,
            self._stages,
            settings.metric,
            past=past,
            record=lambda event: books.record([event]),
            show=tell,
        )
        self._go_on(trials)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial's config; those of the search first, then those that confirm its best.

        None while as many run as are to, or while a stage, or the confirmation, waits for the last
        trials of what was before. (If none runs there is one: Tune would wait for it, and for
        nothing else. Where no node is left, it is what an autoscaler sees.)
        """
        if self._running and len(self._running) >= self._at_once():
            return None
        if self._unfinished:
            return self._start_again(trial_id, self._unfinished.popleft())
        if not self._search_is_over and self._num_started < self._settings.trials:
            suggestion = self._searched(trial_id)
            if suggestion != Searcher.FINISHED:
                return suggestion
        self._search_is_over = True
        return self._confirming(trial_id)

    def cut_off(self) -> bool:
        """Begin no more trials of the search, and stop those that run; False if it was over."""
        if self._search_is_over or self._num_started >= self._settings.trials:
            return self._is_cut_off
        self._search_is_over = self._is_cut_off = True
        self._cut_short([trial for trial in self._unfinished if not _confirms(trial)])
        return True

    def is_cut_off(self, trial_id: str) -> bool:
        """Whether this trial is one that runs though the search was cut off."""
        return self._is_cut_off and self._running[trial_id].confirms is None

    @property
    def verdict(self) -> str:
        """Why the sweep is not worth going on with; empty if it is, or may be."""
        any_may_succeed = any(running.best for running in self._running.values()) or any(
            attributes.BEST in trial.user_attrs for trial in self._unfinished
        )
        return "" if any_may_succeed else self._first_trials.verdict

    def note_death(self, trial_id: str, kind: str, reason: str, told: str) -> None:
        """Take note of why a trial's process has died, and what Ray told; it may end the trial."""
        running = self._running[trial_id]
        if running.failure is None:
            running.failure, running.traceback = (kind, reason), redacted(told)

    def note_recovery(self, trial_id: str) -> None:
        """A trial whose process had died goes on in another."""
        self._running[trial_id].failure = None

    def _go_on(self, trials: Sequence[FrozenTrial]) -> None:
        """Take the search up where its study is."""
        for trial in trials:
            attrs = trial.user_attrs
            if attributes.CONFIG in attrs and trial.state == TrialState.RUNNING:
                self._unfinished.append(trial)
            if attributes.TAKEN_FROM in attrs or attributes.CONFIRMS in attrs:
                continue
            if attributes.CONFIG in attrs:
                self._num_started, self._num_refused = self._num_started + 1, 0
            elif attributes.ENDED in attrs:
                self._num_refused += 1
        stage = self._stages.stage_of(self._num_started - 1) if self._num_started else None
        if stage is not None:
            self._stage.fix(stage)

    def _start_again(self, trial_id: str, trial: FrozenTrial) -> dict[str, Any]:
        config = trial_result(trial).config
        assert config is not None
        self._running[trial_id] = self._again(trial)
        return self._for_tune(self._running[trial_id], config)

    def _again(self, trial: FrozenTrial) -> RunningTrial:
        given = self._packing.each_trial
        return RunningTrial.again(self._books.study, trial, self._settings.metric, given)

    def _cut_short(self, waiting: Sequence[FrozenTrial]) -> None:
        """End trials that wait to go on: the time is used up."""
        for trial in waiting:
            self._unfinished.remove(trial)
            self._end(self._again(trial), attributes.TIME_BUDGET, [])

    def _confirming(self, trial_id: str) -> dict[str, Any] | str | None:
        if not self._confirmation.wanted:
            return self._no_more()
        if any(running.confirms is None for running in self._running.values()):
            return None
        following = self._confirmation.next()
        return self._start(trial_id, *following) if following else self._no_more()

    def _no_more(self) -> str | None:
        """The end; not yet while trials run that may begin again, as Tune would ask no more."""
        given = [running.resources for running in self._running.values()]
        return None if any(map(self._packing.has_more_for, given)) else str(Searcher.FINISHED)

    def _searched(self, trial_id: str) -> dict[str, Any] | str | None:
        """The search's next trial; networks that cannot exist never reach a worker."""
        stage = self._stages.stage_of(self._num_started)
        if stage is not None and self._stage.is_to_begin(stage):
            if self._running:
                return None
            if not self._stage.begin(stage):
                return str(Searcher.FINISHED)
        while self._num_refused < MAX_REFUSALS_IN_A_ROW:
            if self._settings.sampler == "grid" and not self._books.any_waits():
                break
            trial = self._books.study.ask()
            try:
                proposed = self._proposals.config(trial, stage.name if stage else None)
                config = self._complete(proposed)
            except (ImpossibleNetworkError, FreezeError) as error:
                trial.set_constraint("network can exist", 1.0)
                self._refuse(trial, TrialState.PRUNED, attributes.INFEASIBLE, str(error))
                continue
            except USER_ERRORS as error:
                trial.set_user_attr(attributes.FAILURE_KIND, CODE_ERROR)
                self._refuse(trial, TrialState.FAIL, attributes.FAILED, str(error))
                self._first_trials.failed(CODE_ERROR, str(error))
                continue
            self._num_started, self._num_refused = self._num_started + 1, 0
            return self._start(trial_id, trial, config)
        return str(Searcher.FINISHED)

    def _refuse(self, trial: optuna.Trial, state: TrialState, ended: str, reason: str) -> None:
        self._num_refused += 1
        self._books.end(trial, state, ended=ended, reason=reason)
        self._refused(ended, reason)

    def _start(
        self, trial_id: str, trial: optuna.Trial, config: TrialConfig, confirms: int | None = None
    ) -> dict[str, Any]:
        """What Tune is given to run; the study's database has the trial from now on."""
        trial.set_user_attr(attributes.CONFIG, dump_config(config))
        books = self._books
        books.record_trial([events.suggested(books.frozen(trial), confirms)], trial)
        given = self._packing.each_trial
        running = RunningTrial(trial, config.training.metric, given, confirms)
        self._running[trial_id] = running
        return self._for_tune(running, config)

    def _for_tune(self, running: RunningTrial, config: TrialConfig) -> dict[str, Any]:
        # As text: Tune copies, flattens and keeps what it is given, with every report.
        text = config.model_dump_json()
        number = running.trial.number
        return {
            "number": number,
            "confirms": running.confirms,
            "config": text,
            "folder": self._folder.trial_place(number),
            "resources": dict(running.resources),
        }

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass on the value of a validation after which the trial goes on."""
        running = self._running[trial_id]
        before = running.last.epoch if running.last else 0.0
        happened = running.note(result)
        if happened:
            assert running.last is not None
            if running.confirms is None:
                passed = [rung for rung in self._rungs if before < rung <= running.last.epoch]
                happened += [events.promoted(running.trial.number, rung) for rung in passed]
            self._books.record_trial(happened, running.trial)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the study how a trial ended; one that Ray ends before its course is ASHA's."""
        is_cut_off = self.is_cut_off(trial_id)
        running = self._running.pop(trial_id)
        happened = running.note(result) if result and not running.failure else []
        if running.failure and self._packing.begins_again(running.failure[0], running.resources):
            if is_cut_off:  # that it failed is due to others beside it, and no longer matters
                running.failure = None
                self._end(running, attributes.TIME_BUDGET, happened)
            else:
                self._begin_again(running, happened)
            return
        if error and not running.failure:
            running.failure = WORKER_LOST, "its process died; see Ray's log of the trial"
        if running.failure:
            ended = attributes.FAILED
        elif not result:
            ended = attributes.FAILED
            running.failure = WORKER_LOST, "it was given up before it began"
        elif result[columns.FINISHED]:
            ended = attributes.FINISHED
        elif is_cut_off:
            ended = attributes.TIME_BUDGET
        else:
            ended = attributes.STOPPED_EARLY
        self._end(running, ended, happened)

    def close(self, ended: str) -> None:
        """Tell the study how the sweep ended.

        Trials that still run are unfinished, and go on if the sweep is resumed; those that were
        cut short by the time budget have ended with it.
        """
        any_run_cut = any(running.confirms is not None for running in self._running.values())
        any_run_cut |= any(map(_confirms, self._unfinished))
        if ended == attributes.TIME_BUDGET:
            for running in self._running.values():
                self._end(running, ended, [])
            self._running.clear()
            self._cut_short(list(self._unfinished))
        told = {attributes.SWEEP_ENDED: ended} | self._confirmation.result(any_run_cut=any_run_cut)
        self._books.record([events.sweep(ended)], (), told)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing to save: the study is the record."""

    def _end(self, running: RunningTrial, ended: str, happened: list[dict[str, Any]]) -> None:
        if running.last and running.confirms is None:
            self._confirmation.note(running.trial.number, running.last)
        state, reason, value = running.end(ended)
        if running.failure:
            self._first_trials.failed(*running.failure)
        elif running.best:
            self._first_trials.succeeded()
        self._books.end(
            running.trial, state, ended=ended, reason=reason, value=value, happened=happened
        )

    def _begin_again(self, running: RunningTrial, happened: list[dict[str, Any]]) -> None:
        """Let a trial that ran out of a GPU's memory beside others go on with more of it."""
        packing, number = self._packing, running.trial.number
        before, less = packing.trials_per_gpu, ""
        if packing.loosen(running.resources):
            less = (
                f"{packing.trials_per_gpu} instead of {before} trials per GPU for those that are "
                "suggested from now on; "
            )
        how = "goes on from its last checkpoint" if running.last else "begins again"
        self._show(
            f"trial {number} ran out of GPU memory: {less}it {how}, "
            f"with gpus_per_trial = {packing.each_trial['GPU']:g}"
        )
        assert packing.trials_per_gpu is not None
        fewer = events.packing(packing.trials_per_gpu, number)
        self._books.record_trial([*happened, fewer], running.trial)
        self._unfinished.append(self._books.frozen(running.trial))


def _confirms(trial: FrozenTrial) -> bool:
    return attributes.CONFIRMS in trial.user_attrs
