"""What trials that were stopped early would have reached: bounds, and an estimate.

A trial counts with its best validation, so that training on can only make it better: what it had
reached is a lower bound. That it would have become no better than the best trial of the sweep that
trained to its end bounds it from above (the bounds of worst and best case of Manski, 2003, "Partial
Identification of Probability Distributions"). `python -m benchmarks.stopped_trials` measures how
often the truth lies between the bounds, and how far from the estimate.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toprung.analysis.study.curves import Curve
from toprung.analysis.study.trials import TrialResult
from toprung.analysis.sweep_folder import attributes
from toprung.trainables.config import METRICS


@dataclass(frozen=True)
class CurveScores:
    """What trials reached, by their logged curves.

    Attributes:
        metric: a key of `METRICS`.
        curves: by the trials' numbers.
    """

    metric: str
    curves: Mapping[int, Curve]

    @property
    def sign(self) -> int:
        """1 if larger values are better, -1 if smaller ones are."""
        return 1 if METRICS[self.metric] == "max" else -1

    def best(self, trial: TrialResult, until: float = math.inf) -> float:
        """Its best value up to this epoch, or at its first validation if that came later."""
        first, *rest = self.curves[trial.number].records
        values: list[float] = [
            getattr(r, self.metric) for r in (first, *(r for r in rest if r.epoch <= until))
        ]
        return self.best_of(values)

    def best_of(self, values: Sequence[float]) -> float:
        """The best of some values."""
        return max(values, key=lambda value: self.sign * value)

    def error(self, value: float) -> float:
        """How far a value is from the best that there can be."""
        return 1 - value if self.sign > 0 else value

    def value(self, error: float) -> float:
        """The value of an error."""
        return self.error(error)  # each is the other's inverse


@dataclass(frozen=True)
class Ends:
    """What N trials reached, or would have reached, at the end of their training.

    Attributes:
        num_stopped: of them, that did not train to their end; without them all three are the same.
        at_least_N: the best so far of those; what the others reached.
        expected_N: for those that were stopped, the estimate: so much of the error is left as the
            median trial that trained to its end had left of its error at the same epoch. None
            without such a trial.
        at_most_N: for those that were stopped, the best value of a trial that trained to its end.
            None without such a trial.
    """

    num_stopped: int
    at_least_N: NDArray[np.float64]
    expected_N: NDArray[np.float64] | None
    at_most_N: NDArray[np.float64] | None


def ends(trials: Sequence[TrialResult], others: Sequence[TrialResult], scores: CurveScores) -> Ends:
    """What these trials would have reached at the end of their training.

    Args:
        trials: those that are asked for.
        others: of the same sweep, with a score; those that trained to their end are compared with.
        scores: of all of them.
    """
    stopped = [trial for trial in trials if is_stopped(trial)]
    finished = [trial for trial in others if not is_stopped(trial)]
    reached = {trial.number: scores.best(trial) for trial in trials}
    at_least_N = _array(trials, reached)
    if not stopped:
        return Ends(0, at_least_N, at_least_N, at_least_N)
    if not finished:
        return Ends(len(stopped), at_least_N, None, None)
    top = scores.best_of([scores.best(trial) for trial in finished])
    expected, at_most = dict(reached), dict(reached)
    for trial in stopped:
        best = reached[trial.number]
        left = _share_left(finished, scores.curves[trial.number].records[-1].epoch, scores)
        expected[trial.number] = scores.value(left * scores.error(best))
        at_most[trial.number] = scores.best_of([best, top])
    return Ends(len(stopped), at_least_N, _array(trials, expected), _array(trials, at_most))


def is_stopped(trial: TrialResult) -> bool:
    """Whether a trial with a score did not train to its end."""
    return trial.ended != attributes.FINISHED


def _share_left(finished: Sequence[TrialResult], epoch: float, scores: CurveScores) -> float:
    """What the median trial had left at its end of its error at this epoch."""
    shares = []
    for trial in finished:
        before, after = (scores.error(scores.best(trial, until)) for until in (epoch, math.inf))
        if 0 < before < math.inf:
            shares.append(after / before)
    return float(np.median(shares)) if shares else 1.0


def _array(trials: Sequence[TrialResult], values: Mapping[int, float]) -> NDArray[np.float64]:
    return np.array([values[trial.number] for trial in trials], dtype=float)
