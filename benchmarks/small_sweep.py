"""The digits sweep from the shell to the tested model: Toprung against a plain Ray Tune script.

Command:  uv run python benchmarks/small_sweep.py [--pairs 5]
Both search 24 trials of at most 8 epochs with TPE and ASHA (factor 3), two at a time, and test
the best; whole processes are timed, in turn, because the machine's speed drifts. The peer is
`benchmarks/peers/plain_ray_tune.py`. Toprung also writes TensorBoard logs, the study, and the
export, and keeps resumable checkpoints; the peer does not.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from trainables.machine import num_cpus

PEER = Path(__file__).parent / "peers" / "plain_ray_tune.py"


def seconds(command: list[str], folder: str) -> float:
    """The wall time of a command, which must succeed."""
    started = time.monotonic()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.monotonic() - started


def main() -> None:
    """Time the pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5, help="runs of each, in turn")
    num_pairs: int = parser.parse_args().pairs
    toprung = [sys.executable, "-c", "from toprung.cli import main; main()", "run", "digits_cnn"]
    ours, peers = [], []
    with tempfile.TemporaryDirectory() as folder:
        seconds([*toprung, "--name", "warm-up", "--trials", "1"], folder)
        for n in range(num_pairs):
            peers.append(seconds([sys.executable, str(PEER)], folder))
            ours.append(seconds([*toprung, "--name", f"sweep-{n}"], folder))
    ratios = [a / b for a, b in zip(ours, peers, strict=True)]
    table = Table(title=f"small sweep, {num_pairs} pairs, {num_cpus()} CPUs")
    for column in ("", "median", "min", "max"):
        table.add_column(column)
    rows = (("plain Ray Tune, s", peers), ("Toprung, s", ours), ("ratio", ratios))
    for name, values in rows:
        figures = (statistics.median(values), min(values), max(values))
        table.add_row(name, *(f"{figure:.2f}" for figure in figures))
    console = Console()
    console.print(table)
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "ray", "optuna"))
    console.print(f"Python {platform.python_version()}, {packages}, {platform.machine()}")


if __name__ == "__main__":
    main()
