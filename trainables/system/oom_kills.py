"""How many processes the kernel has killed because memory was full (OOM kills).

The kernel counts such a process in its control group (cgroup): version 1 in that group alone,
version 2 also in the groups above it. So the counter `oom_kill` of a process's own group includes
all kills of processes in the group, whichever group above it has the limit that was reached: Slurm,
for example, nests groups for job, step and task. Sources: the kernel's admin-guide/cgroup-v2.rst
("memory.events") and cgroup-v1/memory.rst ("OOM Control").
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_COUNTERS = {"cgroup": "memory.oom_control", "cgroup2": "memory.events"}
"""The file with the counter, by the type of the file system of the groups."""
_OCTAL = re.compile(r"\\([0-7]{3})")
"""How /proc escapes blanks in a path."""


def oom_kills(
    process: Path = Path("/proc/self"), machine: Path = Path("/proc/vmstat")
) -> int | None:
    """How many processes of this process's control group the kernel has killed for memory so far.

    If no group has a counter (a process in version 2's root group), the whole machine's is used.

    Args:
        process: the folder of the process in /proc.
        machine: the file with the counters of the whole machine.

    Returns:
        The number; None if the kernel does not report it.
    """
    counts = [_count(folder) for folder in _folders(process)]
    known = [count for count in counts if count is not None]
    return sum(known) if known else _counter(machine)


@dataclass(frozen=True)
class _Mount:
    """A mounted hierarchy of control groups.

    Attributes:
        root: the group at `path`; in a container it may be far below the hierarchy's root.
        path: the mount's folder.
        kind: `cgroup` or `cgroup2`.
    """

    root: str
    path: Path
    kind: str

    def folders(self, group: str) -> list[Path]:
        """The folder of a group, then those of the groups above it that are visible here."""
        inside = group.removeprefix(self.root.rstrip("/")).strip("/")
        parts = [part for part in inside.split("/") if part]
        if ".." in parts or not group.startswith(self.root.rstrip("/")):
            parts = []  # a group that is not visible here
        return [self.path.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]


def _folders(process: Path) -> Iterator[list[Path]]:
    """For each hierarchy that may count memory, the folders of the process's group and those above.

    There are two hierarchies if version 2 is mounted beside version 1 (hybrid); one of them counts.
    """
    groups = _groups(process)
    seen = set()
    for mount in _mounts(process):
        if mount.kind in groups and mount.kind not in seen:
            seen.add(mount.kind)
            yield mount.folders(groups[mount.kind])


def _groups(process: Path) -> dict[str, str]:
    """The process's memory group in each version of control groups."""
    groups = {}
    for line in _lines(process / "cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            groups["cgroup2"] = group
        elif "memory" in controllers.split(","):
            groups["cgroup"] = group
    return groups


def _mounts(process: Path) -> Iterator[_Mount]:
    for line in _lines(process / "mountinfo"):
        before, _, after = line.partition(" - ")
        fields, (kind, *_, options) = before.split(), after.split() or ("", "")
        is_ours = kind == "cgroup2" or (kind == "cgroup" and "memory" in options.split(","))
        if is_ours and len(fields) > 4:
            yield _Mount(_unescaped(fields[3]), Path(_unescaped(fields[4])), kind)


def _unescaped(path: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), path)


def _count(folders: list[Path]) -> int | None:
    """The count of the first group with a counter: memory may be limited only in groups above."""
    counts = (_counter(folder / name) for folder in folders for name in _COUNTERS.values())
    return next((count for count in counts if count is not None), None)


def _counter(file: Path) -> int | None:
    found = [line.split() for line in _lines(file) if line.startswith("oom_kill ")]
    return int(found[0][1]) if found else None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []
