"""Sweeps that run as Ray jobs: handed to a cluster, which then no longer needs this machine."""

import difflib
import itertools
import re
import secrets
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from toprung.cluster.jobs import driver_command
from toprung.cluster.jobs.job_server import JobExistsError, JobServer, UnreachableError
from toprung.cluster.jobs.options import as_options, check_sweep_place, name_of, submitted_sweep
from toprung.console import BEGAN
from toprung.errors import NOT_FINISHED, USER_ERROR, ToprungError
from toprung.planning.code_package import FOLDER, Package
from toprung.trainables.files.object_store import is_url
from toprung.trainables.system.error_text import last_line

_SECONDS_TO_STOP = 30
"""A driver's time to end its trials in order when it is stopped; Ray itself would give 3."""
_VERSION, _SWEEP, _FOLDER = "toprung", "toprung_sweep", "toprung_folder"


@dataclass(frozen=True)
class Job:
    """One sweep's job on a cluster, as it was when it was asked for.

    Attributes:
        id: by which it is followed, stopped and fetched.
        status: PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED.
        sweep: the sweep's name.
        folder: the sweep's folder there, or its URL.
        started_at: None before it has.
        ended_at: None before it has.
        exit_code: of the driver, where it ended by itself.
        message: what Ray says of it.
    """

    id: str
    status: str
    sweep: str
    folder: str
    started_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    message: str

    @property
    def ended(self) -> bool:
        """Whether it runs no more."""
        return self.status in ("STOPPED", "SUCCEEDED", "FAILED")

    @property
    def outcome(self) -> int:
        """As the exit code of a command: 0 if all went well, 130 if the sweep can be resumed."""
        if self.status == "SUCCEEDED":
            return 0
        return NOT_FINISHED if self.status == "STOPPED" else self.exit_code or 1

    @property
    def was_refused(self) -> bool:
        """Whether the driver refused to begin: the sweep of this name may be an older one."""
        return self.status == "FAILED" and self.exit_code == USER_ERROR


class Cluster:
    """The sweeps' jobs on one cluster.

    Args:
        address: of its job server, `http://HOST:8265`; if not given, RAY_API_SERVER_ADDRESS.

    Raises:
        ToprungError: if it cannot be reached, does not accept the token, or runs another Ray.
    """

    def __init__(self, address: str | None = None) -> None:
        self.server = JobServer(address)
        self.address = self.server.address

    def jobs(self) -> list[Job]:
        """The jobs that run or ran a sweep, the newest last."""
        found = [_job(info) for info in self.server.jobs() if _SWEEP in (info.metadata or {})]
        return sorted(found, key=lambda job: job.started_at or datetime.max)

    def job(self, name: str) -> Job:
        """The job of this id, or the one that stands for the sweep of this name.

        Raises:
            ToprungError: if there is none, naming the nearest.
        """
        jobs = self.jobs()
        found = job_of(jobs, name)
        if found is not None:
            return found
        names = {job.id for job in jobs} | {job.sweep for job in jobs}
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
        nearest = f"; nearest: {', '.join(close)}" if close else ""
        raise ToprungError(
            f"{name}: there is no job or sweep of this name at {self.address}{nearest}. "
            "See toprung jobs"
        )

    def folder(self, sweep: str) -> str:
        """Where a sweep is: its folder there, its URL, its name or its job's id."""
        if sweep.startswith("/") or is_url(sweep):
            return check_sweep_place(sweep)
        if "/" in sweep or sweep in (".", ".."):
            raise ToprungError(
                f"{sweep}: on a cluster, name a sweep by its absolute path there (from here that "
                f"would be {Path(sweep).resolve()}), its URL, its name or its job"
            )
        return self.job(sweep).folder

    def submit(
        self,
        space: str | None,
        *,
        overrides: Mapping[str, Any] | None = None,
        python: str | None = None,
        tell: Callable[[str], object] | None = None,
        **given: Any,
    ) -> Job:
        """Hand over a sweep; see `toprung.submit`."""
        sweep = submitted_sweep(space, overrides or {}, given)
        if tell is not None:
            tell(sweep.package.told())
        return self._start(sweep.name, sweep.folder, sweep.arguments, sweep.package, python)

    def resume(self, sweep: str, *, python: str | None = None, **given: Any) -> Job:
        """Go on with a sweep that lies where the cluster's nodes can read and write it."""
        folder = self.folder(sweep)
        name = name_of(folder)
        arguments = ["resume", *as_options(given), "--", folder]
        return self._start(name, folder, arguments, Package(None), python)

    def lines(self, job: Job) -> Iterator[str]:
        """What its driver prints, from the beginning, until it ends.

        Raises:
            ToprungError: if the cluster is lost meanwhile, with how the sweep is resumed then.
        """
        try:
            yield from self.server.follow(job.id)
        except UnreachableError as error:
            raise ToprungError(
                f"{error}; if its head is lost, resume on another cluster: toprung resume "
                f"{shlex.quote(job.folder)} --address http://…"
            ) from None

    def wrong_python(self, job: Job) -> str:
        """Why the Python that a job was given has not run Toprung."""
        entrypoint = self.server.info(job.id).entrypoint
        return driver_command.wrong_python(entrypoint, job.exit_code, self.server.log(job.id))

    def rival(self, job: Job) -> Job | None:
        """The job that runs this job's sweep in its place, if one does."""
        return self._running(job.folder, job.id)

    def now(self, job: Job) -> Job:
        """The job as it is now."""
        return _job(self.server.info(job.id))

    def has_begun(self, job: Job) -> bool:
        """Whether its driver has begun the sweep, or gone on with it."""
        return any(line.startswith(BEGAN) for line in self.server.log(job.id).splitlines())

    def stop(self, job: Job) -> Job:
        """End a job in order, and return when it has ended; its sweep can be resumed."""
        self.server.stop(job.id)
        return _job(self.server.wait(job.id))

    def output_of(self, arguments: list[str], python: str | None = None) -> str:
        """Run a short command of Toprung's on the head node, and return what it prints.

        Raises:
            ToprungError: with its last line, if it fails.
        """
        job_id = f"toprung-asks-{secrets.token_hex(8)}"  # never again: Ray keeps a job's log file
        command = driver_command.command(python or self.server.python(), *arguments)
        self.server.submit(job_id, command, {_VERSION: version("toprung")}, {})
        try:
            info = self.server.wait(job_id)
            log = self.server.log(job_id)
        except KeyboardInterrupt:
            self.server.stop(job_id)
            raise
        self.server.delete(job_id)
        if driver_command.has_not_run(info.driver_exit_code, log):
            raise ToprungError(
                driver_command.wrong_python(info.entrypoint, info.driver_exit_code, log)
            )
        if info.status != "SUCCEEDED":
            reason = last_line(log).removeprefix("error: ") or last_line(info.message or "")
            raise ToprungError(f"on the cluster: {reason or 'failed, and Ray does not say why'}")
        return log

    def _start(
        self, name: str, folder: str, arguments: list[str], package: Package, python: str | None
    ) -> Job:
        self._check_not_run(name, folder)
        python = python or self.server.python()
        first, *rest = arguments
        command = driver_command.command(
            python, driver_command.DRIVER, first, "--address=auto", *rest
        )
        with tempfile.TemporaryDirectory(prefix="toprung-") as place:
            archive = Path(place) / "package.zip"
            package.write(archive)
            submit = partial(
                self.server.submit,
                entrypoint=f"cd {FOLDER} && {command}",
                metadata={_VERSION: version("toprung"), _SWEEP: name, _FOLDER: folder},
                runtime_env={
                    "working_dir": str(archive),
                    "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(_SECONDS_TO_STOP)},
                },
            )
            job_id = self._submitted(name, folder, submit)
        return _job(self.server.info(job_id))

    def _submitted(self, name: str, folder: str, submit: Callable[[str], None]) -> str:
        """Submit a job with the sweep's name, or with its next number: Ray takes each id only once.

        Who finds the id taken by then looks who has it: of two that submit one sweep at once, one
        does. (Its driver sees whether it is the only one to run the sweep, whoever else began it.)
        """
        wanted = f"toprung-{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}"
        taken = {job.submission_id for job in self.server.jobs()}
        for number in itertools.count(1):
            job_id = wanted if number == 1 else f"{wanted}-{number}"
            if job_id in taken:
                continue
            try:
                submit(job_id)
            except JobExistsError:
                self._check_not_run(name, folder)
            else:
                break
        return job_id

    def _check_not_run(self, name: str, folder: str) -> None:
        if job := self._running(folder):
            at = f"--address {shlex.quote(self.address)}"
            raise ToprungError(
                f"{name}: is run by the job {job.id} already: toprung logs -f {job.id} {at} shows "
                "it, and toprung stop ends it; for another sweep choose another --name"
            )

    def _running(self, folder: str, but: str = "") -> Job | None:
        """The newest job that runs, or is about to run, the sweep in this folder."""
        jobs = self.jobs()
        found = [job for job in jobs if job.folder == folder and not job.ended and job.id != but]
        return found[-1] if found else None


def submit(
    space: str | None = None,
    *,
    address: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    **given: Any,
) -> Job:
    """Hand a sweep to a cluster as a Ray job, and return at once.

    >>> job = toprung.submit("my_space.py", out="/shared/sweeps", trials=200)  # doctest: +SKIP

    Args:
        space: as for `toprung.run`, but no function. Of its folder, code and settings travel along.
        address: of the cluster's job server, `http://HOST:8265`; if not given,
            RAY_API_SERVER_ADDRESS or RAY_ADDRESS.
        overrides: as for `toprung.run`.
        given: the other arguments of `toprung.run`. `out` is needed: an absolute path that all
            nodes share, or a URL such as `s3://bucket/sweeps`.

    Raises:
        ValueError: for anything the user can mend that is seen from here. What the driver finds on
            the cluster is in the job's log: `toprung logs JOB`.
    """
    return Cluster(address).submit(space, overrides=overrides, **given)


def job_of(jobs: Sequence[Job], name: str) -> Job | None:
    """The job of this id; otherwise of the sweep with this name or folder the newest.

    One that runs comes before those that have ended, and they before those that were refused.
    """
    return max(
        (job for job in reversed(jobs) if name in (job.id, job.sweep, job.folder)),
        key=lambda job: (job.id == name, not job.was_refused, not job.ended),
        default=None,
    )


def _job(info: Any) -> Job:
    said = info.metadata or {}
    return Job(
        id=info.submission_id,
        status=str(info.status),
        sweep=said.get(_SWEEP, ""),
        folder=said.get(_FOLDER, ""),
        started_at=_time(info.start_time),
        ended_at=_time(info.end_time),
        exit_code=info.driver_exit_code,
        message=info.message or "",
    )


def _time(milliseconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000) if milliseconds else None
