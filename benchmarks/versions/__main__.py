"""The lowest and the newest versions that pyproject.toml allows, on each Python.

Command:
    make test-versions

For each Python and each end, makes an environment with uv, and runs in it the tests that start no
server (Ray, a browser, PostgreSQL, S3) and two real sweeps on Ray, one of which has its driver
killed with -9 while it searches, and the other all its processes; both are resumed and checked
(`benchmarks.kills phases`). Dependencies of dependencies are the newest that fit. Warnings are not
errors here: a library that announces a change works as yet. Exit code 1 if anything failed.

Needs nothing but Python and uv, some 10 GB of disk for an environment of each end (uv's cache is
shared by hard links), and a quarter of an hour for each environment on 2 CPU cores.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
UV = os.environ.get("UV", "uv")  # `uv run` sets it to itself
PYTHONS = ("3.11", "3.12", "3.13")
ENDS = {"lowest": "lowest-direct", "newest": "highest"}
"""uv's name for the way to choose versions, by what we call the end of the window."""
SHOWN = ("torch", "ray", "optuna", "numpy")
SLOW = ("server", "every_study", "every_architecture", "autoscaler", "three_nodes")
"""Marks of the tests that are left out."""
WORKERS = ("-n", "2", "--dist", "loadgroup", "--no-loadscope-reorder", "--max-worker-restart", "0")


Row = dict[str, str | int]
"""What one environment showed, by the columns of the table."""


def main() -> None:
    """Check each environment in turn, and show the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pythons", nargs="+", default=PYTHONS, help="all if not given")
    parser.add_argument("--ends", nargs="+", choices=ENDS, default=list(ENDS))
    parser.add_argument("--folder", type=Path, help="for the environments, one at a time")
    given = parser.parse_args()
    rows = []
    for python in given.pythons:
        for end in given.ends:
            with tempfile.TemporaryDirectory(prefix="versions", dir=given.folder) as folder:
                rows.append(_check(python, end, Path(folder)))
            _show(rows)
    if any(row["failed"] or not row["passed"] or row["sweeps"] != "ok" for row in rows):
        sys.exit(1)


def _check(python: str, end: str, folder: Path) -> Row:
    interpreter = _environment(python, end, folder / "environment")
    found = _installed(interpreter)
    passed, failed = _test(interpreter, folder)
    return {
        "Python": python,
        "versions": end,
        **{name: found[name] for name in SHOWN},
        "passed": passed,
        "failed": failed,
        "sweeps": "ok" if _sweep(interpreter, folder) else "failed",
    }


def _environment(python: str, end: str, place: Path) -> Path:
    """The interpreter of a new environment; without the exact versions of pyproject.toml."""
    _uv("venv", "--quiet", "--python", python, str(place))
    into = ("--quiet", "--no-config", "--python", str(place))
    project = ("--resolution", ENDS[end], "--editable", ".[onnx,postgresql]")
    _uv("pip", "install", *into, *project)
    _uv("pip", "install", *into, "--group", "test")
    return place / "bin" / "python"


def _installed(interpreter: Path) -> dict[str, str]:
    listed = _uv("pip", "freeze", "--quiet", "--python", str(interpreter)).splitlines()
    return dict(line.split("==") for line in listed if "==" in line)


def _test(interpreter: Path, folder: Path) -> tuple[int, int]:
    """How many tests passed, and how many did not."""
    results = folder / "tests.xml"
    options = ("-W", "default", "-p", "no:cacheprovider")
    marked = ("-m", f"not ({' or '.join(SLOW)})")
    _run(interpreter, folder, "pytest", *marked, *options, *WORKERS, f"--junitxml={results}")
    if not results.exists():
        return 0, 0
    counted = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for suite in ElementTree.parse(results).iter("testsuite"):
        counted = {name: count + int(suite.attrib[name]) for name, count in counted.items()}
    failed = counted["failures"] + counted["errors"]
    return counted["tests"] - counted["skipped"] - failed, failed


def _sweep(interpreter: Path, folder: Path) -> bool:
    """Whether sweeps that were killed and resumed came to the right end."""
    place = folder / "sweeps"
    place.mkdir()
    options = ("phases", "--phases", "search", "--rounds", "2", "--folder", str(place))
    return _run(interpreter, folder, "benchmarks.kills", *options) == 0


def _run(interpreter: Path, folder: Path, module: str, *options: str) -> int:
    """Run a module, with a cache and records of its own."""
    own = {f"TOPRUNG_{what}_DIR": str(folder / what.lower()) for what in ("CACHE", "STATE")}
    command = [str(interpreter), "-m", module, *options]
    return subprocess.run(command, cwd=ROOT, env=os.environ | own, check=False).returncode


def _uv(*arguments: str) -> str:
    done = subprocess.run([UV, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def _show(rows: list[Row]) -> None:
    """In Markdown."""
    for cells in (rows[0], ["---"] * len(rows[0]), *(row.values() for row in rows)):
        print("|", " | ".join(map(str, cells)), "|", flush=True)


if __name__ == "__main__":
    main()
