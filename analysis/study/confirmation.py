"""Whether the winner is as good as it looked: the best trials, trained again with fresh seeds.

The best of many noisy results is optimistic. Runs with seeds that took no part in the selection do
not share its luck, so their mean is an estimate without that bias.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from statistics import mean, stdev
from typing import Any

from toprung.analysis.models.intervals import UNKNOWN, Interval, mean_interval
from toprung.analysis.study.trials import TrialResult, has_score, rank, recipe
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.analysis.sweep_folder.typed import typed
from toprung.trainables.config import METRICS


@dataclass(frozen=True)
class Candidate:
    """A trial of the search, and the runs that trained its config again.

    Attributes:
        trial: the trial of the search.
        runs: the runs, each in full and with a seed of its own.
        metric: the metric by which trials are selected.
    """

    trial: TrialResult
    runs: tuple[TrialResult, ...]
    metric: str

    @property
    def first(self) -> float:
        """The result of the trial in the search."""
        return float(getattr(self.trial.best, self.metric))

    @property
    def values(self) -> tuple[float, ...]:
        """The results of the runs, each at its best epoch, without failed runs."""
        return tuple(getattr(run.best, self.metric) for run in self.runs if has_score(run))

    @property
    def held(self) -> bool:
        """Whether there are at least two runs, and all of them finished."""
        ended = [has_score(run) and run.ended == attributes.FINISHED for run in self.runs]
        return len(ended) > 1 and all(ended)

    @property
    def mean(self) -> float:
        """Mean of the runs' values."""
        return mean(self.values)

    @property
    def std(self) -> float:
        """Standard deviation of the runs' values."""
        return stdev(self.values)

    @property
    def interval(self) -> Interval:
        """95 % interval of the mean, by Student's t; for a share, clipped to 0..1.

        Both ends are nan if all values are equal, because then chance cannot be estimated.
        """
        if len(set(self.values)) < 2:
            return UNKNOWN
        low, high = mean_interval(self.values)
        return (low, high) if self.metric == "val_loss" else (max(low, 0.0), min(high, 1.0))

    @property
    def spread_in_words(self) -> str:
        """The standard deviation of the runs' values, and the interval of their mean."""
        low, high = self.interval
        interval = "" if isnan(low) else f"95 % interval {low:.4f} to {high:.4f}, "
        return f"{interval}standard deviation {self.std:.4f}"

    @property
    def optimism(self) -> float:
        """By how much the first figure was better than the mean; negative if it was worse."""
        return self._sign * (self.first - self.mean)

    @property
    def best(self) -> TrialResult:
        """The best of the trial and its runs."""
        runs = [run for run in self.runs if has_score(run)]
        return max([self.trial, *runs], key=lambda trial: rank(trial, self.metric))

    @property
    def merit(self) -> tuple[float, float]:
        """The sort key of candidates: the mean, then the result in the search."""
        return self._sign * self.mean, self._sign * self.first

    @property
    def _sign(self) -> int:
        return 1 if METRICS[self.metric] == "max" else -1


@dataclass(frozen=True)
class Confirmation:
    """How the winner was confirmed.

    Attributes:
        done: whether every run has ended.
        summary: what was done, or why nothing was done, as one sentence without a full stop.
        candidates: the trials that were trained again, the best in the search first.
    """

    done: bool
    summary: str
    candidates: tuple[Candidate, ...]

    @property
    def chosen(self) -> Candidate | None:
        """The candidate with the best mean among those without a failed run; None until done."""
        held = [candidate for candidate in self.candidates if self.done and candidate.held]
        return max(held, key=lambda candidate: candidate.merit, default=None)


def runs_of(candidate: TrialResult, trials: Sequence[TrialResult]) -> tuple[TrialResult, ...]:
    """The trials among these that trained the candidate's config again.

    If the candidate was trained for longer when its sweep was extended, earlier runs do not count.
    """
    assert candidate.config is not None
    of_candidate = [run for run in trials if run.confirms == candidate.number]
    own = recipe(candidate.config)
    return tuple(run for run in of_candidate if run.config and recipe(run.config) == own)


def read_confirmation(
    attribute: Mapping[str, Any], trials: Sequence[TrialResult], metric: str
) -> Confirmation:
    """The confirmation as the study records it.

    Args:
        attribute: the study's attribute `attributes.CONFIRMATION`.
        trials: all trials of the study, including confirmation runs.
        metric: the metric by which trials are selected.
    """
    by_number = {trial.number: trial for trial in trials if trial.config and trial.best}
    try:
        numbers = typed(list[int], attribute["candidates"])
        candidates = [
            Candidate(by_number[number], runs_of(by_number[number], trials), metric)
            for number in numbers
        ]
        done, summary = typed(bool, attribute["done"]), typed(str, attribute["told"])
    except (KeyError, ValueError) as error:
        raise SweepFolderError(
            f"the study's record of the confirmation cannot be read: {error!r}"
        ) from None
    if candidates and not done:
        summary += "; it is not complete, so it does not count"
    elif candidates and not any(candidate.held for candidate in candidates):
        summary += "; each candidate had a failed run, so it does not count"
    return Confirmation(done, summary, tuple(candidates))
