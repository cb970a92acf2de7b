"""Whether the winner is as good as it looked: the best trials, trained again with fresh seeds.

The best of many noisy results looks better than it is. Runs with other seeds than those that were
selected by do not share that luck, so their mean is an estimate without it.
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
        trial: of the search.
        runs: each with a seed of its own, in full.
        metric: what trials are selected by.
    """

    trial: TrialResult
    runs: tuple[TrialResult, ...]
    metric: str

    @property
    def first(self) -> float:
        """What the trial reached in the search."""
        return float(getattr(self.trial.best, self.metric))

    @property
    def values(self) -> tuple[float, ...]:
        """What the runs reached, each at its best epoch; failed ones are left out."""
        return tuple(getattr(run.best, self.metric) for run in self.runs if has_score(run))

    @property
    def held(self) -> bool:
        """Whether there are runs, and all of them came to their end."""
        ended = [has_score(run) and run.ended == attributes.FINISHED for run in self.runs]
        return len(ended) > 1 and all(ended)

    @property
    def mean(self) -> float:
        """Of the runs' values."""
        return mean(self.values)

    @property
    def std(self) -> float:
        """Standard deviation of the runs' values."""
        return stdev(self.values)

    @property
    def interval(self) -> Interval:
        """95 % interval of the mean, by Student's t; of a share within 0 and 1.

        Both are nan where all values are equal, as nothing is known of chance then.
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
    def flattered(self) -> float:
        """By how much the first figure was better than the mean; negative if it was worse."""
        return self._sign * (self.first - self.mean)

    @property
    def best(self) -> TrialResult:
        """The best of the trial and its runs."""
        runs = [run for run in self.runs if has_score(run)]
        return max([self.trial, *runs], key=lambda trial: rank(trial, self.metric))

    @property
    def merit(self) -> tuple[float, float]:
        """Sorts candidates: by the mean, then by what they reached in the search."""
        return self._sign * self.mean, self._sign * self.first

    @property
    def _sign(self) -> int:
        return 1 if METRICS[self.metric] == "max" else -1


@dataclass(frozen=True)
class Confirmation:
    """What was done to confirm the winner.

    Attributes:
        done: whether every run has ended.
        told: what was done, or why nothing was, in words.
        candidates: the trials that were trained again, best in the search first.
    """

    done: bool
    told: str
    candidates: tuple[Candidate, ...]

    @property
    def chosen(self) -> Candidate | None:
        """The candidate with the best mean, of those without a failed run; None until done."""
        held = [candidate for candidate in self.candidates if self.done and candidate.held]
        return max(held, key=lambda candidate: candidate.merit, default=None)


def runs_of(candidate: TrialResult, trials: Sequence[TrialResult]) -> tuple[TrialResult, ...]:
    """Those of these trials that trained the candidate's config again.

    If the candidate was trained for longer when its sweep was extended, runs from before are none.
    """
    assert candidate.config is not None
    of_candidate = [run for run in trials if run.confirms == candidate.number]
    own = recipe(candidate.config)
    return tuple(run for run in of_candidate if run.config and recipe(run.config) == own)


def read_confirmation(
    attribute: Mapping[str, Any], trials: Sequence[TrialResult], metric: str
) -> Confirmation:
    """What the study tells of the confirmation.

    Args:
        attribute: the study's, by the name `attributes.CONFIRMATION`.
        trials: all of the study, with the runs that confirm others.
        metric: what trials are selected by.
    """
    by_number = {trial.number: trial for trial in trials if trial.config and trial.best}
    try:
        numbers = typed(list[int], attribute["candidates"])
        candidates = [
            Candidate(by_number[number], runs_of(by_number[number], trials), metric)
            for number in numbers
        ]
        done, told = typed(bool, attribute["done"]), typed(str, attribute["told"])
    except (KeyError, ValueError) as error:
        raise SweepFolderError(f"what the study tells of the confirmation: {error!r}") from None
    if candidates and not done:
        told += "; not all of it is done, so it does not count"
    elif candidates and not any(candidate.held for candidate in candidates):
        told += "; each had a run that failed, so it does not count"
    return Confirmation(done, told, tuple(candidates))
