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
@click.option("--before", is_flag=True, help="Show also the winner's network before its training.")
@click.option("--to", type=click.Path(path_type=Path), help="Folder (default: SWEEP/report).")
@TRUST
def report(sweep: Path, by: tuple[str, ...], before: bool, to: Path | None, trust: bool) -> None:
    """Write SWEEP's report: a page for a browser, its pictures, its figures as JSON."""
    from toprung.api import open_sweep

    opened = open_sweep(sweep, trust=trust)
    written = opened.report(to, by=by, before=before)
    tell_problems(written)
    echo_line(written.path)
    tell_partial(opened)


def tell_partial(sweep: "Sweep") -> None:
    """Say on stderr that a sweep has not come to its end."""
    if sweep.is_partial:
        echo_line(f"warning: {sweep.name} is partial ({sweep.ended})", err=True)


def tell_problems(written: "Report") -> None:
    """Say on stderr what could not be drawn of a report."""
    for problem in written.problems:
        echo_line(f"warning: could not be drawn: {problem}", err=True)
