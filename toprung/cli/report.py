"""The command `toprung report`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toprung.cli.sweep_argument import SWEEP_PLACE, TRUST
from toprung.console import echo_line

if TYPE_CHECKING:
    from toprung.analysis.report.page import Report
    from toprung.analysis.sweep import Sweep


@click.command()
@click.argument("sweep", type=SWEEP_PLACE)
@click.option(
    "--by",
    multiple=True,
    metavar="PATH",
    help="Compare the values of a setting, such as model/freeze_policy; may be repeated.",
)
@click.option("--before", is_flag=True, help="Also show the winner's network before its training.")
@click.option("--to", type=click.Path(path_type=Path), help="Folder (default: SWEEP/report).")
@TRUST
def report(sweep: Path, by: tuple[str, ...], before: bool, to: Path | None, trust: bool) -> None:
    """Write the report of SWEEP: a page for a browser, its pictures, and its figures as JSON."""
    from toprung.api import open_sweep

    opened = open_sweep(sweep, trust=trust)
    written = opened.report(to, by=by, before=before)
    warn_of_problems(written)
    echo_line(written.path)
    warn_if_partial(opened)


def warn_if_partial(sweep: "Sweep") -> None:
    """Warn on stderr if a sweep has not finished."""
    if sweep.is_partial:
        echo_line(f"warning: {sweep.name} is partial ({sweep.ended})", err=True)


def warn_of_problems(written: "Report") -> None:
    """Warn on stderr of each part of a report that could not be drawn."""
    for problem in written.problems:
        echo_line(f"warning: could not be drawn: {problem}", err=True)
