"""The resources of this machine that this process may use."""

import os
from pathlib import Path

_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def num_cpus() -> int:
    """How many CPUs this process may use: its CPU affinity, or fewer by a container's quota."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota, _, period = (_CPU_QUOTA.read_text() if _CPU_QUOTA.exists() else "max 1").partition(" ")
    limit = bound or 1
    return limit if quota == "max" else max(1, min(limit, int(quota) // int(period)))
