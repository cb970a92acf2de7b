"""Sweeps that run as Ray jobs: handed to a cluster, which then no longer needs this machine."""

import difflib
import re
import secrets
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from toprung.cluster.job_server import JobServer
from toprung.cluster.options import as_options, check_sweep_place, name_of, submitted_sweep
from toprung.cluster.package import FOLDER, Package
from toprung.errors import NOT_FINISHED, USER_ERROR, ToprungError
from trainables.object_store import is_url

PASSED = "cluster: "
"""What the line begins with that a driver prints when its pre-flight has passed."""
_SECONDS_TO_STOP = 30
"""A driver's time to end its trials in order when it is stopped; Ray itself would give 3."""
_VERSION, _SWEEP, _FOLDER = "toprung", "toprung_sweep", "toprung_folder"
_DRIVER = "toprung.cluster.job_driver"


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
        running = [job for job in self.jobs() if job.folder == folder and not job.ended]
        if running:
            raise ToprungError(f"{name}: is run by the job {running[-1].id}; toprung stop ends it")
        arguments = ["resume", *as_options(given), "--", folder]
        return self._start(name, folder, arguments, Package(None), python)

    def lines(self, job: Job) -> Iterator[str]:
        """What its driver prints, from the beginning, until it ends."""
        return self.server.follow(job.id)

    def now(self, job: Job) -> Job:
        """The job as it is now."""
        return _job(self.server.info(job.id))

    def has_begun(self, job: Job) -> bool:
        """Whether its pre-flight has passed, so that there is a sweep."""
        return any(line.startswith(PASSED) for line in self.server.log(job.id).splitlines())

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
        command = shlex.join([python or self.server.python(), "-P", "-m", *arguments])
        self.server.submit(job_id, f"exec {command}", {_VERSION: version("toprung")}, {})
        try:
            info = self.server.wait(job_id)
            log = self.server.log(job_id)
        except KeyboardInterrupt:
            self.server.stop(job_id)
            raise
        self.server.delete(job_id)
        if info.status != "SUCCEEDED":
            raise ToprungError(f"on the cluster: {_reason(log) or info.message}")
        return log

    def _start(
        self, name: str, folder: str, arguments: list[str], package: Package, python: str | None
    ) -> Job:
        python = python or self.server.python()
        first, *rest = arguments
        command = [python, "-P", "-m", _DRIVER, first, "--address=auto", *rest]
        job_id = self._free_id(f"toprung-{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}")
        with tempfile.TemporaryDirectory(prefix="toprung-") as place:
            archive = Path(place) / "package.zip"
            package.write(archive)
            self.server.submit(
                job_id,
                f"cd {FOLDER} && exec {shlex.join(command)}",
                {_VERSION: version("toprung"), _SWEEP: name, _FOLDER: folder},
                {
                    "working_dir": str(archive),
                    "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(_SECONDS_TO_STOP)},
                },
            )
        return _job(self.server.info(job_id))

    def _free_id(self, wanted: str) -> str:
        """This id, or with the next number: Ray takes each only once."""
        taken = {job.submission_id for job in self.server.jobs()}
        numbered = (f"{wanted}-{number}" for number in range(2, len(taken) + 3))
        return next(name for name in (wanted, *numbered) if name not in taken)


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


def _reason(log: str) -> str:
    """The last line of a log, which says why a command has failed."""
    lines = [line for line in log.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else ""
