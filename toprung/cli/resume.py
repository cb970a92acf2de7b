"""The command `toprung resume`, and what `toprung run` shares with it: the end of a sweep."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toprung.cli.cluster import PYTHON, check_no_python, is_on_cluster, resume_job
from toprung.cli.report import warn_of_problems
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
    help="GPUs of a trial, or a fraction of one; auto: as many trials on each as its memory holds.",
)


@click.command()
@click.argument("sweep", metavar="SWEEP")
@click.option("--trials", help="How many configs to try in total, or +50: that many more.")
@click.option("--max-epochs", help="Most epochs of a trial, or +10: that many more.")
@click.option("--time-budget", help="End after this time in total: 4h, or +1h for an hour more.")
@click.option("--concurrency", type=int, help="Trials at a time (default: as many as before).")
@click.option("--cpus-per-trial", type=int, help="CPUs, and threads, of a trial.")
@GPUS_PER_TRIAL
@click.option("--trial-timeout", help="End a trial that has reported nothing for 10m, 2h …")
@click.option(
    "--address",
    metavar="auto|HOST:6379|ray://…|http://…",
    help="Run the trials on this Ray cluster; with http://HOST:8265, as a job there.",
)
@PYTHON
@TRUST
def resume(sweep: str, address: str | None, python: str | None, **given: Any) -> None:
    """Resume a SWEEP that was interrupted or killed, or extend it.

    It ends like a run: with test, export and report. This runs the code of the sweep's search
    space, which is kept in its folder. SWEEP is a folder or a URL; for a job, also the sweep's name
    or the earlier job. Without --address, a sweep that is not on this machine is resumed on the
    cluster that RAY_API_SERVER_ADDRESS names.
    """
    from toprung import api
    from toprung.trainables.files.object_store import is_url

    if is_on_cluster(sweep, address):
        resume_job(sweep, address, python, given)
        return
    check_no_python(python)
    if address is not None and address.startswith("ray://"):
        from toprung.cluster.jobs.client_driver import resume_there

        sys.exit(resume_there(address, sweep, given))
    place = sweep if is_url(sweep) else Path(sweep).absolute()
    _change_to_first_directory(place, trust=bool(given["trust"]))
    finish(api.resume(place, address=address, **given))


def _change_to_first_directory(sweep: str | Path, *, trust: bool) -> None:
    """Relative paths in the sweep's settings are relative to this folder; it may be gone."""
    from toprung.analysis.sweep_folder.outside import fixed_places
    from toprung.api import open_sweep

    opened = open_sweep(sweep, trust=trust)
    opened.outside.confirm(*fixed_places(opened.folder, opened.study_place, opened.description))
    directory = opened.description.get("directory")
    if isinstance(directory, str) and Path(directory).is_dir():
        os.chdir(directory)


def finish(sweep: "Sweep") -> None:
    """Test the winner of a sweep, export it, and write the report; or show how to resume."""
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
                "  once the data or the machine are fixed: toprung resume "
                f"{shlex.quote(sweep.folder.address)}; for another search space: a new sweep",
                err=True,
            )
        sys.exit(1)
    test, untested = _test(sweep)
    sweep.export()
    click.echo(text_sweep.outcome(sweep, best, test, untested))
    written = sweep.report()
    warn_of_problems(written)
    echo_line(f"  report:       {sweep.folder.shown(written.path)}")


def _test(sweep: "Sweep") -> "tuple[TestResult | None, str]":
    """The winner's test result; or the reason why it has none."""
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
