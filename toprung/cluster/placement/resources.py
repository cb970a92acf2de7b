"""What the machine (or the running Ray) has, held against what a sweep asks for."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from toprung.errors import ToprungError
from toprung.settings import SweepSettings
from toprung.trainables.system.machine import num_cpus

_GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""NVIDIA's driver, Windows' (WSL), AMD's."""

Resources = Mapping[str, float]


def nodes() -> list[Resources]:
    """CPUs and GPUs of each machine: of the Ray that this process has joined, otherwise of this."""
    if not is_joined():
        return [this_machine()]
    import ray

    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [{kind: node.get(kind, 0.0) for kind in ("CPU", "GPU")} for node in alive]


def is_joined() -> bool:
    """Whether this process has joined a Ray."""
    if "ray" not in sys.modules:
        return False
    import ray

    return bool(ray.is_initialized())


def autoscales() -> bool:
    """Whether this process has joined a cluster that starts nodes when trials wait for them."""
    if not is_joined():
        return False
    from toprung.cluster.placement.autoscaling import autoscales as cluster_autoscales

    return cluster_autoscales()


def this_machine() -> Resources:
    """CPUs and GPUs of this machine."""
    return {"CPU": num_cpus(), "GPU": _num_gpus()}


def settle(
    settings: SweepSettings,
    machines: Sequence[Resources],
    *,
    elastic: bool = False,
    grows: bool = False,
) -> SweepSettings:
    """The settings with GPUs per trial and concurrency decided.

    What "auto" means where there is a GPU is left open: that takes a measurement; see `packing`.

    Args:
        settings: the sweep's.
        machines: what each machine has; a trial runs on one of them.
        elastic: leave the concurrency open, unless it was asked for: machines come and go.
        grows: take what is asked for, though no machine has it now: one that has it may come.

    Raises:
        ToprungError: if more CPUs or GPUs are asked for than a trial, or the trials, can have.
    """
    has_gpu = any(machine["GPU"] for machine in machines)
    is_open = settings.gpus_per_trial == "auto" and has_gpu
    if settings.gpus_per_trial in (None, "auto"):
        settings = settings.model_copy(update={"gpus_per_trial": float(has_gpu)})
    asked = settings.each_trial
    for kind, number in asked.items():
        most = max(machine[kind] for machine in machines)
        if number > most and not grows:
            raise ToprungError(
                f"{kind.lower()}s_per_trial = {number:g}: there are {most:g} {kind}s"
                f"{' on one machine' if len(machines) > 1 else ''}"
            )
    fitting = num_fitting(settings, machines)
    if fitting == 0 and not grows:
        raise ToprungError(
            f"no machine has {asked['CPU']:g} CPUs and {asked['GPU']:g} GPUs together for a trial"
        )
    if not is_open and settings.cpus_per_trial is None:
        settings = settings.model_copy(update={"cpus_per_trial": 1})
    if is_open:
        return settings.model_copy(update={"gpus_per_trial": "auto"})
    if elastic and settings.concurrency is None:
        return settings
    concurrency = settings.concurrency or fitting
    if concurrency > fitting and not grows:
        raise ToprungError(
            f"concurrency = {concurrency}: there are CPUs and GPUs for {fitting} trials of "
            f"{asked['CPU']:g} CPUs and {asked['GPU']:g} GPUs at a time"
        )
    return settings.model_copy(update={"concurrency": min(concurrency, settings.max_at_once)})


def without_gpus(asked: SweepSettings, settled: SweepSettings, *, grows: bool = False) -> str:
    """A line that says so where there are no GPUs, and some were meant; empty otherwise.

    Args:
        asked: the settings as they were given.
        settled: the same, settled.
        grows: whether an autoscaler may bring machines.
    """
    if settled.gpus_per_trial != 0 or asked.gpus_per_trial not in (None, "auto"):
        return ""
    if grows:
        return (
            "no node has a GPU now, so trials run on CPUs; if the autoscaler is to bring nodes "
            "with GPUs, say gpus_per_trial = 1"
        )
    packs_none = asked.gpus_per_trial == "auto"
    return "gpus_per_trial = auto: there is no GPU, so trials run on CPUs" if packs_none else ""


def num_fitting(settings: SweepSettings, machines: Sequence[Resources]) -> int:
    """How many trials with these settings, settled, fit on these machines."""
    asked = {kind: number for kind, number in settings.each_trial.items() if number}
    return sum(
        min(_parts(machine[kind], number) for kind, number in asked.items()) for machine in machines
    )


def _parts(there: float, asked: float) -> int:
    """How many parts of a size there are; one below 1 is of one GPU, not a bit of two.

    The margin is for fractions: ten tenths fit into one.
    """
    if asked < 1:
        return int(there) * int(1 / asked + 1e-9)
    return int(there / asked + 1e-9)


def _num_gpus() -> int:
    """GPUs that torch can use; torch is not imported where there is no driver for one."""
    if not any(Path(device).exists() for device in _GPU_DEVICES):
        return 0
    import torch

    return torch.cuda.device_count()
