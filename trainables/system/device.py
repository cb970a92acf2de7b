"""The device on which a trial computes: the GPU that it was given, or the CPU."""

import gc
import platform
from collections.abc import Callable, Mapping

import torch


class GpuMissingError(RuntimeError):
    """A trial was given a GPU that torch cannot use, so its machine has a problem."""


def device_for(
    resources: Mapping[str, float], is_usable: Callable[[], bool] = torch.cuda.is_available
) -> torch.device:
    """The device of a trial that was given these resources (`GPU`, whole or a fraction).

    Raises:
        GpuMissingError: if it was given a GPU that torch cannot use; on the CPU it would take days,
            and the user would not know why.
    """
    if not resources.get("GPU"):
        return torch.device("cpu")
    if not is_usable():
        raise GpuMissingError(
            f"Ray gave this trial a GPU, but torch on {platform.node()} finds none; check that "
            "machine's driver (nvidia-smi), and whether its torch was built for GPUs"
        )
    return torch.device("cuda")


def give_back_memory(*, of_cpu: bool) -> None:
    """Free the memory of a trial that has ended, whose objects refer to one another.

    Torch caches freed GPU memory block by block, but the next trial's blocks have other sizes, and
    other processes need the memory. So it is always returned to the GPU.

    Args:
        of_cpu: whether to free the CPU's memory too, which takes some tenths of a second.
    """
    if of_cpu or torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        gc.collect()
    torch.cuda.empty_cache()  # no effect if no GPU was used
