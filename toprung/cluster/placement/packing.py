"""How many trials share a GPU: as many as its memory holds, and fewer if it turns out too small."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toprung.cluster.placement.resources import Resources
from toprung.settings import GPU_RESOLUTION, SweepSettings
from toprung.trainables.results.failures import GPU_OUT_OF_MEMORY

if TYPE_CHECKING:
    from ray.tune import PlacementGroupFactory

    from toprung.trainables.training.memory_estimate import MemoryNeeded

MARGIN = 1.15
"""What a trial needs is taken for so much more: other batches, and the holes between blocks."""
MAX_CPUS = 2
"""A trial on a GPU makes use of one to drive it and one for what is computed backward."""


@dataclass
class Packing:
    """What each trial is given that begins from now on.

    Attributes:
        settings: the sweep's, settled: with numbers for CPUs and GPUs per trial.
        trials_per_gpu: how many share one, if that was found here; None if the user said it.
    """

    settings: SweepSettings
    trials_per_gpu: int | None = None

    @classmethod
    def auto(cls, settings: SweepSettings, trials_per_gpu: int, cpus: int) -> "Packing":
        """So many trials on each GPU."""
        each = {"gpus_per_trial": part_of_gpu(trials_per_gpu), "cpus_per_trial": cpus}
        return cls(settings.model_copy(update=each), trials_per_gpu)

    @property
    def each_trial(self) -> dict[str, float]:
        """CPUs and GPUs of a trial that begins now, as Ray names them."""
        return self.settings.each_trial

    def has_more_for(self, given: Resources) -> bool:
        """Whether a trial that was given this may be given more of a GPU."""
        return self.trials_per_gpu is not None and 0 < given["GPU"] < 1

    def begins_again(self, failure_kind: str, given: Resources) -> bool:
        """Whether a trial that was given this, and failed so, is to begin again with more."""
        return failure_kind == GPU_OUT_OF_MEMORY and self.has_more_for(given)

    def loosen(self, given: Resources) -> bool:
        """Give trials twice as much of a GPU as this one was given; False if they get it already.

        Of several trials that run out of memory side by side, only the first changes anything.
        """
        if self.each_trial["GPU"] > given["GPU"]:
            return False
        assert self.trials_per_gpu is not None
        self.trials_per_gpu = max(1, self.trials_per_gpu // 2)
        share = part_of_gpu(self.trials_per_gpu)
        self.settings = self.settings.model_copy(update={"gpus_per_trial": share})
        return True


def resources_of(config: Mapping[str, Any]) -> "PlacementGroupFactory":
    """What Tune is to give a trial: what the searcher has put into its config."""
    from ray.tune import PlacementGroupFactory

    return PlacementGroupFactory([dict(config["resources"])])


def part_of_gpu(num_trials: int) -> float:
    """The part of a GPU that so many trials can have at once, rounded down to what Ray counts."""
    return math.floor(GPU_RESOLUTION / num_trials) / GPU_RESOLUTION


def fitting(needed: "MemoryNeeded") -> int:
    """How many trials of this kind a GPU's memory holds; one at the least."""
    if not needed.fits:
        return 1
    return max(1, int(needed.gpu / (needed.trial * MARGIN + needed.cuda)))


def useful(settings: SweepSettings, machines: Sequence[Resources]) -> int:
    """How many trials a GPU could be given: as CPUs drive them, and no more than there are trials.

    A machine that has more CPUs for each of its GPUs than others may hold more trials than they.
    """
    cpus = settings.cpus_per_trial or 1
    with_gpu = [machine for machine in machines if machine["GPU"] >= 1]
    if not with_gpu:  # they were lost while the data was prepared
        return 1
    driven = max(int(machine["CPU"] / machine["GPU"] / cpus) for machine in with_gpu)
    num_gpus = sum(int(machine["GPU"]) for machine in with_gpu)
    at_once = min(settings.concurrency or settings.max_at_once, settings.max_at_once)
    return max(1, min(driven, math.ceil(at_once / num_gpus)))


def cpus_of_trial(
    settings: SweepSettings, machines: Sequence[Resources], trials_per_gpu: int
) -> int:
    """What the user said, or an equal part of each machine's CPUs, if more than one is of use."""
    if settings.cpus_per_trial is not None:
        return settings.cpus_per_trial
    parts = [
        int(machine["CPU"] / (trials_per_gpu * int(machine["GPU"])))
        for machine in machines
        if machine["GPU"] >= 1
    ]
    return max(1, min([MAX_CPUS, *parts]))
