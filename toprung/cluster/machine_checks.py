"""What this machine has, and what of it would be a problem for a sweep."""

import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import requires, version
from pathlib import Path

from toprung.trainables.data import cache_dir
from toprung.trainables.system.machine import num_cpus

GIB = 2**30
MIN_FREE_DISK = 5 * GIB
MIN_MEMORY = 4 * GIB
MIN_SHARED_MEMORY = 1 * GIB


@dataclass(frozen=True)
class Check:
    """One thing looked at: what was found, and what is wrong with it (empty if nothing)."""

    name: str
    found: str
    problem: str = ""


def run_checks() -> list[Check]:
    """Look at everything a sweep needs, in a few seconds; nothing is started or changed."""
    looks: list[Callable[[], Check]] = [
        _python,
        _torch,
        _gpus,
        _ray,
        _window,
        _cores,
        _memory,
        _shared_memory,
        _cache,
    ]
    return [look() for look in looks]


def _python() -> Check:
    return Check("Python", platform.python_version())


def _torch() -> Check:
    import torch

    return Check("torch", f"{torch.__version__}, torchvision {version('torchvision')}")


def _gpus() -> Check:
    import torch

    count = torch.cuda.device_count()
    if count:
        return Check("GPUs", ", ".join(torch.cuda.get_device_name(i) for i in range(count)))
    if shutil.which("nvidia-smi"):
        problem = "there is an NVIDIA driver, but torch sees no GPU: is the driver too old?"
        return Check("GPUs", "none that torch can use", problem)
    return Check("GPUs", "none; trials run on the CPU")


def _ray() -> Check:
    found = f"{version('ray')}, Optuna {version('optuna')}"
    if address := os.environ.get("RAY_ADDRESS"):
        found += f"; with --address auto a sweep joins RAY_ADDRESS={address}"
    return Check("Ray", found)


def _window() -> Check:
    """Whether each dependency has a version that Toprung is made for."""
    from packaging.requirements import Requirement

    needed = [Requirement(line) for line in requires("toprung") or []]
    needed = [it for it in needed if not it.marker or it.marker.evaluate({"extra": ""})]
    other = [
        f"{it.name} is {version(it.name)}, and Toprung is made for {it.specifier}"
        for it in needed
        if not it.specifier.contains(version(it.name), prereleases=True)
    ]
    return Check("versions", f"of {len(needed)} packages", "; ".join(other))


def _cores() -> Check:
    return Check("CPU cores", str(num_cpus()))


def _memory() -> Check:
    pages, page = os.sysconf("SC_AVPHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    total = os.sysconf("SC_PHYS_PAGES") * page
    problem = "" if total >= MIN_MEMORY else f"less than {_gib(MIN_MEMORY)}: Ray alone needs 2 GiB"
    return Check("memory", f"{_gib(total)}, {_gib(pages * page)} free", problem)


def _shared_memory() -> Check:
    """Ray keeps its object store in /dev/shm; in a container that is often tiny."""
    shm = Path("/dev/shm")
    if not shm.exists():
        return Check("/dev/shm", "none; Ray uses the temporary folder")
    free = shutil.disk_usage(shm).free
    problem = "" if free >= MIN_SHARED_MEMORY else "too small for Ray (Docker: --shm-size=2g)"
    return Check("/dev/shm", f"{_gib(free)} free", problem)


def _cache() -> Check:
    folder = cache_dir()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    found = f"{folder}, {_gib(free)} free on its disk"
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Check("cache", found, f"{existing} cannot be written; set TOPRUNG_CACHE_DIR")
    if free < MIN_FREE_DISK:
        return Check("cache", found, f"less than {_gib(MIN_FREE_DISK)} of disk free")
    return Check("cache", found)


def _gib(num_bytes: float) -> str:
    return f"{num_bytes / GIB:.1f} GiB"
