"""Several sweeps in one Python process: what each of them leaves there."""

import os
import threading
from dataclasses import dataclass
from pathlib import Path

import toprung


@dataclass(frozen=True)
class Left:
    """What a process has after a sweep.

    Attributes:
        descriptors: open files, pipes and sockets, by what they lead to.
        threads: of Python and of the libraries.
        children: processes.
        variables: of the environment that are not as they were before the first sweep.
    """

    descriptors: tuple[str, ...]
    threads: int
    children: int
    variables: tuple[str, ...]


def run(folder: Path, sweeps: int) -> list[Left]:
    """Run so many small sweeps, one after another, and look at this process after each."""
    before = dict(os.environ)
    looked_at = []
    for number in range(sweeps):
        name = f"sweep_{number}"
        toprung.run("digits_cnn", trials=2, max_epochs=1, confirm=0, out=folder, name=name)
        looked_at.append(_look(before))
    return looked_at


def problems(looked_at: list[Left]) -> list[str]:
    """What grows with the sweeps after the first, in which libraries have begun what they keep.

    A library's pool may have a thread more or less each time; a leak has one more for each sweep.
    """
    first, last, sweeps = looked_at[0], looked_at[-1], len(looked_at) - 1
    variables = {name for left in looked_at for name in left.variables}
    found = [f"{name} is not as before the sweeps" for name in sorted(variables)]
    for what, before, after, most in (
        ("descriptors", len(first.descriptors), len(last.descriptors), 0),
        ("threads", first.threads, last.threads, max(sweeps - 1, 0)),
        ("children", 0, last.children, 0),
    ):
        if after > before + most:
            found.append(f"{what}: {before} after the first sweep, {after} after the last")
    return found


def show(looked_at: list[Left]) -> None:
    """Print a table of counts."""
    print("| after sweep | descriptors | threads | children | variables left |")
    print("|---|---|---|---|---|")
    for number, left in enumerate(looked_at, start=1):
        counts = (len(left.descriptors), left.threads, left.children, len(left.variables))
        print(f"| {number} | {' | '.join(map(str, counts))} |")


def _look(before: dict[str, str]) -> Left:
    names = before.keys() | os.environ.keys()
    tasks = list(Path("/proc/self/task").iterdir())
    return Left(
        descriptors=tuple(sorted(_descriptors())),
        threads=max(len(tasks), threading.active_count()),
        children=sum(len((task / "children").read_text().split()) for task in tasks),
        variables=tuple(sorted(n for n in names if before.get(n) != os.environ.get(n))),
    )


def _descriptors() -> list[str]:
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(link.readlink()))
        except FileNotFoundError:  # the one by which the folder is read
            continue
    return found
