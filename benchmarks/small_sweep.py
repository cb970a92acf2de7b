"""The digits sweep from the shell to the tested model: Toprung against a plain Ray Tune script.

Command:  uv run python -m benchmarks.small_sweep [--pairs 5] [--fixed]
Both try 24 trials of at most 8 epochs, two at a time on one CPU each, and test the best; whole
processes are timed, in turn, because the machine's speed drifts.

* By default both search with TPE and ASHA (factor 3), each in a space of its own: Toprung's has
  more kinds of network and optimizer, and ASHA stops other trials in each.
* With `--fixed` both do the same work: the 24 configs of `benchmarks/fixed_space.py`, with the same
  network and optimizer, each for all 8 epochs. Only the random numbers differ (initial weights,
  dropout, which images are in which split), and how pixels are normalised.

The peer is `benchmarks/peers/plain_ray_tune.py`. Toprung also writes TensorBoard logs, the study,
and the export, and keeps resumable checkpoints; the peer does not. The report, which Toprung writes
after it has told the result, has a row of its own.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import toprung
from benchmarks.fixed_space import CONFIGS
from benchmarks.tables import PEERS, command_seconds, in_turn, print_table, ratios, seconds_until
from toprung.analysis.sweep_folder import attributes

SPACE = Path(__file__).parent / "fixed_space.py"
PEER = PEERS / "plain_ray_tune.py"
CONCURRENCY = 2


@dataclass(frozen=True)
class Ran:
    """How long a sweep took, and how well its best trial did.

    Attributes:
        seconds: wall time until the best trial was tested.
        test_accuracy: of the best trial.
        report_seconds: wall time of the report, which comes after.
    """

    seconds: float
    test_accuracy: float
    report_seconds: float = 0.0


def run_peer(folder: Path, *, fixed: bool) -> Ran:
    """The plain Ray Tune script, in this folder."""
    out = folder / "peer.json"
    command = [sys.executable, str(PEER), f"--out={out}"]
    if fixed:
        configs = folder / "configs.json"
        configs.write_text(json.dumps(CONFIGS))
        command.append(f"--configs={configs}")
    seconds = command_seconds(command, folder)
    return Ran(seconds, json.loads(out.read_text())["test_accuracy"])


def run_toprung(folder: Path, name: str, *options: str, fixed: bool) -> Ran:
    """Toprung's sweep of this name, in this folder; with fixed work, every trial must finish."""
    space = str(SPACE) if fixed else "digits_cnn"
    command = [sys.executable, "-c", "from toprung.cli.main import main; main()", "run", space]
    command += [f"--name={name}", f"--concurrency={CONCURRENCY}", "--gpus-per-trial=0", *options]
    seconds, whole = seconds_until("test accuracy", command, folder)
    sweep = toprung.open(folder / "sweeps" / name)
    unfinished = sweep.counts().keys() - {attributes.FINISHED}
    if fixed and unfinished:
        raise SystemExit(f"{sweep.name}: {sweep.counts()}, not all of them finished")
    return Ran(seconds, sweep.test().accuracy, whole - seconds)


def main() -> None:
    """Time the pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5, help="runs of each, in turn")
    parser.add_argument("--fixed", action="store_true", help="the same configs, each in full")
    given = parser.parse_args()
    numbers = count()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run_toprung(folder, "warm-up", "--trials=1", fixed=given.fixed)
        peers, ours = in_turn(
            lambda: run_peer(folder, fixed=given.fixed),
            lambda: run_toprung(folder, f"sweep-{next(numbers)}", fixed=given.fixed),
            given.pairs,
        )
    their_seconds, our_seconds = ([run.seconds for run in runs] for runs in (peers, ours))
    rows = {
        "plain Ray Tune, s": their_seconds,
        "Toprung, s": our_seconds,
        "Toprung's report after it, s": [run.report_seconds for run in ours],
        "ratio": ratios(our_seconds, their_seconds),
        "plain Ray Tune, test accuracy": [run.test_accuracy for run in peers],
        "Toprung, test accuracy": [run.test_accuracy for run in ours],
    }
    what = "the same configs, every trial in full" if given.fixed else "TPE and ASHA"
    print_table(f"small sweep, {what}", rows)


if __name__ == "__main__":
    main()
