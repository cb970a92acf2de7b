"""Hostile folders by the hundred: no traceback, no hang, no network, nothing outside touched.

Command:
    uv run python -m benchmarks.fuzz [--rounds 300] [--seed 0] [--strangers]

Each round copies a small whole sweep, makes one file of it hostile in one way, and runs every
command on it, each in a process that is watched: sockets are refused and counted, files outside
the folder noted, CPU seconds and peak memory measured, and what it said searched for a traceback,
control characters and bidirectional marks. With `--strangers` the user has no record of the sweep.
"""

import argparse
import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import torch

from benchmarks.fuzz.hostile_files import DAMAGES, Bait
from benchmarks.fuzz.watched import MAX_BYTES, watch
from tests.support.fuzzed_sweep import FILES, Place, commands, digests, run_and_read, whole_sweep
from tests.support.watchers import bait, touched
from toprung.analysis.sweep_folder.user_state import STATE_VARIABLE


def main() -> None:
    """Run what the command line asks for; the exit code is 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strangers", action="store_true", help="with no record of the sweep")
    given = parser.parse_args()
    torch.set_num_threads(1)  # a child of fork has no threads of its parent's, and waits for them
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
        home = Path(folder)
        os.environ["TOPRUNG_CACHE_DIR"] = str(home / "cache")
        os.environ[STATE_VARIABLE] = str(home / "state")
        os.environ["MPLCONFIGDIR"] = str(home / "cache")
        os.environ |= {"PGPASSWORD": "canary", "AWS_SECRET_ACCESS_KEY": "canary"}
        problems = Campaign(home, given.seed, strangers=given.strangers).run(given.rounds)
    sys.exit(bool(problems))


class Campaign:
    """Makes folders hostile and looks at them with every command.

    Args:
        home: for everything.
        seed: of the choices.
        strangers: forget the user's record of the sweep first.
    """

    def __init__(self, home: Path, seed: int, *, strangers: bool) -> None:
        self._home = home
        self._random = random.Random(seed)
        self._whole = whole_sweep(home / "whole")
        self._outside = home / "outside"
        self._outside.mkdir()
        (self._outside / "secret").write_text("secret\n")
        if strangers:
            os.environ[STATE_VARIABLE] = str(home / "strangers")
        self._allowed = [home / "cache", Path(os.environ[STATE_VARIABLE]), home / "round"]
        self._usual = {}
        self._peak = 0
        for name, arguments in commands(self._copy()).items():
            done = watch(lambda: run_and_read(arguments), self._allowed)  # noqa: B023
            self._usual[name] = done.cpu_seconds
            self._peak = max(self._peak, done.peak_bytes)
            if done.problems(done.cpu_seconds) or (done.code and not strangers):
                print(f"{name}, on a sound folder: {done}")
        print("usual CPU seconds:", {name: round(s, 1) for name, s in self._usual.items()})

    def run(self, rounds: int) -> list[str]:
        """Make so many folders hostile; every problem is a sentence."""
        problems: list[str] = []
        ways: Counter[str] = Counter()
        codes: Counter[int | None] = Counter()
        for number in range(rounds):
            damage = DAMAGES[number % len(DAMAGES)]
            file = self._random.choice(FILES)
            ways[damage.__name__] += 1
            with bait() as server, touched(self._outside) as reached:
                place = self._copy()
                aim = Bait(server.port, self._outside / "secret", self._outside)
                os.chdir(place.sweep.parent)
                damage(place.sweep, place.sweep / file, self._random, aim)
                for name, arguments in commands(place).items():
                    before = digests(self._whole)
                    done = watch(lambda: run_and_read(arguments), self._allowed)  # noqa: B023
                    codes[done.code] += 1
                    self._peak = max(self._peak, done.peak_bytes)
                    found = done.problems(self._usual[name])
                    found += ["the original was changed"] * (digests(self._whole) != before)
                    problems += [f"{number} {damage.__name__} {file}: {name}: {p}" for p in found]
            if server.heard or reached:
                problems.append(f"{number} {damage.__name__} {file}: {server.heard} {reached}")
            for problem in problems[-20:] if number % 20 == 19 else []:
                print(problem[:400], flush=True)
        print(f"{rounds} folders: {dict(ways)}")
        print(f"{codes.total()} commands, by exit code {dict(codes)}")
        print(f"peak memory {self._peak / 2**20:.0f} MiB, at most {MAX_BYTES / 2**20:.0f} allowed")
        print(f"{len(problems)} problems")
        print("\n".join(sorted(set(problems)))[:20_000])
        return problems

    def _copy(self) -> Place:
        import shutil

        shutil.rmtree(self._home / "round", ignore_errors=True)
        return self._whole.copied(self._home / "round")


if __name__ == "__main__":
    main()
