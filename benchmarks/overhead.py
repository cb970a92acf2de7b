"""What a sweep costs besides its trials: Toprung against a plain Ray Tune script.

Command:  uv run python -m benchmarks.overhead [--counts 100 300 1000 3000 5000] [--repeats 1]
Both run sweeps of trivial trials, which report once with a small checkpoint, two at a time, with
random sampling and ASHA, each in a process of its own. Shown are the time per trial, between the
first result and the last, of each of the two places (so twice the time over the trials); how much
the driver's memory grows per trial; and the seconds before the first result and after the last.
Toprung runs its real driver: study, searcher, checks, loggers, TensorBoard, checkpoints. The last
rows are Toprung with TPE, whose own cost grows with the trials. The peer is
`benchmarks/peers/plain_trivial_trials.py`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.tables import in_turn, print_table, ratios
from benchmarks.trivial_trials import CONCURRENCY, Clock, Costs, report_once

ROOT = Path(__file__).parent.parent
PEER = "benchmarks.peers.plain_trivial_trials"
TPE_TRIALS = 1000
UNITS = {
    "per_trial_ms": "ms per trial",
    "growth_kb": "kB per trial",
    "start_s": "s before the first result",
    "tail_s": "s after the last result",
}


def toprung_costs(num_trials: int, sampler: str) -> Costs:
    """Run a sweep of trivial trials with Toprung's driver, in this process."""
    from toprung.api import run
    from toprung.tune import launch
    from toprung.tune.callbacks.progress import Progress

    measured: list[Costs] = []

    class ClockedProgress(Progress):
        """Is made before `fit` and closed after it."""

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self._clock = Clock()

        def on_report(self, *arguments: Any) -> None:
            super().on_report(*arguments)
            self._clock.on_trial_result(0, [])

        def close(self) -> None:
            super().close()
            measured.append(self._clock.costs())

    setattr(launch, "Progress", ClockedProgress)  # noqa: B010
    setattr(launch, "train_trial", report_once)  # noqa: B010
    with tempfile.TemporaryDirectory() as folder:
        run(
            "digits_cnn",
            trials=num_trials,
            sampler=sampler,
            concurrency=CONCURRENCY,
            out=folder,
            console=Console(stderr=True, quiet=True),
        )
    return measured[-1]


def costs_of(*command: str) -> Costs:
    """What a process of its own measured."""
    ended = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    return Costs(**json.loads(ended.stdout.splitlines()[-1]))


def compare(num_trials: int, repeats: int) -> None:
    """Run both `repeats` times, in turn, and print the table."""
    peers, ours = in_turn(
        partial(costs_of, PEER, str(num_trials)),
        partial(costs_of, "benchmarks.overhead", "--toprung", str(num_trials), "random"),
        repeats,
    )
    rows: dict[str, list[float]] = {}
    for name, unit in UNITS.items():
        of_peer, of_ours = ([getattr(run, name) for run in runs] for runs in (peers, ours))
        rows |= {f"plain Ray Tune, {unit}": of_peer, f"Toprung, {unit}": of_ours}
        if name == "per_trial_ms":
            rows["ratio"] = ratios(of_ours, of_peer)
    print_table(f"overhead: {num_trials} trivial trials, {CONCURRENCY} at a time", rows)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 300, 1000, 3000, 5000])
    parser.add_argument("--repeats", type=int, default=1, help="runs of each, in turn")
    parser.add_argument("--toprung", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.toprung:
        num_trials, sampler = given.toprung
        print(json.dumps(asdict(toprung_costs(int(num_trials), sampler))))
        return
    for num_trials in given.counts:
        compare(num_trials, given.repeats)
    command = ("benchmarks.overhead", "--toprung", str(TPE_TRIALS), "tpe")
    with_tpe = [costs_of(*command).per_trial_ms for _ in range(given.repeats)]
    print_table(f"the same with TPE, {TPE_TRIALS} trials", {"Toprung, ms per trial": with_tpe})


if __name__ == "__main__":
    main()
