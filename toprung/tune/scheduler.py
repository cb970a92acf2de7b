"""What decides which trials Tune starts and stops, on its public `TrialScheduler` interface."""

from collections.abc import Callable
from typing import Any

from ray.tune.schedulers import TrialScheduler

from toprung.search.asha import Asha
from toprung.settings import SweepSettings
from toprung.trainables.results import columns
from toprung.tune.callbacks.not_pickled import NotPickled
from toprung.tune.patches import is_starting

Died = Callable[[Any], None]
"""Receives a trial of Tune whose process has died."""


def trial_scheduler(settings: SweepSettings, died: Died) -> "SearchOnly | RunToTheEnd":
    """Return the scheduler that the settings ask for."""
    if settings.trial_scheduler == "none":
        return RunToTheEnd(died)
    return SearchOnly(settings, died)


class RunToTheEnd(NotPickled, TrialScheduler):  # type: ignore[misc]
    """Starts the oldest trial first, and lets every trial run to its end.

    Args:
        died: receives each trial whose process has died.
    """

    def __init__(self, died: Died) -> None:
        super().__init__()
        self._died = died

    def replay(self, number: int, epoch: float, score: float) -> None:
        """Nothing is compared, so there is nothing to restore."""

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The oldest of the trials that have no process yet, not even one that is starting.

        (Tune's own schedulers look through all trials, also those that have ended.)
        """
        pending = [
            trial
            for trial in tune_controller.get_live_trials()
            if trial.status == "PENDING" and not is_starting(tune_controller, trial)
        ]
        return min(pending, key=lambda trial: trial.config["number"], default=None)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Do nothing: a trial is known by its reports."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Let the trial continue."""
        del tune_controller, trial, result
        return str(TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Do nothing."""

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Do nothing."""

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Pass the trial on whose process has died."""
        del tune_controller
        self._died(trial)

    def debug_string(self) -> str:
        """Name the scheduler."""
        return type(self).__name__


class SearchOnly(RunToTheEnd):
    """ASHA for the trials of the search; a run that confirms one of them is trained in full.

    Trials are known by their number in the study, which they keep when the sweep is resumed, so
    that a resumed sweep can restore what ASHA knew.

    Args:
        settings: the sweep's settings.
        died: receives each trial whose process has died.
    """

    def __init__(self, settings: SweepSettings, died: Died) -> None:
        super().__init__(died)
        self._asha = Asha(settings)

    def replay(self, number: int, epoch: float, score: float) -> None:
        """Record what a trial had reported before the sweep was resumed."""
        self._asha.note(number, epoch, score)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Compare a trial of the search at its rungs, unless it has passed them already."""
        del tune_controller
        if _is_compared(trial, result):
            number, epoch, score = trial.config["number"], *_epoch_and_score(result)
            if columns.REPLAYED in result:
                self.replay(number, epoch, score)
            elif self._asha.stops(number, epoch, score):
                return str(TrialScheduler.STOP)
        return str(TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Record the last report of a trial of the search."""
        del tune_controller
        if _is_compared(trial, result):
            self.replay(trial.config["number"], *_epoch_and_score(result))


def _is_compared(trial: Any, result: dict[str, Any]) -> bool:
    """Whether this is a validation (a failure has no score), and of a trial of the search."""
    return trial.config["confirms"] is None and columns.SCORE in result


def _epoch_and_score(result: dict[str, Any]) -> tuple[float, float]:
    return result[columns.EPOCH], result[columns.SCORE]
