"""What the machine (or the running Ray) has, held against what a sweep asks for."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from toprung.errors import ToprungError
from toprung.settings import SweepSettings

_GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""NVIDIA's driver, Windows' (WSL), AMD's."""


def available() -> dict[str, float]:
    """CPUs and GPUs: of the Ray that this process has joined, otherwise of this machine."""
    if "ray" in sys.modules:
        import ray

        if ray.is_initialized():
            resources = ray.cluster_resources()
            return {"CPU": resources.get("CPU", 0), "GPU": resources.get("GPU", 0)}
    return {"CPU": len(os.sched_getaffinity(0)), "GPU": _num_gpus()}


def settle(settings: SweepSettings, there_are: Mapping[str, float]) -> SweepSettings:
    """The settings with GPUs per trial and concurrency decided.

    Args:
        settings: the sweep's.
        there_are: how many CPUs and GPUs there are.

    Raises:
        ToprungError: if more CPUs or GPUs are asked for.
    """
    gpus = settings.gpus_per_trial
    if gpus is None:
        gpus = 1.0 if there_are["GPU"] else 0.0
    asked = {"CPU": float(settings.cpus_per_trial), "GPU": gpus}
    fitting = [there_are[kind] // n for kind, n in asked.items() if n]
    for kind, number in asked.items():
        if number > there_are[kind]:
            raise ToprungError(
                f"{kind.lower()}s_per_trial = {number:g}: there are {there_are[kind]:g} {kind}s"
            )
    concurrency = settings.concurrency or int(min(fitting))
    if concurrency > min(fitting):
        raise ToprungError(
            f"concurrency = {concurrency}: trials of {asked['CPU']:g} CPUs and {gpus:g} GPUs fit "
            f"{int(min(fitting))} at a time into {there_are['CPU']:g} CPUs and "
            f"{there_are['GPU']:g} GPUs"
        )
    return settings.model_copy(
        update={"gpus_per_trial": gpus, "concurrency": min(concurrency, settings.trials)}
    )


def _num_gpus() -> int:
    """GPUs that torch can use; torch is not imported where there is no driver for one."""
    if not any(Path(device).exists() for device in _GPU_DEVICES):
        return 0
    import torch

    return torch.cuda.device_count()
