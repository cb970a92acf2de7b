"""Did the search earn its cost? What simpler searches would have picked with as many epochs.

Nothing is trained for this: the answers come from the curves that the sweep has logged.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis import attributes
from analysis.curves import Curve
from analysis.results import Results
from analysis.trials import TrialResult, has_score, select_best

NUM_RANDOM_AT_FIRST = 10
"""Optuna's `n_startup_trials`: so many trials its tpe and gp samplers draw at random."""
QUANTILES = (0.05, 0.95)


@dataclass(frozen=True)
class RandomSearch:
    """What as much random search, without stopping early, would have picked.

    Attributes:
        trial_epochs: that one trial with a result costs, with its share of those of failed ones.
        num_trials: with a result, that fit into the budget.
        num_drawn_from: trials of this sweep that were drawn at random and have a result.
        num_lower_bounds: of these, stopped early: they might have become better.
        expected_M: of the best of 1, 2, … `num_trials`.
        low_M: the 5 % quantile of the same.
        high_M: the 95 % quantile.
    """

    trial_epochs: float
    num_trials: int
    num_drawn_from: int
    num_lower_bounds: int
    expected_M: NDArray[np.float64]
    low_M: NDArray[np.float64]
    high_M: NDArray[np.float64]


@dataclass(frozen=True)
class TopK:
    """What one epoch of every trial, and then the best K of them in full, would have picked.

    Attributes:
        num_trials: K.
        epochs: that it costs.
        trial: the one picked.
        value: the metric of its best validation.
        num_lower_bounds: trials of the K that were stopped early: they might have become better.
    """

    num_trials: int
    epochs: float
    trial: int
    value: float
    num_lower_bounds: int


@dataclass(frozen=True)
class Worth:
    """What the sweep picked, beside what simpler searches would have picked.

    Attributes:
        epochs: that all trials of the search trained for together, failed ones too: the budget of
            each search. The runs that confirm the winner are no part of it.
        trial: what the sweep picked.
        value: the metric of its best validation.
        spent_R: epochs spent when the sweep's R validations came in, in their order.
        best_R: the best value so far at each.
        random: None if no trial is known to be drawn at random, or none fits into the budget.
        top_k: None if the budget holds no trial in full after an epoch of each.
    """

    epochs: float
    trial: int
    value: float
    spent_R: NDArray[np.float64]
    best_R: NDArray[np.float64]
    random: RandomSearch | None
    top_k: TopK | None


def worth(results: Results) -> Worth | None:
    """Compare the sweep with simpler searches; None if fewer than two trials were scored."""
    trials = [trial for trial in results.scored if trial.number in results.curves]
    failed = [t for t in results.trials if t.number in results.curves and not has_score(t)]
    best = select_best(trials, results.metric)  # the winner may be one of the runs that confirm it
    if len(trials) < 2 or best is None:
        return None
    scores = _Scores(results.metric, 1 if results.larger_is_better else -1, results.curves)
    budget = sum(curve.records[-1].epoch for curve in results.curves.values())
    spent_R, best_R = _as_it_went(results, scores)
    settings = results.sweep.description["settings"]
    drawn, drawn_failed = (_drawn_at_random(those, settings) for those in (trials, failed))
    return Worth(
        budget,
        best.number,
        getattr(best.best, results.metric),
        spent_R,
        best_R,
        _random_search(drawn, drawn_failed, scores, budget) if drawn else None,
        _one_epoch_then_top_k(trials, failed, scores, budget),
    )


def expected_best(
    values_N: ArrayLike, num_draws: int, *, larger_is_better: bool = True
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The best of 1 … `num_draws` values drawn with replacement: mean, 5 % and 95 % quantile.

    In closed form, as the "expected validation performance" of Dodge et al., 2019, "Show Your
    Work: Improved Reporting of Experimental Results".
    """
    sign = 1.0 if larger_is_better else -1.0
    sorted_N = np.sort(sign * np.asarray(values_N, dtype=float))
    draws_M1 = np.arange(1, num_draws + 1)[:, np.newaxis]
    at_most_MN = (np.arange(1, len(sorted_N) + 1) / len(sorted_N)) ** draws_M1
    mean_M = np.diff(at_most_MN, axis=1, prepend=0.0) @ sorted_N
    # The first value below which the best stays with this probability.
    low_M, high_M = (sorted_N[(at_most_MN < q).sum(axis=1)] for q in QUANTILES)
    if sign < 0:
        low_M, high_M = high_M, low_M
    return sign * mean_M, sign * low_M, sign * high_M


@dataclass(frozen=True)
class _Scores:
    """What a trial reached, by its logged curve."""

    metric: str
    sign: int
    curves: Mapping[int, Curve]

    def best(self, trial: TrialResult, until: float = math.inf) -> float:
        """Its best value up to this epoch, or at its first validation if that came later."""
        first, *rest = self.curves[trial.number].records
        values: list[float] = [
            getattr(r, self.metric) for r in (first, *(r for r in rest if r.epoch <= until))
        ]
        return max(values, key=lambda value: self.sign * value)

    def first_epochs(self, trial: TrialResult) -> float:
        """What it costs to train it for one epoch."""
        return min(1.0, self.curves[trial.number].records[-1].epoch)

    def full_epochs(self, trial: TrialResult) -> float:
        """What it costs to train it to its end, or until it fails."""
        reached = self.curves[trial.number].records[-1].epoch
        if trial.ended in (attributes.FINISHED, attributes.FAILED) or trial.config is None:
            return reached
        return max(reached, float(trial.config.training.epochs))


def _drawn_at_random(
    trials: Sequence[TrialResult], settings: Mapping[str, Any]
) -> list[TrialResult]:
    """The trials that random search might have drawn: of stages, which fix values, none."""
    if settings.get("stages"):
        return []
    if settings.get("sampler") in ("random", "grid"):
        return list(trials)
    return [trial for trial in trials if trial.number < NUM_RANDOM_AT_FIRST]


def _random_search(
    drawn: Sequence[TrialResult], failed: Sequence[TrialResult], scores: _Scores, budget: float
) -> RandomSearch | None:
    """A failed draw costs its epochs and gives nothing, so that a useful one costs the more."""
    trial_epochs = sum(scores.full_epochs(trial) for trial in (*drawn, *failed)) / len(drawn)
    num_trials = int(budget / trial_epochs)
    if num_trials < 1:
        return None
    values_N = [scores.best(trial) for trial in drawn]
    return RandomSearch(
        trial_epochs,
        num_trials,
        len(drawn),
        _num_cut_short(drawn),
        *expected_best(values_N, num_trials, larger_is_better=scores.sign > 0),
    )


def _one_epoch_then_top_k(
    trials: Sequence[TrialResult], failed: Sequence[TrialResult], scores: _Scores, budget: float
) -> TopK | None:
    """The best after an epoch go on to their end, as many as the rest of the budget pays for."""
    spent = sum(scores.first_epochs(trial) for trial in (*trials, *failed))
    chosen: list[TrialResult] = []
    for trial in sorted(
        trials, key=lambda t: scores.sign * scores.best(t, until=1.0), reverse=True
    ):
        more = scores.full_epochs(trial) - scores.first_epochs(trial)
        if spent + more > budget:
            break
        chosen.append(trial)
        spent += more
    if not chosen:
        return None
    picked = max(chosen, key=lambda trial: scores.sign * scores.best(trial))
    return TopK(len(chosen), spent, picked.number, scores.best(picked), _num_cut_short(chosen))


def _num_cut_short(trials: Sequence[TrialResult]) -> int:
    return sum(trial.ended != attributes.FINISHED for trial in trials)


def _as_it_went(
    results: Results, scores: _Scores
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Epochs spent, and the best value so far, after each validation in the order they came."""
    came = []
    scored = {trial.number for trial in results.scored}
    for trial in results.trials:
        curve = results.curves.get(trial.number)
        started = trial.started.timestamp() if trial.started else 0.0
        before = 0.0
        for record in curve.records if curve else ():
            value = getattr(record, scores.metric) if trial.number in scored else math.nan
            came.append((started + record.seconds, trial.number, record.epoch - before, value))
            before = record.epoch
    came.sort()
    spent_R = np.cumsum([epochs for _, _, epochs, _ in came])
    values_R = scores.sign * np.array([value for *_, value in came])
    best_R = scores.sign * np.fmax.accumulate(values_R)
    return spent_R, best_R
