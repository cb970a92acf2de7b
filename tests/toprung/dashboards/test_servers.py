"""`toprung dashboard`: two real servers on the loopback address, that end when they should."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from tests.analysis.test_sweep import CONFIG, Made
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.folder import SweepFolder, SweepFolderError
from toprung.dashboards.servers import Server, serving, watch
from toprung.errors import ToprungError
from toprung.storage.event_file import EventFile
from toprung.trainables.data import prepare

COMMAND = [sys.executable, "-c", "from toprung.cli.main import main; main()", "dashboard"]
LISTENING = "0A"  # as /proc/net/tcp writes the state
OPENER = build_opener(ProxyHandler({}))
SECONDS_TO_END = 10
OWN_HOSTS = ("127.0.0.1", "127.0.0.1:8080", "localhost", "LOCALHOST:65535", "[::1]", "[::1]:80")
FOREIGN_HOSTS = (
    *("evil.test", "evil.test:80", "localhost.evil.test", "evil-localhost", "127.0.0.1.evil.test"),
    *("127.0.0.2", "0.0.0.0", "[::]", "::1", "localhost.", "localhost:", "localhost:80:80"),
    *("user@localhost", "localhost/evil", "localhost evil", "", "l\u043ecalhost", "127.0.0.1\t,x"),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A finished sweep, in a folder whose name needs quoting, with curves for TensorBoard."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        config = CONFIG.model_copy(update={"data": prepare(CONFIG.data).settings})
        made = Made(tmp_path_factory.mktemp("sweeps") / "my # sweep", config)
        made.trial(attributes.FINISHED)
    curve = EventFile(made.folder.tensorboard / "trial_00000")
    curve.add_scalars((1, {"loss/train": 0.5}))
    curve.add_hparams({}, {})
    return made


def get(url: str) -> bytes:
    with OPENER.open(url, timeout=30) as response:
        assert response.status == 200
        content: bytes = response.read()
    return content


def asked(url: str, method: str, target: str, headers: Sequence[str]) -> int:
    """The status that a server answers with, to a request of just these lines."""
    lines = [f"{method} {target} HTTP/1.1", *headers, "Content-Length: 0", "", ""]
    with socket.create_connection(("127.0.0.1", port_of(url)), timeout=30) as connection:
        connection.sendall("\r\n".join(lines).encode())
        with connection.makefile("rb") as answer:
            return int(answer.readline().split()[1])


@contextmanager
def dashboard(sweep: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The command's process, and its two URLs once they are printed."""
    process = subprocess.Popen(
        [*COMMAND, str(sweep), "--no-browser", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline() for _ in range(3)]
        yield process, [line.split()[-1] for line in lines[:2] if line]
    finally:
        process.terminate()
        process.communicate(timeout=30)


def port_of(url: str) -> int:
    return int(url.rstrip("/").rpartition(":")[2])


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def family(pid: int) -> list[int]:
    return [pid, *(member for child in children(pid) for member in family(child))]


def listening(pid: int) -> set[str]:
    """The addresses at which a process listens, as /proc/net writes them: address:port."""
    links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    sockets = {link[8:-1] for link in links if link.startswith("socket:[")}
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return {row[1] for row in rows if row[3] == LISTENING and row[9] in sockets}


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def all_gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + SECONDS_TO_END
    while not all(map(is_gone, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return all(map(is_gone, pids))


@pytest.fixture(scope="module")
def running(made: Made) -> Iterator[tuple[subprocess.Popen[str], list[str], bytes]]:
    """The dashboard of that sweep, and the study's file before."""
    before = made.folder.study.read_bytes()
    with dashboard(made.folder.path) as (process, urls):
        yield process, urls, before


Running = tuple[subprocess.Popen[str], list[str], bytes]


class TestOfAFinishedSweep:
    def test_real_pages_answer(self, running: Running) -> None:
        _, (optuna, tensorboard), _ = running
        assert b"Optuna Dashboard" in get(optuna)
        (study,) = json.loads(get(f"{optuna}api/studies"))["study_summaries"]
        assert study["study_name"] == "sweep"
        trials = json.loads(get(f"{optuna}api/studies/{study['study_id']}"))["trials"]
        assert [trial["number"] for trial in trials] == [0]
        assert b"TensorBoard" in get(tensorboard)
        deadline = time.monotonic() + 30  # it reads its files while it answers
        while b"trial_00000" not in get(f"{tensorboard}data/runs"):
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def test_nothing_can_be_changed(self, running: Running, made: Made) -> None:
        _, (optuna, _), before = running
        note = json.dumps({"body": "mine", "version": 1}).encode()
        for path, method, body in (("", "DELETE", None), ("/note", "PUT", note)):
            request = Request(f"{optuna}api/studies/1{path}", body, method=method)
            request.add_header("Content-Type", "application/json")
            with pytest.raises(HTTPError, match="500") as error:
                OPENER.open(request, timeout=30)
            error.value.close()
        get(f"{optuna}api/studies/1")
        assert made.folder.study.read_bytes() == before
        assert not list(made.folder.path.glob("study.db-*"))

    @pytest.mark.parametrize("server", [0, 1], ids=["optuna", "tensorboard"])
    def test_only_what_is_meant_for_this_machine_is_answered(
        self, server: int, running: Running
    ) -> None:
        at = "Host: localhost:1"
        foreign: list[tuple[str, list[str]]] = [
            *(("/", [f"Host: {host}"]) for host in FOREIGN_HOSTS),
            *(("/", []), ("*", [at]), ("http://evil.test/", [at])),
            ("http://localhost/", ["Host: evil.test"]),
            *(("/", [at, "Host: evil.test"]), ("/", ["Host: evil.test", at])),
            ("/", ["Host: evil.test", "Connection: Upgrade", "Upgrade: websocket"]),
        ]
        statuses: dict[tuple[str, tuple[str, ...]], int] = {
            **{("/", (f"Host: {host}",)): 200 for host in OWN_HOSTS},
            **{(target, tuple(headers)): 421 for target, headers in foreign},
            ("/", (at, "Origin: http://localhost:1")): 200,
            ("/", (at, "Origin: http://LOCALHOST:1")): 200,
            ("/", (at, "Origin: http://localhost:2")): 403,
            ("/", (at, "Origin: http://evil.test")): 403,
            ("/", (at, "Origin: null")): 403,
        }
        found = {asked_of: asked(running[1][server], "GET", *asked_of) for asked_of in statuses}
        # optuna-dashboard sends who asks for / on to its page.
        assert {key: 200 if status == 302 else status for key, status in found.items()} == statuses

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
    def test_another_site_s_forms_and_scripts_do_not_get_in(
        self, method: str, running: Running
    ) -> None:
        for url in running[1]:
            host = f"Host: 127.0.0.1:{port_of(url)}"
            assert asked(url, method, "/api/studies/1", [host, "Origin: http://evil.test"]) == 403
            assert asked(url, method, "/api/studies/1", ["Host: evil.test"]) == 421

    def test_they_listen_on_loopback_only(self, running: Running) -> None:
        process, urls, _ = running
        addresses = {address for pid in family(process.pid) for address in listening(pid)}
        assert {int(address.rpartition(":")[2], 16) for address in addresses} >= set(
            map(port_of, urls)
        )
        assert {address.rpartition(":")[0] for address in addresses} == {"0100007F"}

    def test_a_taken_port_is_refused(self, running: Running, made: Made) -> None:
        _, urls, _ = running
        port = port_of(urls[0])
        with (
            pytest.raises(ToprungError, match=f"port {port}: cannot be used: Address already in u"),
            serving(made.folder, None, port),
        ):
            pass
        with (
            pytest.raises(ToprungError, match="port 7 is given for both"),
            serving(made.folder, 7, 7),
        ):
            pass

    def test_ctrl_c_ends_all_of_it(self, running: Running) -> None:
        process, _, _ = running
        members = family(process.pid)
        assert len(members) >= 3
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS_TO_END) == 0
        assert all_gone(members)


class TestOfALiveSweep:
    """Its study is written to, in SQLite's write-ahead log."""

    def test_shows_new_trials_until_one_server_dies(self, made: Made, tmp_path: Path) -> None:
        folder = shutil.copytree(made.folder.path, tmp_path / "live")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with closing(sqlite3.connect(folder / "study.db")) as writer:
            writer.execute("PRAGMA journal_mode = WAL")
            with dashboard(folder, "--port", str(port)) as (process, (optuna, _)):
                assert optuna == f"http://127.0.0.1:{port}/"
                writer.execute(
                    "INSERT INTO trials (number, study_id, state) VALUES (1, 1, 'RUNNING')"
                )
                writer.commit()
                study = json.loads(get(f"{optuna}api/studies/1"))
                assert [trial["number"] for trial in study["trials"]] == [0, 1]
                # As a sweep does at its end: no reader keeps it from leaving one plain file.
                (mode,) = writer.execute("PRAGMA journal_mode = DELETE").fetchone()
                assert mode == "delete"
                members = family(process.pid)
                (server,) = [pid for pid in members if port_of_process(pid) == port]
                os.kill(server, signal.SIGKILL)
                assert process.wait(SECONDS_TO_END) == 2
                assert process.stderr is not None
                told = process.stderr.read()
                assert "error: optuna-dashboard ended unexpectedly (exit code -9)" in told
                assert all_gone(members)


def port_of_process(pid: int) -> int | None:
    ports = {int(address.rpartition(":")[2], 16) for address in listening(pid)}
    return ports.pop() if len(ports) == 1 else None


def test_a_server_ends_with_the_process_that_started_it(made: Made) -> None:
    command = [sys.executable, "-P", "-m", "toprung.dashboards.child", "optuna"]
    with subprocess.Popen([*command, str(made.folder.study), "0"], stdin=subprocess.PIPE) as child:
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(SECONDS_TO_END) == 0


def test_a_study_that_cannot_be_read(made: Made, tmp_path: Path) -> None:
    folder = SweepFolder(shutil.copytree(made.folder.path, tmp_path / "broken"))
    folder.study.write_bytes(b"no database at all" * 100)
    with (
        pytest.raises(
            SweepFolderError, match=r"study\.db: cannot be read: is not an SQLite database"
        ),
        serving(folder, None, None),
    ):
        pass


def test_a_server_that_ends_says_what_it_said(tmp_path: Path) -> None:
    """As one does that finds its port taken, in the moment after it was found free."""
    with (tmp_path / "output").open("w+b") as output:
        code = "print('a', flush=True); raise SystemExit('the port is taken')"
        with subprocess.Popen([sys.executable, "-c", code], stdout=output, stderr=output) as ended:
            ended.wait(30)
            with pytest.raises(ToprungError, match=r"its output:\n  a\n  the port is taken"):
                watch([Server("TensorBoard", "http://127.0.0.1:1/", ended, output)])
