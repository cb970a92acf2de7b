"""The digits sweep from the shell to the tested model: Toprung against a plain Ray Tune script.

Command:  uv run python -m benchmarks.small_sweep [--pairs 5] [--fixed]
Both search 24 trials of at most 8 epochs with TPE and ASHA (factor 3), two at a time, and test
the best; whole processes are timed, in turn, because the machine's speed drifts. With `--fixed`
nothing is stopped early, so that both train 24 times 8 epochs. The peer is
`benchmarks/peers/plain_ray_tune.py`. Toprung also writes TensorBoard logs, the study, and the
export, and keeps resumable checkpoints; the peer does not.
"""

import argparse
import sys
import tempfile
from itertools import count

from benchmarks.tables import PEERS, command_seconds, in_turn, print_table, ratios


def main() -> None:
    """Time the pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5, help="runs of each, in turn")
    parser.add_argument("--fixed", action="store_true", help="no early stopping")
    given = parser.parse_args()
    peer = [sys.executable, str(PEERS / "plain_ray_tune.py"), *["--fixed"] * given.fixed]
    toprung = [sys.executable, "-c", "from toprung.cli import main; main()", "run", "digits_cnn"]
    toprung += ["--trial-scheduler", "none"] if given.fixed else []
    numbers = count()
    with tempfile.TemporaryDirectory() as folder:
        command_seconds([*toprung, "--name", "warm-up", "--trials", "1"], folder)
        peers, ours = in_turn(
            lambda: command_seconds(peer, folder),
            lambda: command_seconds([*toprung, "--name", f"sweep-{next(numbers)}"], folder),
            given.pairs,
        )
    what = "every trial trained in full" if given.fixed else "ASHA"
    rows = {"plain Ray Tune, s": peers, "Toprung, s": ours, "ratio": ratios(ours, peers)}
    print_table(f"small sweep, {what}", rows)


if __name__ == "__main__":
    main()
