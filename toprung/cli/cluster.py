"""The commands for sweeps that run as jobs on a Ray cluster."""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toprung.console import echo_line
from toprung.trainables.system.error_text import last_line
from toprung.trainables.system.printable import printable_line

if TYPE_CHECKING:
    from toprung.cluster.jobs.sweep_jobs import Cluster, Job

ADDRESS = click.option(
    "--address",
    metavar="URL",
    help="The cluster's job server, http://HOST:8265 (or set RAY_API_SERVER_ADDRESS).",
)
PYTHON = click.option(
    "--python", metavar="PATH", help="Toprung's Python on the cluster (default: Ray's)."
)
JOB = click.argument("job", metavar="JOB|SWEEP")


def submit_command(run: click.Command) -> click.Command:
    """The command `toprung submit`, with the arguments and options of `toprung run`."""
    params = [parameter for parameter in run.params if parameter.name not in ("address", "out")]
    command = click.Command("submit", params=params, callback=_submit, help=_submit.__doc__)
    out = click.option("--out", help="Shared folder, or URL, for the sweep's folder.")
    return PYTHON(ADDRESS(out(command)))


def _submit(
    overrides: dict[str, Any],
    skip_bad_images: bool,
    address: str | None,
    **given: Any,
) -> None:
    """Submit a sweep to a Ray cluster, where it runs as a job.

    SPACE is as for `toprung run`. Code and settings in the current folder are sent with it; data
    are not. This command returns when the cluster has checked the sweep and started it.
    """
    from toprung.cluster.jobs.sweep_jobs import Cluster

    if skip_bad_images:
        overrides = {**overrides, "data/skip_bad_images": True}
    cluster = Cluster(address)
    job = cluster.submit(tell=echo_line, overrides=overrides, **given)
    follow_the_start(cluster, job)


@click.command()
@ADDRESS
def jobs(address: str | None) -> None:
    """List the sweeps that are running, or have run, as jobs on a cluster."""
    from toprung.cluster.jobs.sweep_jobs import Cluster

    found = Cluster(address).jobs()
    rows = [("JOB", "STATUS", "SWEEP", "STARTED", "ENDED"), *map(_row, found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        echo_line("  ".join(cells).rstrip())


@click.command()
@JOB
@click.option("-f", "--follow", is_flag=True, help="Keep printing until the job ends.")
@ADDRESS
def logs(job: str, follow: bool, address: str | None) -> None:
    """Show the output of a sweep's job.

    With -f the exit code is that of the job: 0 if its sweep has finished, 130 if it can be
    resumed. Ctrl-C ends this command only, not the job.
    """
    from toprung.cluster.jobs.sweep_jobs import Cluster

    cluster = Cluster(address)
    found = cluster.job(job)
    if not follow:
        click.echo(cluster.server.log(found.id))
        return
    with _left_running(found):
        for line in cluster.lines(found):
            click.echo(line)
        sys.exit(_ended(cluster.now(found)))


@click.command()
@JOB
@ADDRESS
def stop(job: str, address: str | None) -> None:
    """Stop a sweep's job in an orderly way; the sweep can be resumed."""
    from toprung.cluster.jobs.sweep_jobs import Cluster

    cluster = Cluster(address)
    found = cluster.job(job)
    if found.ended:
        echo_line(f"{found.id} has already ended: {found.status}")
        return
    echo_line(f"stopping {found.id} (its trials have 30 s to save their state)")
    after = cluster.stop(found)
    echo_line(f"{after.id}: {after.status}")
    if cluster.has_begun(after):
        echo_line(f"  resume: toprung resume {shlex.quote(found.folder)} {_at(cluster)}")
    else:
        click.echo("  its sweep had not started: submit it again")


@click.command()
@click.argument("sweep", metavar="SWEEP|JOB")
@click.option("--to", type=click.Path(path_type=Path), help="Folder (default: the sweep's name).")
@ADDRESS
@PYTHON
def fetch(sweep: str, to: Path | None, address: str | None, python: str | None) -> None:
    """Download a sweep's study, report and export, without its trials' checkpoints.

    SWEEP is the sweep's folder or URL, or, on a cluster, its name there.
    """
    from toprung.cluster.jobs.fetching import fetch as fetch_it

    folder = fetch_it(sweep, to, address, python)
    echo_line(f"fetched to {folder}")
    echo_line(f"  model:  {folder / 'best'}" if (folder / "best").is_dir() else "  (no model yet)")
    if (page := folder / "report" / "report.html").is_file():
        echo_line(f"  report: {page}")


def is_on_cluster(sweep: str, address: str | None) -> bool:
    """Whether the sweep is on a cluster with a job server.

    Without an address, it is on the cluster that RAY_API_SERVER_ADDRESS names, if it is not on this
    machine.
    """
    from toprung.analysis.sweep_folder.folder import SweepFolder
    from toprung.cluster.jobs.http_address import address_of_environment, is_http
    from toprung.planning.kept_code import IS_SENT
    from toprung.trainables.files.object_store import is_url

    if address is not None:
        return is_http(address)
    if is_url(sweep) or IS_SENT in os.environ:  # the latter: this process runs on the cluster
        return False
    is_here = SweepFolder(Path(sweep)).settings.is_file()
    return not is_here and address_of_environment() is not None


def check_no_python(python: str | None) -> None:
    """Refuse `--python` for a sweep that is not on a cluster with a job server."""
    if python is not None:
        raise click.UsageError("--python goes with a cluster's job server: --address http://…")


def resume_job(sweep: str, address: str | None, python: str | None, given: dict[str, Any]) -> None:
    """`toprung resume SWEEP --address http://…`: resume a sweep as a job on the cluster."""
    from toprung.cluster.jobs.sweep_jobs import Cluster

    cluster = Cluster(address)
    follow_the_start(cluster, cluster.resume(sweep, python=python, **given))


def status_on_cluster(sweep: str, address: str | None, python: str | None, *, trust: bool) -> str:
    """What `toprung status` prints on the cluster, and the status of the sweep's job."""
    from toprung.cluster.jobs.driver_command import DRIVER
    from toprung.cluster.jobs.options import as_options
    from toprung.cluster.jobs.sweep_jobs import Cluster, job_of

    cluster = Cluster(address)
    folder = cluster.folder(sweep)
    options = as_options({"trust": trust})
    command = [DRIVER, "status", *options, "--", folder]
    output = cluster.output_of(command, python)
    job = job_of(cluster.jobs(), folder)
    return output + (f"\n  job {job.id}: {job.status}" if job else "")


def follow_the_start(cluster: "Cluster", job: "Job") -> None:
    """Show a job's output until its sweep starts; exit with the job's code if it never does."""
    from toprung.cluster.jobs.driver_command import STARTED
    from toprung.console import BEGAN
    from toprung.errors import ToprungError

    echo_line(f"submitted as job {job.id}; Ctrl-C leaves it running")
    is_driver = False
    with _left_running(job):
        for line in cluster.lines(job):
            is_driver = is_driver or line.startswith(STARTED)
            if is_driver:
                click.echo(line)
            if line.startswith(BEGAN):
                click.echo(_next_commands(cluster, job))
                return
        after = cluster.now(job)
        if after.exit_code is not None and not is_driver:
            raise ToprungError(cluster.wrong_python(after))
        if code := _ended(after):
            _show_rival(cluster, after)
            sys.exit(code)


def _show_rival(cluster: "Cluster", job: "Job") -> None:
    """Name the job that runs the sweep of this name, for which this job was refused."""
    if job.was_refused and (rival := cluster.rival(job)):
        echo_line(f"the sweep is run by the job {rival.id}: toprung logs -f {rival.id}", err=True)


def _next_commands(cluster: "Cluster", job: "Job") -> str:
    at = _at(cluster)
    return "\n".join(
        [
            f"{job.sweep} is running on the cluster; this machine is no longer needed",
            f"  follow: toprung logs -f {job.id} {at}",
            f"  stop:   toprung stop {job.id} {at}",
            f"  fetch:  toprung fetch {job.id} {at}",
        ]
    )


def _at(cluster: "Cluster") -> str:
    return f"--address {shlex.quote(cluster.address)}"


def _ended(job: "Job") -> int:
    """Report how a job ended, unless its log does; returns the exit code."""
    if job.status == "FAILED" and job.exit_code is None:  # it never started, or was lost
        reason = last_line(job.message) or "failed, and Ray reports no reason"
        echo_line(f"error: {job.id}: {reason}", err=True)
    elif job.was_refused:
        echo_line(f"{job.id}: was refused; paths in the message are the cluster's", err=True)
    elif job.status != "SUCCEEDED":
        echo_line(f"{job.id}: {job.status}", err=True)
    return job.outcome


@contextmanager
def _left_running(job: "Job") -> Iterator[None]:
    """Let Ctrl-C end the display of a job, and not the job itself."""
    from toprung.errors import NOT_FINISHED

    try:
        yield
    except KeyboardInterrupt:
        echo_line(f"{job.id} keeps running; toprung stop ends it", err=True)
        sys.exit(NOT_FINISHED)


def _row(job: "Job") -> tuple[str, ...]:
    times = [f"{time:%Y-%m-%d %H:%M:%S}" if time else "" for time in (job.started_at, job.ended_at)]
    return tuple(map(printable_line, (job.id, job.status, job.sweep, *times)))
