"""Jobs of one sweep at one moment, and drivers that never get to begin; the job server is ours."""

import re
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from toprung.cli.cluster import follow_the_start
from toprung.cluster.jobs import driver_command, sweep_jobs
from toprung.cluster.jobs.driver_command import STARTED, has_not_run, wrong_python
from toprung.cluster.jobs.job_server import JobExistsError
from toprung.cluster.jobs.sweep_jobs import Cluster, Job
from toprung.console import BEGAN
from toprung.errors import ToprungError

FOLDER = "/shared/sweeps/mine"


class Server:
    """Takes each id once, as Ray's job server does."""

    address = "http://head:8265"
    both_look: threading.Barrier | None = None

    def __init__(self) -> None:
        self._jobs: dict[str, Any] = {}
        self._lock = threading.Lock()
        self.printed: list[str] = []

    def python(self) -> str:
        return "/there/python"

    def jobs(self) -> list[Any]:
        found = list(self._jobs.values())
        if self.both_look is not None and not found:
            self.both_look.wait()
        return found

    def info(self, job_id: str) -> Any:
        return self._jobs[job_id]

    def log(self, _: str) -> str:
        return "\n".join(self.printed)

    def follow(self, _: str) -> Iterator[str]:
        yield from self.printed

    def submit(
        self,
        job_id: str,
        entrypoint: str,
        metadata: Mapping[str, str],
        runtime_env: Mapping[str, Any],
    ) -> None:
        assert "env_vars" in runtime_env
        with self._lock:
            if job_id in self._jobs:
                raise JobExistsError(f"Job with submission_id {job_id} already exists.")
            self._jobs[job_id] = SimpleNamespace(
                submission_id=job_id,
                entrypoint=entrypoint,
                metadata=metadata,
                status="RUNNING",
                start_time=None,
                end_time=None,
                driver_exit_code=None,
                message="",
            )

    def end(self, job_id: str, status: str, exit_code: int) -> None:
        self._jobs[job_id].status = status
        self._jobs[job_id].driver_exit_code = exit_code


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(sweep_jobs, "JobServer", lambda _: server)
    return server


def submitted(folder: str = FOLDER) -> Job:
    out, _, name = folder.rpartition("/")
    return Cluster().submit("digits_cnn", out=out, name=name)


class TestTwoAtOnce:
    @pytest.mark.parametrize("how", ["submit", "resume"])
    def test_one_is_submitted_and_the_other_told_of_it(self, server: Server, how: str) -> None:
        server.both_look = threading.Barrier(2, timeout=60)

        def once(_: int) -> Job | ToprungError:
            try:
                return submitted() if how == "submit" else Cluster().resume(FOLDER)
            except ToprungError as error:
                return error

        with ThreadPoolExecutor(2) as pool:
            outcomes = list(pool.map(once, range(2)))
        (refused,) = (outcome for outcome in outcomes if isinstance(outcome, ToprungError))
        (job,) = (outcome for outcome in outcomes if isinstance(outcome, Job))
        assert job.id == "toprung-mine"
        assert str(refused).startswith("mine: is run by the job toprung-mine already")
        assert "--name" in str(refused)

    def test_while_one_runs_another_is_refused_before_it_is_sent(self, server: Server) -> None:
        submitted()
        with pytest.raises(ToprungError, match="is run by the job toprung-mine already"):
            submitted()
        with pytest.raises(ToprungError, match="is run by the job toprung-mine already"):
            Cluster().resume("mine")
        assert [job.submission_id for job in server.jobs()] == ["toprung-mine"]

    def test_after_it_or_elsewhere_a_name_can_be_used_again(self, server: Server) -> None:
        submitted()
        assert submitted("/shared/other/mine").id == "toprung-mine-2"
        server.end("toprung-mine", "FAILED", 2)
        assert submitted().id == "toprung-mine-3"

    def test_that_an_id_was_taken_meanwhile_by_another_sweep_does_not_matter(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        submitted("/shared/other/mine")
        monkeypatch.setattr(server, "jobs", list)  # as it was when the other had not been submitted
        assert submitted().id == "toprung-mine-2"


class TestTheStart:
    def test_is_only_what_the_driver_says_when_the_sweep_is_its_own(
        self, server: Server, capsys: pytest.CaptureFixture[str]
    ) -> None:
        job = submitted()
        server.printed = [f"{STARTED}Toprung 0.1.0", "cluster: 2 nodes", "error: exists already"]
        server.end(job.id, "FAILED", 2)
        with pytest.raises(SystemExit) as ended:
            follow_the_start(Cluster(), job)
        told = capsys.readouterr()
        assert ended.value.code == 2
        assert "no longer needed" not in told.out
        assert "error: exists already" in told.out
        server.printed.insert(2, f"{BEGAN}{FOLDER}")
        follow_the_start(Cluster(), job)
        assert (
            "mine is running on the cluster; this machine is no longer" in capsys.readouterr().out
        )

    def test_of_one_that_was_refused_names_the_job_that_runs_the_sweep(
        self, server: Server, capsys: pytest.CaptureFixture[str]
    ) -> None:
        job = submitted()
        server.end(job.id, "FAILED", 2)
        assert submitted().id == "toprung-mine-2"
        server.printed = [f"{STARTED}Toprung 0.1.0", "error: another has begun"]
        with pytest.raises(SystemExit):
            follow_the_start(Cluster(), job)
        assert "the sweep is run by the job toprung-mine-2" in capsys.readouterr().err

    def test_with_a_wrong_python_is_one_line(
        self, server: Server, capsys: pytest.CaptureFixture[str]
    ) -> None:
        job = Cluster().submit("digits_cnn", out="/shared", name="mine", python="/no/python")
        server.printed = ["/bin/sh: 1: exec: /no/python: not found"]
        server.end(job.id, "FAILED", 127)
        with pytest.raises(ToprungError, match=r"^python = /no/python: there is no such program"):
            follow_the_start(Cluster(), job)
        assert "exec" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "log", "why"),
    [
        (127, "exec: not found", "there is no such program on the cluster's head"),
        (126, "Permission denied", "the cluster's head cannot execute it"),
        (1, "x\nModuleNotFoundError: No module named 'ray'", "it has no ray installed"),
        (1, "python: No module named 'toprung'", "it has no toprung installed"),
        (
            1,
            "python: No module named toprung.cluster.a",
            "it has another version of Toprung installed",
        ),
        (
            1,
            "(ModuleNotFoundError: __path__ attribute not found on 'toprung.a' while trying …)",
            "it has another version of Toprung installed",
        ),
        (2, "Illegal option -P\n", "it does not run Toprung: Illegal option -P"),
        (0, "", "it does not run Toprung: it has printed nothing"),
    ],
)
def test_what_is_wrong_with_a_python(code: int, log: str, why: str) -> None:
    entrypoint = "cd packaged && " + driver_command.command("/my python", "toprung.x", "a")
    assert wrong_python(entrypoint, code, log).startswith(f"python = /my python: {why}; give ")
    assert has_not_run(code, log) is (code > 100 or "No module" in log or "__path__" in log)


@pytest.mark.parametrize("place", ["../sweeps/mine", "./mine", "sweeps/mine", "..", "."])
def test_a_relative_path_is_told_what_a_sweep_is_called_on_a_cluster(
    server: Server, place: str
) -> None:
    whole = re.escape(str(Path(place).resolve()))
    with pytest.raises(ToprungError, match=rf"^{re.escape(place)}: .*absolute path .*{whole}"):
        Cluster().resume(place)
