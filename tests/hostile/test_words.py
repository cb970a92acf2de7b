"""Every door, with a payload in every name: terminal, page, card and logs get none of it raw.

The doors: each command under a pty, the live display, a job server's answers, what click says by
itself, Python's own tracebacks, the page, the card, JSON, YAML and TensorBoard's files.
"""

import ast
import contextlib
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.hostile_sweep import hostile_sweep
from toprung.analysis.sweep import Sweep
from toprung.cli.main import main
from toprung.cluster.placement.packing import Packing
from toprung.settings import SweepSettings
from toprung.storage.event_file import EventFile
from toprung.trainables.files.plain_yaml import read_yaml
from toprung.trainables.results.columns import failure_report
from toprung.trainables.results.failures import CODE_ERROR
from toprung.trainables.system.console import PrintableConsole
from toprung.trainables.system.printable import printable, printable_line
from toprung.trainables.system.terminal import PrintableStream, print_only_printable
from toprung.tune.callbacks.progress import Progress
from toprung.tune.callbacks.tensorboard import TensorBoardCallback
from toprung.tune.callbacks.watcher import WatchedTrial

ROOT = Path(__file__).parents[2]
OWN = r"\x1b\[[0-9;]*[mAGHJK]|\x1b\[\?25[lh]|\r"
"""What rich and the pty write by themselves: colours, moves of the cursor, ends of lines."""
HIDDEN = "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
PAYLOAD = "\x1b]0;owned\x07\x1bPq\x9c\x1b[99n\x9b31m\x90\u202eevil\u2066\u200b\ufeff\xad\x7f"
SHOWN = printable(PAYLOAD)
SPACE = f'''"""What is searched{PAYLOAD}.

Further lines{PAYLOAD}.
"""
SWEEP = {{"data": "digits"}}
def search_space(trial):
    lr = trial.suggest_float("optimizer/lr", 0.01, 0.1)
    return {{"optimizer": {{"lr": lr}}, "labels": {{"a": trial.suggest_categorical("labels/a", [{PAYLOAD!r}, "b"])}}}}
'''  # noqa: E501


PROGRAMS = (
    "toprung/cli/main.py",
    "toprung/cluster/jobs/send.py",
    "toprung/cli/job_driver.py",
)
"""Each makes stdout and stderr printable when it begins."""


def raw(text: str) -> str:
    """What of a text is hidden characters that are not a terminal's own."""
    return "".join(re.findall(HIDDEN, re.sub(OWN, "", text)))


def on_terminal(action: Callable[[], object]) -> str:
    """What a terminal gets whose streams this process's are, while something is done."""
    ours, theirs = os.openpty()
    got: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # how a pty says that nobody writes any more
            while chunk := os.read(ours, 65536):
                got.append(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(SystemExit):
            patch.setenv("TERM", "xterm-256color")
            with (
                open(theirs, "w", encoding="utf-8", closefd=False) as out,
                open(theirs, "w", encoding="utf-8", closefd=False) as err,
            ):
                patch.setattr("sys.stdout", out)
                patch.setattr("sys.stderr", err)
                patch.setattr("sys.excepthook", sys.excepthook)
                patch.setattr("threading.excepthook", threading.excepthook)
                action()
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)
    return b"".join(got).decode()


def said(*arguments: object) -> str:
    """What a command prints on a terminal."""

    def command() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["toprung", *map(str, arguments)])
            main()

    return on_terminal(command)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweep]:
    """A sweep whose every name, reason and record holds the payload."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        sweep = hostile_sweep(tmp_path_factory.mktemp("sweeps"), PAYLOAD)
        record = sweep.folder.sealed_test
        (opening,) = json.loads(record.read_text())
        record.write_text(json.dumps([opening | {"opened_at": f"now{PAYLOAD}"}]))
        yield sweep


@pytest.fixture
def image(hostile: Sweep) -> Path:
    return next((hostile.folder.path.parent / "images").glob("*.png"))


class TestCommands:
    """Nothing of the payload comes out raw, and it is seen that it was there."""

    def check(self, *arguments: object, names: bool = True) -> str:
        text = said(*arguments)
        assert raw(text) == ""
        if names:
            assert r"\x1b]0;owned\x07" in text or r"\u001b]0;owned\u0007" in text
            assert r"\u202eevil\u2066" in text
        return text

    def test_status(self, hostile: Sweep) -> None:
        text = self.check("status", hostile.folder.path)
        assert f"now{SHOWN} for trial" in text
        assert "first reason: " in text

    def test_best(self, hostile: Sweep) -> None:
        text = self.check("best", hostile.folder.path)
        config = read_yaml(text.replace("\r\n", "\n"))
        assert config["data"]["source"].endswith(f"list{PAYLOAD}.csv")

    @pytest.mark.parametrize("options", [(), ("--json",)])
    def test_compare(self, options: tuple[str], hostile: Sweep) -> None:
        text = self.check("compare", hostile.folder.path, "--by", "data/source", *options)
        if options:
            (row,), _ = json.JSONDecoder().raw_decode(text)
            assert row["data/source"].endswith(f"list{PAYLOAD}.csv")

    def test_test_and_export(self, hostile: Sweep, tmp_path: Path) -> None:
        self.check("test", hostile.folder.path)
        self.check("export", hostile.folder.path, "--to", tmp_path / f"e{PAYLOAD}")

    def test_predict_and_inspect(self, hostile: Sweep, image: Path, tmp_path: Path) -> None:
        self.check("predict", hostile.folder.best, image)
        self.check("inspect", hostile.folder.best, image, "--json")
        self.check("inspect", hostile.folder.best, image, "--to", tmp_path / f"i{PAYLOAD}")

    def test_evaluate(self, hostile: Sweep) -> None:
        data = hostile.folder.path.parent / f"list{PAYLOAD}.csv"
        self.check("evaluate", hostile.folder.best, data, "--json")
        self.check("evaluate", hostile.folder.best, data)

    def test_describe(self, hostile: Sweep, tmp_path: Path) -> None:
        space = tmp_path / "space.py"
        space.write_text(SPACE)
        text = self.check("describe", space).replace("\r\n", "\n")
        assert f"What is searched{SHOWN}.\n\nFurther lines{SHOWN}.\n" in text
        self.check("describe", hostile.folder.best)

    @pytest.mark.parametrize(
        "arguments",
        [
            *(["status", "{}"], ["best", "{}"], ["resume", "{}"], ["predict", "{}", "{}"]),
            *(["run", "{}"], ["run", "--config", "{}"], ["run", "digits_cnn", "--set", "{}=1"]),
            *(["run", "digits_cnn", "--set", "{}"], ["run", "digits_cnn", "--data", "{}"]),
            *(["run", "digits_cnn", "--trials", "{}"], ["run", "digits_cnn", "--{}"], ["{}"]),
            *(["run", "digits_cnn", "--name", "a/{}"], ["run", "digits_cnn", "--address", "{}"]),
            *(["run", "digits_cnn", "--storage", "{}"], ["jobs", "--address", "http://{}"]),
            *(["evaluate", "{}", "{}"], ["describe", "{}.yaml"], ["compare", "{}", "{}"]),
            *(["dashboard", "{}"], ["fetch", "{}"], ["report", "{}"], ["inspect", "{}", "{}"]),
            *(["run", "digits_cnn", "--warm-start", "{}"], ["status", "s3://{}"]),
        ],
        ids=" ".join,
    )
    def test_what_is_refused(self, arguments: list[str]) -> None:
        text = self.check(*(argument.format(PAYLOAD) for argument in arguments), names=False)
        assert re.search(r"^(error|Error|Usage): ", text)

    def test_lines_of_others_are_indented(self, tmp_path: Path) -> None:
        text = said("status", tmp_path / "a\nerror: b\nsweep c: finished")
        assert text.count("\n") == 3
        assert all(line.startswith("  ") for line in text.splitlines()[1:])

    def test_an_error_that_nobody_expected(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fails(*_: object, **__: object) -> None:
            raise RuntimeError(f"{PAYLOAD}\nmore")

        monkeypatch.setattr("toprung.api.open_sweep", fails)

        def command() -> None:
            try:
                monkeypatch.setattr("sys.argv", ["toprung", "best", "x"])
                main()
            except RuntimeError as error:
                sys.excepthook(RuntimeError, error, error.__traceback__)  # as the interpreter does

        text = on_terminal(command).replace("\r\n", "\n")
        assert raw(text) == ""
        assert f"RuntimeError: {SHOWN}\nmore\n" in text


@pytest.fixture(scope="module")
def report(hostile: Sweep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "report"
    assert raw(said("report", hostile.folder.path, "--to", folder)) == ""
    return folder


class TestReport:
    def test_page_and_figures(self, report: Path) -> None:
        for name in ("report.html", "figures.json"):
            text = (report / name).read_text("utf-8")
            assert raw(text) == ""
            assert "evil" in text
        assert "שלום" in (report / "report.html").read_text("utf-8")

    def test_the_traceback_has_its_lines(self, report: Path) -> None:
        page = (report / "report.html").read_text("utf-8")
        assert "Traceback (most recent call last):\n  File " in page

    def test_what_an_export_holds(self, hostile: Sweep) -> None:
        for path in hostile.folder.best.glob("*"):
            if path.suffix != ".safetensors":
                text = path.read_text("utf-8")
                assert raw(text) == "", path.name
        assert r"\\u202eevil" in (hostile.folder.best / "README.md").read_text("utf-8")


@contextlib.contextmanager
def job_server() -> Iterator[str]:
    """One that answers as Ray's does, with the payload in each text."""
    job = {
        "type": "SUBMISSION",
        "submission_id": f"job{PAYLOAD}",
        "status": "FAILED",
        "entrypoint": PAYLOAD,
        "message": f"Why\n{PAYLOAD}",
        "metadata": {"toprung": "1", "toprung_sweep": f"/sweeps/a{PAYLOAD}"},
        "start_time": 1,
        "end_time": 2,
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            import ray

            if self.path.endswith("/version"):
                body: Any = {"version": "4", "ray_version": ray.__version__, "ray_commit": "0"}
            elif self.path.endswith("/logs"):
                body = {"logs": f"one{PAYLOAD}\n\ttwo\n"}
            else:
                body = [job] if self.path.endswith("/jobs/") else job
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_what_a_cluster_answers() -> None:
    with job_server() as address:
        listed = said("jobs", "--address", address)
        log = said("logs", f"job{PAYLOAD}", "--address", address)
    assert raw(listed) == raw(log) == ""
    assert SHOWN in listed
    assert f"one{SHOWN}\r\n\ttwo" in log


class TestTheLiveDisplay:
    def shown(self) -> str:
        """A sweep of one trial that fails, with a live table and somebody who prints meanwhile."""

        def sweep() -> None:
            settings = SweepSettings(trials=1)
            console = PrintableConsole(stderr=True)
            assert console.is_terminal
            progress = Progress(f"mine [red]{PAYLOAD}", settings, console, Packing(settings))
            trial = WatchedTrial("0", 0)
            progress.on_begin()
            progress.on_start(trial)
            print(f"printed{PAYLOAD}\x1b]8;;http://evil\x07 [bold]")
            failure = failure_report(CODE_ERROR, f"{PAYLOAD}\nmore :warning:")
            progress.on_report(trial, failure)
            progress.on_close()

        return on_terminal(sweep)

    def test_of_a_sweep(self) -> None:
        text = self.shown()
        assert raw(text) == ""
        assert "\x1b[?25l" in text
        assert text.rstrip().endswith("\x1b[?25h")
        plain = re.sub(OWN, "", text)
        assert f"trial 0 failed: {SHOWN}\\nmore :warning:\n" in plain
        assert f"printed{SHOWN}\\x1b]8;;http://evil\\x07 [bold]" in plain.replace("\n", "")
        assert "sweep mine [red]\\x1b]0;owned" in plain

    def test_the_streams_are_given_back(self) -> None:
        before = sys.stdout, sys.stderr
        self.shown()
        assert (sys.stdout, sys.stderr) == before


def test_tensorboard_s_files(tmp_path: Path) -> None:
    folder = SimpleNamespace(tensorboard=tmp_path, trial_name=lambda number: f"trial_{number}")
    name = f"labels/{PAYLOAD}"
    callback = TensorBoardCallback(folder, [name], SimpleNamespace(attempt=lambda act: act()))  # type: ignore[arg-type]
    trial = WatchedTrial("0", 0, json.dumps({"labels": {PAYLOAD: PAYLOAD}}))
    callback._files["0"], callback._best["0"] = EventFile(tmp_path), (trial, {"best/loss": 1.0})
    callback.on_end(trial, {})
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    assert b"evil" in content
    assert b"\x1b]" not in content
    assert "\u202e".encode() not in content
    assert f"labels/{printable_line(PAYLOAD)}".encode() in content


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    rooms = ("search_spaces", "trainables", "toprung", "analysis")
    paths = [path for room in rooms for path in (ROOT / room).rglob("*.py")]
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in paths}


class TestThatNoDoorIsForgotten:
    """What writes to a terminal is in few places, each of which uses the one function."""

    def test_consoles_are_made_by_one_class(self, trees: dict[str, ast.Module]) -> None:
        made = {
            name
            for name, tree in trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Console"
        }
        assert not made

    def test_prints_are_known(self, trees: dict[str, ast.Module]) -> None:
        prints = {
            name
            for name, tree in trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
        }
        to_stderr = {"trainables/data/progress.py", "toprung/secrecy/tracebacks.py"}
        assert prints <= {*to_stderr, *PROGRAMS}

    def test_nobody_goes_round_the_streams(self, trees: dict[str, ast.Module]) -> None:
        around = re.compile(r"sys\.__std|sys\.std(out|err)\.buffer|os\.write\([12],")
        assert not [name for name, tree in trees.items() if around.search(ast.unparse(tree))]

    def test_every_program_has_the_door(self) -> None:
        """Those whose output a user sees, directly or out of a log."""
        for name in PROGRAMS:
            assert "print_only_printable()" in (ROOT / name).read_text()


def test_the_door_is_the_outermost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", sys.stdout)
    monkeypatch.setattr("sys.stderr", sys.stderr)
    print_only_printable()
    assert isinstance(sys.stdout, PrintableStream)
    assert isinstance(sys.stderr, PrintableStream)
