"""Sweeps as Ray jobs: what is asked of the cluster, what comes back; without a cluster."""

import io
import json
import os
import re
import shlex
import shutil
import socket
import sqlite3
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import click
import numpy as np
import optuna
import pytest
import ray

from tests.support.real_cluster import free_port
from toprung.analysis.sweep_folder.folder import SweepFolder, SweepFolderError
from toprung.cli import job_driver
from toprung.cli.main import toprung as command
from toprung.cluster.jobs import job_server, send
from toprung.cluster.jobs.fetching import fetch
from toprung.cluster.jobs.http_address import http_address
from toprung.cluster.jobs.job_server import JobExistsError, JobServer, python_of_workers
from toprung.cluster.jobs.options import (
    SubmittedSweep,
    check_sweep_place,
    name_of,
    submitted_sweep,
)
from toprung.cluster.jobs.send import as_lines, from_lines, pack, unpack
from toprung.cluster.jobs.sweep_jobs import Job, job_of
from toprung.errors import ToprungError
from toprung.planning.kept_code import IS_SENT, keep_code
from toprung.search_spaces.loading import load, load_copy
from toprung.storage.driver_lock import driver_lock

SPACE = '''"""Mine."""
from rates import RATES
SWEEP = {"data": "digits", "trials": 3}
def search_space(trial):
    return {"optimizer": {"name": "sgd", "lr": trial.suggest_float("optimizer/lr", *RATES)}}
'''


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    (folder / "spaces").mkdir(parents=True)
    (folder / "spaces" / "mine.py").write_text(SPACE)
    (folder / "spaces" / "rates.py").write_text("RATES = (0.001, 0.1)")
    monkeypatch.chdir(folder)
    return folder


def submitted(space: str | None = "spaces/mine.py", **given: Any) -> SubmittedSweep:
    overrides = given.pop("overrides", {})
    return submitted_sweep(space, overrides, {"out": "/shared/sweeps", **given})


@pytest.mark.usefixtures("project")
class TestWhatIsSubmitted:
    def test_the_options_are_those_of_run(self) -> None:
        odd = '/data/it\'s a "b" $HOME'
        sweep = submitted(
            name="it's mine", trials=5, time_budget="2h", data=odd, overrides={"optimizer/lr": 0.01}
        )
        arguments = shlex.split(shlex.join(sweep.arguments))
        parsed = command.commands["run"].make_context("run", arguments[1:]).params
        assert arguments[0] == "run"
        assert parsed["space"] == "spaces/mine.py"
        assert parsed["trials"] == 5
        assert parsed["time_budget"] == "2h"
        assert parsed["data"] == odd
        assert parsed["overrides"] == {"optimizer/lr": 0.01}
        assert parsed["name"] == "it's mine"
        assert sweep.folder == "/shared/sweeps/it's mine"
        assert set(sweep.package.files) == {"spaces/mine.py", "spaces/rates.py"}

    def test_a_space_from_elsewhere_brings_its_own_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path / "project" / "spaces")
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "mine.py").write_text(SPACE.replace("rates", "rates_too"))
        (tmp_path / "other" / "rates_too.py").write_text("RATES = (0.1, 0.2)")
        sweep = submitted("../../other/mine.py")
        assert set(sweep.package.files) == {"mine.py", "rates_too.py"}
        assert sweep.arguments[1] == "mine.py"

    def test_a_shipped_space_needs_nothing_of_this_folder(self) -> None:
        sweep = submitted("digits_cnn")
        assert sweep.package.files == {}
        assert sweep.name.startswith("digits_cnn-")

    def test_what_python_takes_for_a_value_travels_as_json(self) -> None:
        odd = {"data/root": Path("/images"), "optimizer/lr": np.float32(0.5)}
        arguments = submitted(overrides=odd, data="cifar10").arguments
        parsed = command.commands["run"].make_context("run", arguments[1:]).params
        assert parsed["overrides"] == {"data/root": "/images", "optimizer/lr": 0.5}

    def test_a_url_keeps_its_query_at_its_end(self) -> None:
        sweep = submitted(name="my sweep", out="s3://b/sweeps/?region=eu-central-1")
        assert sweep.folder == "s3://b/sweeps/my%20sweep?region=eu-central-1"
        assert "--out=s3://b/sweeps?region=eu-central-1" in sweep.arguments
        assert name_of(sweep.folder) == "my sweep"
        assert check_sweep_place(sweep.folder.replace("?", "/?")) == sweep.folder

    def test_a_folder_is_the_same_with_a_slash_at_its_end(self) -> None:
        assert check_sweep_place("/shared/sweeps/x/") == submitted(name="x").folder
        assert submitted(name="x", out="/shared/sweeps/").folder == "/shared/sweeps/x"

    def test_a_sweep_to_begin_with_stays_the_url_that_it_is(self) -> None:
        url = "s3://bucket/sweeps/first"
        given = command.commands["submit"].make_context("submit", [f"--warm-start={url}"]).params
        assert f"--warm-start={url}" in submitted(warm_start=given["warm_start"]).arguments

    def test_this_machine_needs_no_driver_for_a_database_there(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "psycopg2", None)
        url = "postgresql://me@host/db"
        assert f"--storage={url}" in submitted(storage=url).arguments

    def test_a_space_or_what_it_imports_that_holds_a_secret_is_refused(
        self, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delitem(sys.modules, "rates", raising=False)  # another test's
        secret = "PASSWORD = 'hunter2!'\n"
        (project / "spaces" / "mine.py").write_text(SPACE + secret)
        with pytest.raises(ToprungError, match=r"mine\.py: line 6: named secret"):
            submitted()
        (project / "spaces" / "mine.py").write_text(SPACE)
        (project / "spaces" / "rates.py").write_text(f"{secret}RATES = (0.001, 0.1)")
        with pytest.raises(ToprungError, match=r"rates\.py: line 1: named secret"):
            submitted()

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"out": None}, "out = none: on a cluster must be the absolute path"),
            ({"out": "sweeps"}, "out = 'sweeps': on a cluster must be the absolute path"),
            ({"out": "s3://key:hidden@bucket/x"}, "leave the credentials out"),
            ({"warm_start": "first"}, "warm_start = 'first'"),
            ({"data": "images"}, "data = 'images': data do not travel"),
            (
                {"data": "cifar10", "overrides": {"data/root": "images"}},
                "data/root = 'images': data do not travel",
            ),
            ({"overrides": {"optimizer/lx": 1}}, "nearest: optimizer/lr"),
            ({"space": "spaces/none.py"}, "there is no such file"),
            ({"trials": 0}, "trials"),
            ({"trails": 4}, "nearest: trials"),
            ({"address": "auto"}, "address: is no option of a submitted sweep"),
            ({"name": "a/b"}, "must be the name of a folder"),
            ({"storage": "postgresql://me:hidden@host/db"}, "leave the password out"),
        ],
    )
    def test_what_can_be_seen_from_here_is_told_before_anything_is_sent(
        self, given: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(ValueError, match=re.escape(said)) as told:
            submitted(**given)
        assert "hidden" not in str(told.value)


class TestOnTheCluster:
    def test_workers_are_left_as_they_are(self, monkeypatch: pytest.MonkeyPatch) -> None:
        told = {"runtime_env": {"working_dir": "gcs://x.zip"}, "metadata": {"job_name": "j"}}
        monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(told))
        job_driver.leave_workers_alone()
        left = json.loads(os.environ["RAY_JOB_CONFIG_JSON_ENV_VAR"])
        assert left == {"runtime_env": {}, "metadata": {"job_name": "j"}}

    def test_the_code_that_was_sent_stays_with_the_sweep(
        self, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        origin = load("spaces/mine.py").origin
        sweep = SweepFolder(tmp_path / "sweep")
        keep_code(origin, sweep)
        assert not sweep.code.exists()  # it was not sent: it lies on this machine
        monkeypatch.setenv(IS_SENT, "1")
        keep_code(origin, sweep)
        (project / "spaces" / "rates.py").write_text("RATES = ()")
        sys.modules.pop("rates", None)
        sweep.search_space.write_text(SPACE)
        space = load_copy(sweep.search_space, origin, sweep.code)
        assert 0.001 <= space(optuna.create_study().ask())["optimizer"]["lr"] <= 0.1

    def test_its_python_is_that_of_ray(self) -> None:
        raylet = ["raylet", "--port=1", "--python_worker_command=/opt/my\\ env/python3 x.py --a=1"]
        assert python_of_workers(raylet) == "/opt/my env/python3"
        assert python_of_workers(["raylet", "--python_worker_command="]) is None


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A sweep's folder with one of each kind of file."""
    folder = SweepFolder(tmp_path / "sweep")
    for path in (folder.best / "model.safetensors", folder.checkpoint_file(0)):
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(200_000))
    folder.settings.write_text("{space_origin: digits_cnn, started_at: now}")
    for path in (folder.result_log(0), folder.lock, folder.trial(0) / "params.pkl"):
        path.touch()
    sqlite3.connect(folder.study).close()
    return folder.path


@pytest.fixture
def cluster_of_ours(sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of a cluster: another machine's folder of the sweep, as its log brings it."""
    there = shutil.copytree(sweep, tmp_path / "there")

    class Cluster:
        def __init__(self, address: str | None) -> None:
            assert address == "http://head:8265"

        def folder(self, place: str) -> str:
            return check_sweep_place(place)

        def output_of(self, arguments: list[str], python: str | None) -> str:
            assert arguments == [send.__name__, str(sweep)]
            assert python is None
            monkeypatch.setattr(sys, "argv", ["send", str(there)])
            with redirect_stdout(io.StringIO()) as log:
                send.main()
            return log.getvalue()

    monkeypatch.setattr("toprung.cluster.jobs.sweep_jobs.Cluster", Cluster)


class TestFetching:
    def test_a_sweep_comes_through_a_log_without_its_checkpoints(
        self, sweep: Path, tmp_path: Path
    ) -> None:
        log = "\n".join(["a warning", *as_lines(pack(sweep)), "another"])
        unpack(from_lines(log), tmp_path / "fetched")
        names = {path.name: path for path in (tmp_path / "fetched").rglob("*") if path.is_file()}
        assert set(names) == {"sweep.yaml", "model.safetensors", "result.json", "study.db"}
        assert names["model.safetensors"].read_bytes() == bytes(200_000)

    def test_what_is_still_in_the_write_ahead_log_comes_too(self, tmp_path: Path) -> None:
        (tmp_path / "sweep").mkdir()
        (tmp_path / "sweep" / "sweep.yaml").write_text("{}")
        with closing(sqlite3.connect(tmp_path / "sweep" / "study.db")) as study:
            study.execute("PRAGMA journal_mode=WAL")
            study.execute("CREATE TABLE t (x)")
            study.execute("INSERT INTO t VALUES (7)")
            study.commit()
            unpack(pack(tmp_path / "sweep"), tmp_path / "fetched")
        with closing(sqlite3.connect(tmp_path / "fetched" / "study.db")) as copy:
            assert copy.execute("SELECT x FROM t").fetchall() == [(7,)]

    @pytest.mark.parametrize("kind", ["link", "outside", "absolute"])
    def test_nothing_is_written_outside(self, tmp_path: Path, kind: str) -> None:
        names = {"link": "a", "outside": "../a", "absolute": str(tmp_path / "a")}
        member = tarfile.TarInfo(names[kind])
        if kind == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            archive.addfile(member)
        with pytest.raises(ToprungError, match="the sweep that was sent"):
            unpack(packed.getvalue(), tmp_path / "to")
        assert not (tmp_path / "a").exists()

    def test_a_log_that_is_cut_or_changed_is_refused(self) -> None:
        lines = list(as_lines(bytes(200_000)))
        with pytest.raises(ToprungError, match="not whole"):
            from_lines("\n".join(lines[:-1]))
        with pytest.raises(ToprungError, match="not whole"):
            from_lines("\n".join(lines).rpartition(" ")[0])
        with pytest.raises(ToprungError, match="digest"):
            from_lines("\n".join([*lines[:2], *lines[3:]]))

    def test_a_study_that_is_none_is_told_in_a_line(self, sweep: Path) -> None:
        (sweep / "study.db").write_bytes(b"none" * 1000)
        with pytest.raises(
            ToprungError, match=r"study\.db: cannot be read: file is not a database"
        ):
            pack(sweep)

    @pytest.mark.usefixtures("cluster_of_ours")
    def test_a_sweep_of_the_cluster_is_not_one_at_the_same_path_here(
        self, sweep: Path, tmp_path: Path
    ) -> None:
        (sweep / "mine").touch()
        fetched = fetch(sweep, tmp_path / "fetched", "http://head:8265")
        assert not (fetched / "mine").exists()
        assert (fetched / "best" / "model.safetensors").is_file()
        with pytest.raises(ToprungError, match="is the sweep's own folder"):
            fetch(sweep, sweep, "http://head:8265")

    def test_a_sweep_that_went_on_here_is_not_overwritten(
        self, sweep: Path, tmp_path: Path
    ) -> None:
        to = fetch(sweep, tmp_path / "mine")
        told = (sweep / "sweep.yaml").read_text().rstrip("}")
        (to / "sweep.yaml").write_text(told + ", resumed: [{at: noon}]}")
        with pytest.raises(ToprungError, match="has gone on here"):
            fetch(sweep, to)
        (sweep / "sweep.yaml").write_text(told + ", resumed: [{at: noon}, {at: night}]}")
        with driver_lock(SweepFolder(to)), pytest.raises(ToprungError, match="has gone on here"):
            fetch(sweep, to)
        fetch(sweep, to)
        assert "night" in (to / "sweep.yaml").read_text()

    def test_a_second_time_adds_what_is_new_and_nothing_else_is_overwritten(
        self, sweep: Path, tmp_path: Path
    ) -> None:
        to = fetch(sweep, tmp_path / "mine")
        (to / "note").write_text("kept")
        (to / "study.db-wal").write_text("of the study before")
        (sweep / "new").write_text("new")
        assert fetch(sweep, to) == to
        assert (to / "note").read_text() == "kept"
        assert not (to / "study.db-wal").exists()
        assert (to / "new").read_text() == "new"
        (sweep / "sweep.yaml").write_text("{space_origin: digits_cnn, started_at: later}")
        with pytest.raises(ToprungError, match="holds something else"):
            fetch(sweep, to)

    def test_a_folder_that_is_no_sweep_is_not_packed(self, tmp_path: Path) -> None:
        with pytest.raises(SweepFolderError, match="no sweep here"):
            pack(tmp_path)


class TestWhichJob:
    """Jobs of one sweep, from the oldest to the newest."""

    def test_a_refused_one_does_not_stand_for_the_sweep(self) -> None:
        jobs = [job("first", "SUCCEEDED", 0), job("second", "FAILED", 2)]
        assert job_of(jobs, "mine") == jobs[0]
        assert job_of(jobs, "/shared/mine") == jobs[0]
        assert job_of(jobs, "second") == jobs[1]

    def test_the_newest_and_before_all_the_one_that_runs(self) -> None:
        jobs = [job("first", "STOPPED"), job("second", "RUNNING"), job("third", "FAILED", 130)]
        assert job_of(jobs, "mine") == jobs[1]
        assert job_of([jobs[0], jobs[2]], "mine") == jobs[2]
        assert job_of(jobs, "another") is None


def job(name: str, status: str, exit_code: int | None = None) -> Job:
    return Job(name, status, "mine", "/shared/mine", None, None, exit_code, "")


class TestTheAddress:
    def test_what_is_given_comes_before_the_variables(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
        monkeypatch.setenv("RAY_ADDRESS", "head:6379")
        with pytest.raises(ToprungError, match="RAY_ADDRESS=head:6379 is not http"):
            http_address(None)
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://a:8265")
        assert http_address(None) == "http://a:8265"
        assert http_address("https://b:8265/") == "https://b:8265"

    @pytest.mark.parametrize("address", ["auto", "head:6379", "ray://head:10001"])
    def test_another_kind_is_told_where_it_goes(self, address: str) -> None:
        with pytest.raises(ToprungError, match="toprung run and toprung resume"):
            http_address(address)

    @pytest.mark.parametrize(
        "address",
        [
            "http://",
            "http://h:x",
            "http://h:99999",
            "http://a..b:8265",
            "http:///x",
            "http://a b:1",
        ],
    )
    def test_what_no_host_can_have_is_refused(self, address: str) -> None:
        with pytest.raises(ToprungError, match="must be http://HOST:PORT"):
            http_address(address)

    @pytest.mark.parametrize("secret", ["me:hush@h:8265", "h:8265/?token=hush", "h:8265#hush"])
    def test_a_secret_in_it_is_refused_and_not_shown(self, secret: str) -> None:
        with pytest.raises(ToprungError, match="leave") as told:
            http_address(f"http://{secret}")
        assert "hush" not in str(told.value)

    @pytest.mark.parametrize("name", ["status", "resume"])
    def test_of_the_variable_is_asked_for_a_sweep_that_is_not_here(
        self, sweep: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setattr(job_server, "use_token", lambda: None)
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", f"http://127.0.0.1:{free_port()}")
        monkeypatch.chdir(sweep)
        with pytest.raises(ToprungError, match="the cluster cannot be reached"):
            command.main([name, "nowhere", "--python=/there/python"], standalone_mode=False)
        with pytest.raises(click.UsageError, match="--python goes with"):
            command.main([name, ".", "--python=/there/python"], standalone_mode=False)
        monkeypatch.setenv(IS_SENT, "1")  # on the cluster itself
        with pytest.raises(SweepFolderError, match="nowhere"):
            command.main([name, "nowhere"], standalone_mode=False)

    @pytest.mark.parametrize(
        ("code", "body", "said"),
        [
            (401, "", "asks for a token"),
            (403, "", "does not accept the token"),
            (404, "", "is it a Ray dashboard"),
            (200, "<html>", "is no Ray dashboard"),
            (200, "[]", "is no Ray dashboard"),
            (200, '{"ray_version": "1.0"}', f"runs Ray 1.0, and here is Ray {ray.__version__}"),
        ],
    )
    def test_one_that_does_not_answer_as_it_should_is_told_in_a_line(
        self, monkeypatch: pytest.MonkeyPatch, code: int, body: str, said: str
    ) -> None:
        monkeypatch.setattr(job_server, "use_token", lambda: None)  # Ray would keep it
        with web_server(code, body) as address, pytest.raises(ToprungError) as told:
            JobServer(address)
        assert said in str(told.value)
        assert "\n" not in str(told.value)

    def test_one_where_nothing_listens(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(job_server, "use_token", lambda: None)
        with pytest.raises(ToprungError, match="cannot be reached: Connection refused"):
            JobServer(f"http://127.0.0.1:{free_port()}")

    def test_one_that_falls_silent_is_told_in_a_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(job_server, "use_token", lambda: None)
        monkeypatch.setattr(job_server, "_SECONDS_OF_SILENCE", 0.2)
        with web_server(200, json.dumps({"ray_version": ray.__version__})) as address:
            server = JobServer(address)
        with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
            with pytest.raises(ToprungError, match="the cluster cannot be reached: ") as told:
                server.jobs()
            with pytest.raises(ToprungError, match="the cluster cannot be reached: "):
                list(server.follow("toprung-mine"))
        assert "\n" not in str(told.value)
        with pytest.raises(ToprungError, match="the cluster cannot be reached: Connection refused"):
            server.jobs()

    def test_a_text_of_the_server_that_ends_in_a_dot_is_told_by_its_last_words(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(job_server, "use_token", lambda: None)
        with web_server(200, json.dumps({"ray_version": ray.__version__})) as address:
            server = JobServer(address)
            said = "Failed: Traceback:\nValueError: Job with id {} already exists.\n."
            for name, kind in (("mine", JobExistsError), ("another", ToprungError)):
                error = RuntimeError(said.format("mine"))
                monkeypatch.setattr(server._client, "submit_job", Mock(side_effect=error))
                with pytest.raises(kind, match=r": ValueError: Job with .* exists\.$") as told:
                    server.submit(name, "true", {}, {})
                assert type(told.value) is kind


@contextmanager
def web_server(code: int, body: str) -> Iterator[str]:
    """A server that answers everything with this."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
