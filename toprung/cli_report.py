"""The command `toprung report`."""

from pathlib import Path

import click


@click.command()
@click.argument("sweep", type=click.Path(path_type=Path))
@click.option(
    "--by",
    multiple=True,
    metavar="PATH",
    help="Compare the values of a setting, such as model/freeze_policy; may be repeated.",
)
@click.option("--before", is_flag=True, help="Show also the winner's network before its training.")
@click.option("--to", type=click.Path(path_type=Path), help="Folder (default: SWEEP/report).")
def report(sweep: Path, by: tuple[str, ...], before: bool, to: Path | None) -> None:
    """Write SWEEP's report: a page for a browser, its pictures, its figures as JSON."""
    from toprung.api import open_sweep

    written = open_sweep(sweep).report(to, by=by, before=before)
    for problem in written.problems:
        click.echo(f"warning: could not be drawn: {problem}", err=True)
    click.echo(written.path)
