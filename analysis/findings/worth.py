"""Did the search earn its cost? What simpler searches would have picked with as many epochs.

Nothing is trained for this: the answers come from the curves that the sweep has logged.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from toprung.analysis.findings.curve_ends import CurveScores, ends
from toprung.analysis.findings.results import Results
from toprung.analysis.study.trials import TrialResult, has_score, select_best
from toprung.analysis.sweep_folder import attributes

NUM_RANDOM_AT_FIRST = 10
"""Optuna's `n_startup_trials`: so many trials its tpe and gp samplers draw at random."""
_LOG_OF_NOTHING = 700
"""Chances below e to the minus this are left out; the smallest float is near e^-745."""


@dataclass(frozen=True)
class RandomSearch:
    """What as much random search, without stopping early, would have picked in the mean.

    The last three are for the best of 1, 2, … M trials, M being the smaller of `num_trials` and
    `num_drawn_from`: what is drawn from does not say what more trials would have found.

    Attributes:
        trial_epochs: that one trial with a result costs, with its share of those of failed ones.
        num_trials: with a result, that fit into the budget.
        num_drawn_from: trials of this sweep that were drawn at random and have a result.
        num_stopped: of these, stopped early: they would have become better.
        at_least_M: if those that were stopped had become no better.
        expected_M: with what they are estimated to have become; None if none trained to its end.
        at_most_M: if those that were stopped had become as good as the best that trained to its
            end; None if none did.
    """

    trial_epochs: float
    num_trials: int
    num_drawn_from: int
    num_stopped: int
    at_least_M: NDArray[np.float64]
    expected_M: NDArray[np.float64] | None
    at_most_M: NDArray[np.float64] | None

    @property
    def num_draws(self) -> int:
        """M."""
        return len(self.at_least_M)

    @property
    def is_short(self) -> bool:
        """Whether more trials fit into the budget than there are to draw from."""
        return self.num_draws < self.num_trials


@dataclass(frozen=True)
class TopK:
    """What one epoch of every trial, and then the best K of them in full, would have picked.

    Attributes:
        num_trials: K.
        epochs: that it costs.
        trial: the one picked, by what is known of the K.
        num_stopped: trials of the K that were stopped early: they would have become better.
        at_least: the metric of the picked one's best validation.
        expected: the best of the K, with what those that were stopped are estimated to have
            become; None if no trial of the sweep trained to its end.
        at_most: the same, if they had become as good as the best that trained to its end.
    """

    num_trials: int
    epochs: float
    trial: int
    num_stopped: int
    at_least: float
    expected: float | None
    at_most: float | None


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
    scores = CurveScores(results.metric, results.curves)
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
        _random_search(drawn, drawn_failed, trials, scores, budget) if drawn else None,
        _one_epoch_then_top_k(trials, failed, scores, budget),
    )


def expected_best(
    values_N: ArrayLike, num_draws: int, *, larger_is_better: bool = True
) -> NDArray[np.float64]:
    """The best of 1 … `num_draws` different ones of some values, in the mean.

    In closed form, and without bias for what the values are a random sample of: the estimator of
    Tang et al., 2020, "Showing Your Work Doesn't Always Work". Drawn with replacement, as in Dodge
    et al., 2019, "Show Your Work", it would be too low.

    Args:
        values_N: the values.
        num_draws: at most N.
        larger_is_better: which is the best.
    """
    sign = 1.0 if larger_is_better else -1.0
    best_first_N = -np.sort(-sign * np.asarray(values_N, dtype=float))
    assert 0 < num_draws <= len(best_first_N)
    means = [_mean_best(best_first_N, drawn) for drawn in range(1, num_draws + 1)]
    return sign * np.array(means)


def _mean_best(best_first_N: NDArray[np.float64], num_drawn: int) -> float:
    """The best of so many different ones of these values, in the mean.

    The chance that it is the one at rank k, from 0, is num_drawn / N for k = 0, and falls from k to
    k + 1 by the factor (N - num_drawn - k) / (N - 1 - k). The factors fall too, so that after
    `num_ranks` of them nothing is left that a float could hold: together with memory for N
    values, this keeps the time for all numbers of draws near N log N.
    """
    num_values, others = len(best_first_N), num_drawn - 1
    num_ranks = num_values - others
    if others:
        num_ranks = min(num_ranks, 1 + math.ceil(_LOG_OF_NOTHING * num_values / others))
    rank_K = np.arange(num_ranks - 1)
    factors_K = (num_values - num_drawn - rank_K) / (num_values - 1 - rank_K)
    chances_K = np.cumprod(np.concatenate(([num_drawn / num_values], factors_K)))
    can_be = chances_K > 0  # an infinite loss that cannot be the best weighs nothing
    return float(chances_K[can_be] @ best_first_N[:num_ranks][can_be])


def _first_epochs(trial: TrialResult, scores: CurveScores) -> float:
    """What it costs to train a trial for one epoch."""
    return min(1.0, scores.curves[trial.number].records[-1].epoch)


def _full_epochs(trial: TrialResult, scores: CurveScores) -> float:
    """What it costs to train a trial to its end, or until it fails."""
    reached = scores.curves[trial.number].records[-1].epoch
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
    drawn: Sequence[TrialResult],
    failed: Sequence[TrialResult],
    trials: Sequence[TrialResult],
    scores: CurveScores,
    budget: float,
) -> RandomSearch | None:
    """A failed draw costs its epochs and gives nothing, so that a useful one costs the more."""
    trial_epochs = sum(_full_epochs(trial, scores) for trial in (*drawn, *failed)) / len(drawn)
    num_trials = int(budget / trial_epochs)
    if num_trials < 1:
        return None
    found = ends(drawn, trials, scores)

    def best(values_N: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
        if values_N is None:
            return None
        num_draws = min(num_trials, len(drawn))
        return expected_best(values_N, num_draws, larger_is_better=scores.sign > 0)

    at_least_M = best(found.at_least_N)
    assert at_least_M is not None
    return RandomSearch(
        trial_epochs,
        num_trials,
        len(drawn),
        found.num_stopped,
        at_least_M,
        best(found.expected_N),
        best(found.at_most_N),
    )


def _one_epoch_then_top_k(
    trials: Sequence[TrialResult],
    failed: Sequence[TrialResult],
    scores: CurveScores,
    budget: float,
) -> TopK | None:
    """The best after an epoch go on to their end, as many as the rest of the budget pays for."""
    spent = sum(_first_epochs(trial, scores) for trial in (*trials, *failed))
    chosen: list[TrialResult] = []
    for trial in sorted(
        trials, key=lambda t: scores.sign * scores.best(t, until=1.0), reverse=True
    ):
        more = _full_epochs(trial, scores) - _first_epochs(trial, scores)
        if spent + more > budget:
            break
        chosen.append(trial)
        spent += more
    if not chosen:
        return None
    found = ends(chosen, trials, scores)
    picked = max(chosen, key=lambda trial: scores.sign * scores.best(trial))
    best = [
        None if values_N is None else scores.best_of(values_N.tolist())
        for values_N in (found.expected_N, found.at_most_N)
    ]
    at_least = scores.best(picked)
    return TopK(len(chosen), spent, picked.number, found.num_stopped, at_least, *best)


def _as_it_went(
    results: Results, scores: CurveScores
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
