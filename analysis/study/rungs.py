"""How many trials reached each rung of ASHA, and how many were stopped there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from toprung.analysis.study.curves import Curve
from toprung.analysis.study.trials import TrialResult
from toprung.analysis.sweep_folder import attributes


@dataclass(frozen=True)
class Rung:
    """One rung.

    Attributes:
        epochs: the number of epochs after which trials are compared.
        reached: the number of trials that trained for so many epochs.
        stopped: how many of these were stopped early here.
        continued: how many of these trained beyond the rung.
    """

    epochs: int
    reached: int
    stopped: int
    continued: int

    @property
    def share_continued(self) -> float | None:
        """The share that continued, among the trials that were stopped or continued."""
        decided = self.stopped + self.continued
        return self.continued / decided if decided else None


def rungs(
    settings: Mapping[str, Any], trials: Sequence[TrialResult], curves: Mapping[int, Curve]
) -> list[Rung]:
    """The rungs of a sweep with ASHA (Li et al., 2020), and after them the longest trials.

    A trial is compared when it reports that it has trained for `grace_epochs *
    reduction_factor**k` epochs or more. The trials that neither continued nor were stopped there
    finished, were interrupted, or are still running.

    Args:
        settings: the settings of the sweep; without `trial_scheduler: asha` there are no rungs.
        trials: the trials.
        curves: their validations, by the trials' numbers.
    """
    if settings.get("trial_scheduler") != "asha":
        return []
    limit: int = settings["max_epochs"]
    ends = [
        (trial.ended, curves[trial.number].records[-1].epoch)
        for trial in trials
        if trial.number in curves
    ]
    found = [
        _rung(height, above, ends)
        for height, above in pairwise([*rung_heights(settings), limit])
        if height < limit
    ]
    return [*found, Rung(limit, sum(epoch >= limit for _, epoch in ends), 0, 0)]


def rung_heights(settings: Mapping[str, Any]) -> list[int]:
    """The numbers of epochs after which trials are compared, ascending; empty without ASHA.

    Args:
        settings: the settings of the sweep.
    """
    if settings.get("trial_scheduler") != "asha":
        return []
    heights: list[int] = [settings["grace_epochs"]]
    while heights[-1] * settings["reduction_factor"] < settings["max_epochs"]:
        heights.append(heights[-1] * settings["reduction_factor"])
    return heights


def _rung(height: int, above: int, ends: Sequence[tuple[str, float]]) -> Rung:
    reached = [(ended, epoch) for ended, epoch in ends if epoch >= height]
    stopped = [e for ended, e in reached if ended == attributes.STOPPED_EARLY and e < above]
    beyond = sum(epoch > height for _, epoch in reached) - sum(epoch > height for epoch in stopped)
    return Rung(height, len(reached), len(stopped), beyond)
