"""Asynchronous successive halving in its stopping variant (Li et al., 2020, arXiv:1810.05934)."""

import numpy as np

from toprung.settings import SweepSettings
from toprung.trainables.config import METRICS


class Asha:
    """Stops a trial at a rung if it is not among the best `1 / reduction_factor` there so far.

    The rungs are at `grace_epochs * reduction_factor**k` epochs, up to `max_epochs`. A report
    counts at the highest rung that it has reached and where the trial has not been recorded yet;
    the first trial at a rung always continues. The decisions are those of Ray Tune's
    `AsyncHyperBandScheduler` with one bracket (Ray 2.60).

    Args:
        settings: the sweep's settings.
    """

    def __init__(self, settings: SweepSettings) -> None:
        factor, grace = settings.reduction_factor, settings.grace_epochs
        self._max_epochs = settings.max_epochs
        self._sign = 1.0 if METRICS[settings.metric] == "max" else -1.0
        self._percentile = 100 * (1 - 1 / factor)
        num_rungs = int(np.log(self._max_epochs / grace) / np.log(factor) + 1)
        self._rungs: list[tuple[int, dict[int, float]]] = [
            (grace * factor**k, {}) for k in reversed(range(num_rungs))
        ]

    def stops(self, number: int, epoch: float, score: float) -> bool:
        """Whether a trial ends with this report: at the last epoch, or at a rung.

        Args:
            number: the trial's number in the study.
            epoch: how many epochs it has trained.
            score: its best validation so far, by the sweep's metric.
        """
        return epoch >= self._max_epochs or self.note(number, epoch, score)

    def note(self, number: int, epoch: float, score: float) -> bool:
        """Record a report at its rung; returns whether it is worse than the rung's cutoff."""
        signed = self._sign * score
        for height, known in self._rungs:
            if epoch >= height and number not in known:
                scores = list(known.values())
                is_poor = bool(known) and bool(signed < np.nanpercentile(scores, self._percentile))
                known[number] = signed
                return is_poor
        return False
