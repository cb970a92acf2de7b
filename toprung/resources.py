"""What the machine (or the running Ray) has, held against what a sweep asks for."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from toprung.errors import ToprungError
from toprung.settings import SweepSettings
from trainables.machine import num_cpus

_GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""NVIDIA's driver, Windows' (WSL), AMD's."""


Resources = Mapping[str, float]


def nodes() -> list[Resources]:
    """CPUs and GPUs of each machine: of the Ray that this process has joined, otherwise of this."""
    if "ray" in sys.modules:
        import ray

        if ray.is_initialized():
            alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            return [{kind: node.get(kind, 0.0) for kind in ("CPU", "GPU")} for node in alive]
    return [this_machine()]


def this_machine() -> Resources:
    """CPUs and GPUs of this machine."""
    return {"CPU": num_cpus(), "GPU": _num_gpus()}


def settle(settings: SweepSettings, machines: Sequence[Resources]) -> SweepSettings:
    """The settings with GPUs per trial and concurrency decided.

    Args:
        settings: the sweep's.
        machines: what each machine has; a trial runs on one of them.

    Raises:
        ToprungError: if more CPUs or GPUs are asked for than a trial, or the trials, can have.
    """
    gpus = settings.gpus_per_trial
    if gpus is None:
        gpus = 1.0 if any(machine["GPU"] for machine in machines) else 0.0
    asked = {"CPU": float(settings.cpus_per_trial), "GPU": gpus}
    for kind, number in asked.items():
        most = max(machine[kind] for machine in machines)
        if number > most:
            raise ToprungError(
                f"{kind.lower()}s_per_trial = {number:g}: there are {most:g} {kind}s"
                f"{' on one machine' if len(machines) > 1 else ''}"
            )
    fitting = sum(_fitting(asked, machine) for machine in machines)
    if fitting == 0:
        raise ToprungError(
            f"no machine has {asked['CPU']:g} CPUs and {gpus:g} GPUs together for a trial"
        )
    concurrency = settings.concurrency or fitting
    if concurrency > fitting:
        raise ToprungError(
            f"concurrency = {concurrency}: there are CPUs and GPUs for {fitting} trials of "
            f"{asked['CPU']:g} CPUs and {gpus:g} GPUs at a time"
        )
    return settings.model_copy(
        update={"gpus_per_trial": gpus, "concurrency": min(concurrency, settings.max_at_once)}
    )


def _fitting(asked: Resources, machine: Resources) -> int:
    """How many trials fit; the margin is for fractions: ten tenths fit into one."""
    return int(min(machine[kind] / number + 1e-9 for kind, number in asked.items() if number))


def _num_gpus() -> int:
    """GPUs that torch can use; torch is not imported where there is no driver for one."""
    if not any(Path(device).exists() for device in _GPU_DEVICES):
        return 0
    import torch

    return torch.cuda.device_count()
