"""Where a trial computes: on the GPU that it was given, or on the CPU."""

import gc
import platform
from collections.abc import Callable, Mapping

import torch


class GpuMissingError(RuntimeError):
    """A trial was given a GPU that torch cannot use: something is wrong with its machine."""


def device_for(
    resources: Mapping[str, float], is_usable: Callable[[], bool] = torch.cuda.is_available
) -> torch.device:
    """The device of a trial that was given these resources (`GPU`, whole or a fraction).

    Raises:
        GpuMissingError: if it was given a GPU and there is none for torch; it would take days on
            the CPU, and nobody would know why.
    """
    if not resources.get("GPU"):
        return torch.device("cpu")
    if not is_usable():
        raise GpuMissingError(
            f"Ray gave this trial a GPU, but torch on {platform.node()} sees none; look at that "
            "machine's driver (nvidia-smi), and whether its torch was built for GPUs"
        )
    return torch.device("cuda")


def give_back_memory(*, of_cpu: bool) -> None:
    """Free what a trial that has ended held, whose parts refer to one another; on a GPU always.

    Torch keeps what is freed of a GPU, block by block, and the next trial's blocks have other
    sizes: other processes are to have it.

    Args:
        of_cpu: whether to do so for the CPU's memory too; it takes some tenths of a second.
    """
    if of_cpu or torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        gc.collect()
    torch.cuda.empty_cache()  # without effect where no GPU was used
