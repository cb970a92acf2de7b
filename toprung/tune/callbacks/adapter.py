"""The one callback that Ray Tune is given: it passes what happens on to the sweep's parts."""

from collections.abc import Sequence
from typing import Any

from ray.tune import Callback

from toprung.tune.callbacks.not_pickled import NotPickled
from toprung.tune.callbacks.watcher import TrialStates, WatchedTrial, Watcher


class TuneCallback(NotPickled, Callback):  # type: ignore[misc]
    """Calls each watcher in turn. Of trials that have ended, Tune then forgets configs and reports.

    (Tune would keep them all until the sweep ends.)

    Args:
        watchers: the sweep's parts, in the order in which they are called.
    """

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = watchers
        self._completed: list[Any] = []

    def setup(self, **info: Any) -> None:
        """Begin."""
        del info
        for watcher in self._watchers:
            watcher.on_begin()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Pass it on."""
        del iteration, trials, info
        watched = _watched(trial)
        for watcher in self._watchers:
            watcher.on_start(watched)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Pass it on."""
        del iteration, trials, info
        watched = _watched(trial)
        for watcher in self._watchers:
            watcher.on_report(watched, result)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Pass it on."""
        del iteration, trials, info
        watched = _watched(trial)
        for watcher in self._watchers:
            watcher.on_retry(watched)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Pass it on."""
        del iteration, trials, info
        watched = _watched(trial)
        for watcher in self._watchers:
            watcher.on_end(watched, trial.last_result)
        self._completed.append(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Pass it on."""
        del iteration, trials, info
        watched = _watched(trial)
        for watcher in self._watchers:
            watcher.on_end(watched, None)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Pass it on, and forget what Tune keeps of the trials that were completed in this step."""
        del iteration, info
        states = TrialStates(trials)
        for watcher in self._watchers:
            watcher.on_step(states)
        for trial in self._completed:
            trial.last_result.clear()
            trial.evaluated_params.clear()
            del trial.config["config"]
        self._completed.clear()

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Pass it on."""
        del trials, info
        for watcher in self._watchers:
            watcher.on_close()


def _watched(trial: Any) -> WatchedTrial:
    config = trial.config
    return WatchedTrial(
        trial.trial_id,
        config["number"],
        config.get("config", ""),  # it is forgotten when the trial has ended
        config["confirms"],
        config["resources"],
        trial,
    )
