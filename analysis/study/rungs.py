"""How many trials came to each of ASHA's rungs, and how many were stopped there."""

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
        epochs: after which trials are compared.
        reached: the trials that trained so long.
        stopped: of these, stopped early here.
        went_on: of these, trained beyond it.
    """

    epochs: int
    reached: int
    stopped: int
    went_on: int

    @property
    def share_on(self) -> float | None:
        """The share that went on, of those that were stopped or went on."""
        decided = self.stopped + self.went_on
        return self.went_on / decided if decided else None


def rungs(
    settings: Mapping[str, Any], trials: Sequence[TrialResult], curves: Mapping[int, Curve]
) -> list[Rung]:
    """The rungs of a sweep with ASHA (Li et al., 2020), and at last its longest trials.

    A trial is compared when it reports that it has trained for `grace_epochs *
    reduction_factor**k` epochs or more. Those that did neither go on nor stop there ended by
    themselves, were cut short, or still run.

    Args:
        settings: the sweep's; without `trial_scheduler: asha` there are no rungs.
        trials: the trials.
        curves: their validations, by their number.
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
    """After how many epochs trials are compared, the lowest rung first; none without ASHA.

    Args:
        settings: the sweep's.
    """
    if settings.get("trial_scheduler") != "asha":
        return []
    heights: list[int] = [settings["grace_epochs"]]
    while heights[-1] * settings["reduction_factor"] < settings["max_epochs"]:
        heights.append(heights[-1] * settings["reduction_factor"])
    return heights


def _rung(height: int, above: int, ends: Sequence[tuple[str, float]]) -> Rung:
    came = [(ended, epoch) for ended, epoch in ends if epoch >= height]
    stopped = [e for ended, e in came if ended == attributes.STOPPED_EARLY and e < above]
    beyond = sum(epoch > height for _, epoch in came) - sum(epoch > height for epoch in stopped)
    return Rung(height, len(came), len(stopped), beyond)
