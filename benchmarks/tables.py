"""What the benchmarks share: timing two things in turn, and one kind of table.

A benchmark measures the peer and Toprung in turn (`in_turn`), because a machine's speed drifts,
and ends with `print_table({"plain Ray Tune, s": peers, "Toprung, s": ours, "ratio":
ratios(ours, peers)})`. Each is a command of its own: `uv run python -m benchmarks.small_sweep`.
"""

import datetime
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import torch
from rich.console import Console
from rich.table import Table

from toprung.trainables.system.machine import num_cpus

PACKAGES = ("torch", "torchvision", "ray", "optuna")
PEERS = Path(__file__).parent / "peers"
Figure = TypeVar("Figure")


def command_seconds(
    command: Sequence[str], folder: str | Path, variables: Mapping[str, str] | None = None
) -> float:
    """The wall time, in seconds, of a command run in a folder.

    `variables` are added to its environment. Raises CalledProcessError where it fails; what it
    wrote is then printed.
    """
    environment = {**os.environ, **(variables or {})}
    started = time.monotonic()
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    seconds = time.monotonic() - started
    if ended.returncode != 0:
        print(ended.stdout, ended.stderr, sep="\n")
    ended.check_returncode()
    return seconds


def seconds_until(words: str, command: Sequence[str], folder: str | Path) -> tuple[float, float]:
    """The wall time of a command, in seconds: until it prints these words, and until its end.

    Raises CalledProcessError where it fails or never prints them; what it wrote is then printed.
    """
    started = time.monotonic()
    printed, lines = None, []
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if printed is None and words in line:
                printed = time.monotonic() - started
    whole = time.monotonic() - started
    if process.returncode != 0 or printed is None:
        print(*lines, sep="")
        raise subprocess.CalledProcessError(process.returncode, command)
    return printed, whole


def in_turn(
    peer: Callable[[], Figure], toprung: Callable[[], Figure], num_pairs: int
) -> tuple[list[Figure], list[Figure]]:
    """What the two measurements return, peer's first, each made `num_pairs` times in turn."""
    pairs = [(peer(), toprung()) for _ in range(num_pairs)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def ratios(toprung: Sequence[float], peer: Sequence[float]) -> list[float]:
    """Toprung's figure over the peer's, pair by pair."""
    return [a / b for a, b in zip(toprung, peer, strict=True)]


def print_table(title: str, rows: Mapping[str, Sequence[float]]) -> None:
    """Print each row's median, smallest and largest figure and their number, then the machine.

    A row's name says its unit: "Toprung, s".
    """
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for column in ("median", "min", "max", "n"):
        table.add_column(column, justify="right")
    for name, figures in rows.items():
        summary = (statistics.median(figures), min(figures), max(figures))
        table.add_row(name, *map(_written, summary), str(len(figures)))
    console = Console()
    console.print(table)
    console.print(where(), highlight=False, soft_wrap=True)


def where() -> str:
    """Date, hardware and versions, in one line."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{datetime.date.today()}, {_cpu_model()}, {num_cpus()} CPUs, {gpu}, "
        f"Python {platform.python_version()}, {packages}"
    )


def _written(figure: float) -> str:
    """Three significant digits, and no exponent for large figures."""
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def _cpu_model() -> str:
    """The processor's name, where Linux says it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
