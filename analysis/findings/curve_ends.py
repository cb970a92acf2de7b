"""What trials that were stopped early would have reached: bounds, and an estimate.

A trial counts with its best validation, so further training can only improve it: its result so far
is a lower bound. The upper bound assumes that it would not have become better than the best
finished trial of the sweep (the worst-case and best-case bounds of Manski, 2003, "Partial
Identification of Probability Distributions"). `python -m benchmarks.stopped_trials` measures how
often the truth lies between the bounds, and how far it is from the estimate.
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
    """The results of trials, from their logged curves.

    Attributes:
        metric: a key of `METRICS`.
        curves: the curves, by the trials' numbers.
    """

    metric: str
    curves: Mapping[int, Curve]

    @property
    def sign(self) -> int:
        """1 if larger values are better, -1 if smaller ones are."""
        return 1 if METRICS[self.metric] == "max" else -1

    def best(self, trial: TrialResult, until: float = math.inf) -> float:
        """A trial's best value up to an epoch, or at its first validation if that came later."""
        first, *rest = self.curves[trial.number].records
        values: list[float] = [
            getattr(r, self.metric) for r in (first, *(r for r in rest if r.epoch <= until))
        ]
        return self.best_of(values)

    def best_of(self, values: Sequence[float]) -> float:
        """The best of some values."""
        return max(values, key=lambda value: self.sign * value)

    def error(self, value: float) -> float:
        """The distance of a value from the best possible value."""
        return 1 - value if self.sign > 0 else value

    def value(self, error: float) -> float:
        """The value of an error."""
        return self.error(error)  # each is the other's inverse


@dataclass(frozen=True)
class Ends:
    """What N trials reached, or would have reached, at the end of their training.

    The arrays agree for finished trials.

    Attributes:
        num_stopped: how many of the trials did not finish.
        at_least_N: for stopped trials, their best value so far.
        expected_N: for stopped trials, the estimate: the error is multiplied by the median factor
            by which the error of the finished trials fell after the same epoch. None if no trial
            finished.
        at_most_N: for stopped trials, the best value of a finished trial, if that is better than
            their own. None if no trial finished.
    """

    num_stopped: int
    at_least_N: NDArray[np.float64]
    expected_N: NDArray[np.float64] | None
    at_most_N: NDArray[np.float64] | None


def ends(trials: Sequence[TrialResult], others: Sequence[TrialResult], scores: CurveScores) -> Ends:
    """What these trials would have reached at the end of their training.

    Args:
        trials: the trials to estimate.
        others: all trials of the same sweep with a score; the finished ones are the reference.
        scores: the scores of all these trials.
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
    """Whether a trial with a score did not finish."""
    return trial.ended != attributes.FINISHED


def _share_left(finished: Sequence[TrialResult], epoch: float, scores: CurveScores) -> float:
    """The median ratio of the finished trials' final error to their error at this epoch."""
    shares = []
    for trial in finished:
        before, after = (scores.error(scores.best(trial, until)) for until in (epoch, math.inf))
        if 0 < before < math.inf:
            shares.append(after / before)
    return float(np.median(shares)) if shares else 1.0


def _array(trials: Sequence[TrialResult], values: Mapping[int, float]) -> NDArray[np.float64]:
    return np.array([values[trial.number] for trial in trials], dtype=float)
