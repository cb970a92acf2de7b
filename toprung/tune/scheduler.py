"""ASHA, with what Tune's own lacks: it can be led to where it was before the driver died."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from toprung.settings import SweepSettings
from toprung.trainables.config import METRICS
from toprung.trainables.results import columns

Died = Callable[[Any], None]
"""Is told of a trial of Tune whose process has died."""


def trial_scheduler(settings: SweepSettings, died: Died) -> "SearchOnly | RunToTheEnd":
    """The scheduler of these settings."""
    if settings.trial_scheduler == "none":
        return RunToTheEnd(died)
    return SearchOnly(settings, died)


class RunToTheEnd(FIFOScheduler):  # type: ignore[misc]
    """Every trial runs to its end."""

    def __init__(self, died: Died) -> None:
        super().__init__()
        self._died = died

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Pass on why a trial's process has died."""
        del tune_controller
        self._died(trial)

    def replay(self, number: int, epoch: float, score: float) -> None:
        """Nothing is compared, so there is nothing to know again."""


class SearchOnly(AsyncHyperBandScheduler):  # type: ignore[misc]
    """ASHA over epochs, comparing each trial's best validation so far (Li et al., 2020).

    It is for the trials of the search; a run that confirms one is trained in full. Trials are known
    by their number in the study, which they keep when the sweep is resumed.
    """

    def __init__(self, settings: SweepSettings, died: Died) -> None:
        super().__init__(
            time_attr=columns.EPOCH,
            metric=columns.SCORE,
            mode=METRICS[settings.metric],
            max_t=settings.max_epochs,
            grace_period=settings.grace_epochs,
            reduction_factor=settings.reduction_factor,
        )
        self._died = died

    def replay(self, number: int, epoch: float, score: float) -> None:
        """Take note of what a trial has reported before the sweep was resumed."""
        bracket = self._brackets[0]
        bracket.on_result(SimpleNamespace(trial_id=number), epoch, self._metric_op * score)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Give a trial of the search its bracket."""
        if not _confirms(trial):
            super().on_trial_add(tune_controller, _numbered(trial))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Compare a trial of the search at its rungs, but where it has gone on already."""
        if _confirms(trial):
            return str(TrialScheduler.CONTINUE)
        if columns.REPLAYED in result:
            self.replay(trial.config["number"], result[columns.EPOCH], result[columns.SCORE])
            return str(TrialScheduler.CONTINUE)
        return str(super().on_trial_result(tune_controller, _numbered(trial), result))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Take note of the last result of a trial of the search."""
        if not _confirms(trial):
            super().on_trial_complete(tune_controller, _numbered(trial), result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Forget a trial of the search."""
        if not _confirms(trial):
            super().on_trial_remove(tune_controller, _numbered(trial))

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Pass on why a trial's process has died."""
        del tune_controller
        self._died(trial)


def _confirms(trial: Any) -> bool:
    return trial.config["confirms"] is not None


def _numbered(trial: Any) -> Any:
    """The trial as ASHA is to know it: by its number in the study."""
    return SimpleNamespace(trial_id=trial.config["number"])
