"""Every figure of reports, computed again from the sweeps' raw files, in plain NumPy.

Command:  uv run python -m benchmarks.recompute SWEEP... [--report FOLDER]

Reads SWEEP/report/figures.json (`toprung report SWEEP`), or that of a report which lies elsewhere,
and the sweep's own files. The exit code is 1 if a figure differs, or is one that nobody computes
again and `cells.LEFT_OUT` does not name.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.recompute.check import check, lines_of


def main() -> None:
    """Check the reports of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweeps", nargs="+", type=Path, metavar="SWEEP")
    parser.add_argument("--report", type=Path, help="of the one sweep, if it lies elsewhere")
    given = parser.parse_args()
    found = {f"{number}: {sweep.name}": check(sweep, given.report)
             for number, sweep in enumerate(given.sweeps, start=1)}  # fmt: skip
    print("\n".join(lines_of(found)))
    sys.exit(any(one.differences for one in found.values()))


if __name__ == "__main__":
    main()
