"""A stand-in for Ray Tune: trials in this process, one event after another, always the same.

It asks the searcher, the trial scheduler, the stopper and the callbacks in the order in which the
`TuneController` of Ray 2.60 does; its methods are named as those that they stand for.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace
from typing import Any, ClassVar

from ray.tune.result import DONE
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from benchmarks.kills.pretended.trials import WorkerDiedError, reports

PENDING, RUNNING, TERMINATED, ERROR = "PENDING", "RUNNING", "TERMINATED", "ERROR"


@dataclass(eq=False)
class PretendTrial:
    """What is used of Tune's `Trial`."""

    RUNNING: ClassVar[str] = RUNNING
    trial_id: str
    config: dict[str, Any]
    max_failures: int
    status: str = PENDING
    last_result: dict[str, Any] = field(default_factory=dict)
    evaluated_params: dict[str, Any] = field(default_factory=dict)
    error_file: str | None = None
    run_metadata: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(num_failures=0))
    reports: Iterator[dict[str, Any]] = field(default_factory=lambda: iter(()))

    def should_recover(self) -> bool:
        """Whether to try it again after its process has died."""
        return bool(self.run_metadata.num_failures <= self.max_failures)


class PretendTuner:
    """In the place of `tune.Tuner`; takes what `toprung.tune.launch` gives to it."""

    def __init__(self, trainable: Any, *, tune_config: Any, run_config: Any) -> None:
        del trainable
        self._searcher = tune_config.search_alg
        self._compares = tune_config.scheduler
        self._max_at_once = tune_config.max_concurrent_trials
        self._stopper = run_config.stop
        self._callbacks = run_config.callbacks
        self._max_failures = run_config.failure_config.max_failures
        self._trials: list[PretendTrial] = []
        self._is_over = False
        self._iteration = 0

    def fit(self) -> None:
        """Run the sweep."""
        for self._iteration in count():
            self._maybe_update_trial_queue()
            self._maybe_add_actors()
            running = self._of(RUNNING)
            if running:
                self._on_training_result(running[self._iteration % len(running)])
            self._stop_experiment_if_needed()
            self._call("on_step_end")
            if self._is_over and not self._of(PENDING, RUNNING):
                break
        self._call("on_experiment_end")

    def _maybe_update_trial_queue(self) -> None:
        while not self._is_over and len(self._of(PENDING, RUNNING)) < self._max_at_once:
            trial_id = f"{len(self._trials):05d}"
            suggested = self._searcher.suggest(trial_id)
            if suggested is None:
                return
            if suggested == Searcher.FINISHED:
                self._is_over = True
                return
            self._trials.append(PretendTrial(trial_id, suggested, self._max_failures))
            self._compares.on_trial_add(self, self._trials[-1])

    def _maybe_add_actors(self) -> None:
        for trial in self._of(PENDING):
            self._call("on_trial_start", trial)
            trial.status = RUNNING
            trial.reports = reports(trial.config)

    def _on_training_result(self, trial: PretendTrial) -> None:
        try:
            result = next(trial.reports, None)
        except WorkerDiedError:
            self._process_trial_failure(trial)
        else:
            self._process_trial_result(trial, result)

    def _process_trial_result(self, trial: PretendTrial, result: dict[str, Any] | None) -> None:
        is_duplicate = result is None
        result = trial.last_result if result is None else result
        result.update(trial_id=trial.trial_id)
        result.setdefault(DONE, False)
        if is_duplicate:
            result.update(done=True)
        if self._stopper(trial.trial_id, result) or result[DONE]:
            decision = TrialScheduler.STOP
        else:
            decision = self._compares.on_trial_result(self, trial, dict(result))
        if decision == TrialScheduler.STOP:
            result.update(done=True)
        else:
            self._searcher.on_trial_result(trial.trial_id, dict(result))
        if not is_duplicate:
            self._call("on_trial_result", trial, result=result)
            trial.last_result = result
        if decision == TrialScheduler.STOP:
            self._stop_trial(trial)

    def _stop_trial(self, trial: PretendTrial) -> None:
        self._compares.on_trial_complete(self, trial, dict(trial.last_result))
        self._searcher.on_trial_complete(trial.trial_id, result=dict(trial.last_result))
        self._call("on_trial_complete", trial)
        trial.status = TERMINATED

    def _process_trial_failure(self, trial: PretendTrial) -> None:
        trial.run_metadata.num_failures += 1
        self._compares.on_trial_error(self, trial)
        if trial.should_recover():
            trial.status = PENDING
            self._compares.on_trial_add(self, trial)
            self._call("on_trial_recover", trial)
        else:
            self._searcher.on_trial_complete(trial.trial_id, error=True)
            trial.status = ERROR
            self._call("on_trial_error", trial)

    def _stop_experiment_if_needed(self) -> None:
        if self._stopper.stop_all():
            self._is_over = True
            for trial in self._of(PENDING, RUNNING):
                trial.status = TERMINATED

    def _of(self, *statuses: str) -> list[PretendTrial]:
        return [trial for trial in self._trials if trial.status in statuses]

    def _call(self, name: str, *trial: PretendTrial, **info: Any) -> None:
        for callback in self._callbacks:
            if name == "on_experiment_end":
                callback.on_experiment_end(trials=self._trials)
            elif trial:
                method = getattr(callback, name)
                method(iteration=self._iteration, trials=self._trials, trial=trial[0], **info)
            else:
                getattr(callback, name)(iteration=self._iteration, trials=self._trials, **info)
