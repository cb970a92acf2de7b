"""The command `toprung resume`, and what it has in common with `toprung run`: the sweep's end."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toprung.cli.cluster import PYTHON, check_no_python, is_there, resume_job
from toprung.cli.report import tell_problems
from toprung.cli.sweep_argument import TRUST
from toprung.console import echo_line

if TYPE_CHECKING:
    from toprung.analysis.seal.openings import TestResult
    from toprung.analysis.sweep import Sweep


def _number_or_auto(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> float | str | None:
    del context, parameter
    if value is None or value == "auto":
        return value
    try:
        return float(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} must be a number such as 1 or 0.5, or auto") from None


GPUS_PER_TRIAL = click.option(
    "--gpus-per-trial",
    callback=_number_or_auto,
    metavar="N",
    help="GPUs of a trial, whole or a fraction; auto: as many trials on each as its memory holds.",
)


CLUSTER = click.option(
    "--address",
    metavar="auto|HOST:6379|ray://…",
    help="Run the trials on this Ray cluster (default: on this machine).",
)


@click.command()
@click.argument("sweep", metavar="SWEEP")
@click.option("--trials", help="In all, or +50: so many more.")
@click.option("--max-epochs", help="Epochs of a trial at the most, or +10: so many more.")
@click.option("--time-budget", help="Of all that the sweep runs: 4h, or +1h.")
@click.option("--concurrency", type=int, help="Trials at a time (default: as before).")
@click.option("--cpus-per-trial", type=int, help="CPUs and threads of a trial.")
@GPUS_PER_TRIAL
@click.option("--trial-timeout", help="End a trial that reports nothing for so long.")
@click.option(
    "--address",
    metavar="auto|HOST:6379|ray://…|http://…",
    help="Run the trials on this Ray cluster; with http://HOST:8265, all of it as a job there.",
)
@PYTHON
@TRUST
def resume(sweep: str, address: str | None, python: str | None, **given: Any) -> None:
    """Go on with a SWEEP that was interrupted or killed, or give it more to do.

    It ends as a run does: test, export, report. It runs the sweep's search space, whose source is
    kept in its folder. SWEEP is a folder or a URL; for a job, also its name or the earlier job's.
    Without --address, one that is not here goes on where RAY_API_SERVER_ADDRESS says.
    """
    from toprung import api
    from toprung.trainables.files.object_store import is_url

    if is_there(sweep, address):
        resume_job(sweep, address, python, given)
        return
    check_no_python(python)
    if address is not None and address.startswith("ray://"):
        from toprung.cluster.jobs.client_driver import resume_there

        sys.exit(resume_there(address, sweep, given))
    place = sweep if is_url(sweep) else Path(sweep).absolute()
    _go_where_it_began(place, trust=bool(given["trust"]))
    finish(api.resume(place, address=address, **given))


def _go_where_it_began(sweep: str | Path, *, trust: bool) -> None:
    """What the sweep has been told of relative paths is meant from there, if it is still there."""
    from toprung.analysis.sweep_folder.outside import fixed_places
    from toprung.api import open_sweep

    opened = open_sweep(sweep, trust=trust)
    opened.outside.confirm(*fixed_places(opened.folder, opened.study_place, opened.description))
    directory = opened.description.get("directory")
    if isinstance(directory, str) and Path(directory).is_dir():
        os.chdir(directory)


def finish(sweep: "Sweep") -> None:
    """Test the winner of a sweep that has come to its end, export it, write the report."""
    from toprung.analysis.sweep_folder import attributes
    from toprung.analysis.sweep_folder.folder import SweepFolderError
    from toprung.cli import text_sweep
    from toprung.cli.text_failures import failures
    from toprung.errors import NOT_FINISHED

    if sweep.is_partial:
        click.echo(text_sweep.partial(sweep))
        sys.exit(NOT_FINISHED)
    try:
        best = sweep.best()
    except SweepFolderError as error:
        echo_line(f"error: {error}", err=True)
        for line in failures(sweep):
            echo_line(line, err=True)
        if sweep.ended == attributes.GAVE_UP:
            echo_line(
                "  once data or machine are mended: toprung resume "
                f"{shlex.quote(sweep.folder.address)}; with another search space: a new sweep",
                err=True,
            )
        sys.exit(1)
    test, untested = _test(sweep)
    sweep.export()
    click.echo(text_sweep.outcome(sweep, best, test, untested))
    written = sweep.report()
    tell_problems(written)
    echo_line(f"  report:       {sweep.folder.shown(written.path)}")


def _test(sweep: "Sweep") -> "tuple[TestResult | None, str]":
    """The winner's test; or why it has none, if the test set was opened for another model."""
    from toprung.analysis.seal.evidence import read_seal
    from toprung.analysis.sweep_folder.folder import SweepFolderError

    if sweep.description["data"]["num_test"] == 0:
        return None, "there is no test set"
    try:
        return sweep.test(), ""
    except SweepFolderError as error:
        seal = read_seal(sweep)
        if not seal.results and not seal.unknown:
            raise
        return None, str(error)
