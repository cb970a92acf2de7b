"""Was the search worth its cost? What simpler searches would have found with as many epochs.

Nothing is trained for this: everything is computed from the curves that the sweep has logged.
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
"""Optuna's `n_startup_trials`: the first trials, which its tpe and gp samplers draw at random."""
_LOG_OF_NOTHING = 700
"""Probabilities below exp(-700) are left out; the smallest float is near exp(-745)."""


@dataclass(frozen=True)
class RandomSearch:
    """The expected result of random search without early stopping, with the same budget.

    The three arrays hold the expected best of 1, 2, … M trials, where M is the smaller of
    `num_trials` and `num_drawn_from`: the drawn trials do not determine what more trials would
    have found.

    Attributes:
        trial_epochs: the epochs that one trial with a result costs, with its share of the epochs of
            failed trials.
        num_trials: how many trials with a result fit into the budget.
        num_drawn_from: how many trials of this sweep were drawn at random and have a result.
        num_stopped: how many of these were stopped early, and might have improved.
        at_least_M: the results if the stopped trials had not improved.
        expected_M: the results with the estimated ends of the stopped trials; None if no trial
            finished.
        at_most_M: the results if the stopped trials had become as good as the best finished trial;
            None if no trial finished.
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
    """The result of a search that trains every trial for one epoch, and the best K in full.

    Attributes:
        num_trials: K.
        epochs: the cost.
        trial: the selected trial, by the known results of the K trials.
        num_stopped: how many of the K trials were stopped early, and might have improved.
        at_least: the metric of the selected trial's best validation.
        expected: the best of the K trials, with the estimated ends of the stopped trials; None if
            no trial of the sweep finished.
        at_most: the best of the K trials if the stopped trials had become as good as the best
            finished trial; None if no trial of the sweep finished.
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
    """The result of the sweep, next to the results of simpler searches.

    Attributes:
        epochs: the total epochs of all trials of the search, including failed ones: the budget of
            each search. Confirmation runs do not count.
        trial: the trial that the sweep selected.
        value: the metric of its best validation.
        spent_R: the epochs spent by the time of each of the sweep's R validations, in order.
        best_R: the best value so far at each of these times.
        random: random search; None if no trial is known to be drawn at random, or none fits into
            the budget.
        top_k: the search by one epoch of every trial; None if the budget does not then allow any
            trial in full.
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
    """The expected best of 1 … `num_draws` values drawn without replacement.

    In closed form, and unbiased if the values are a random sample: the estimator of Tang et al.,
    2020, "Showing Your Work Doesn't Always Work". Drawing with replacement, as in Dodge et al.,
    2019, "Show Your Work", gives an estimate that is too low.

    Args:
        values_N: the values.
        num_draws: the largest number of draws, at most N.
        larger_is_better: whether the largest or the smallest value is the best.
    """
    sign = 1.0 if larger_is_better else -1.0
    best_first_N = -np.sort(-sign * np.asarray(values_N, dtype=float))
    assert 0 < num_draws <= len(best_first_N)
    means = [_mean_best(best_first_N, drawn) for drawn in range(1, num_draws + 1)]
    return sign * np.array(means)


def _mean_best(best_first_N: NDArray[np.float64], num_drawn: int) -> float:
    """The expected best of `num_drawn` of these values, drawn without replacement.

    The probability that the best has rank k, counted from 0, is num_drawn / N for k = 0, and falls
    from k to k + 1 by the factor (N - num_drawn - k) / (N - 1 - k). The factors fall too, so that
    after `num_ranks` of them the probability underflows: this keeps the time for all numbers of
    draws near N log N, with memory for N values.
    """
    num_values, others = len(best_first_N), num_drawn - 1
    num_ranks = num_values - others
    if others:
        num_ranks = min(num_ranks, 1 + math.ceil(_LOG_OF_NOTHING * num_values / others))
    rank_K = np.arange(num_ranks - 1)
    factors_K = (num_values - num_drawn - rank_K) / (num_values - 1 - rank_K)
    chances_K = np.cumprod(np.concatenate(([num_drawn / num_values], factors_K)))
    can_be = chances_K > 0  # otherwise an infinite loss times zero would be NaN
    return float(chances_K[can_be] @ best_first_N[:num_ranks][can_be])


def _first_epochs(trial: TrialResult, scores: CurveScores) -> float:
    """The epochs that it costs to train a trial for one epoch, or until it fails."""
    return min(1.0, scores.curves[trial.number].records[-1].epoch)


def _full_epochs(trial: TrialResult, scores: CurveScores) -> float:
    """The epochs that it costs to train a trial to its end, or until it fails."""
    reached = scores.curves[trial.number].records[-1].epoch
    if trial.ended in (attributes.FINISHED, attributes.FAILED) or trial.config is None:
        return reached
    return max(reached, float(trial.config.training.epochs))


def _drawn_at_random(
    trials: Sequence[TrialResult], settings: Mapping[str, Any]
) -> list[TrialResult]:
    """The trials that were drawn at random; none in a staged search, whose stages fix values."""
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
    """Random search; failed draws cost epochs without a result, so each result costs more."""
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
    """Continue the best trials after one epoch, as many as the rest of the budget allows."""
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
