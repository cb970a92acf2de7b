"""The opening of a test set, killed at every write point, in a folder and in an object store.

`toprung test` is killed with -9. Then, of two copies of what it left, one is tested again, as a
user would who saw it die; and the other is resumed first with another winner, whose test is asked
for without force and then with it. What must hold is checked on the raw files.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import sleep

import torch
from click.testing import CliRunner

from benchmarks.kills.strikes import KILL_BEFORE, KILL_IN_THE_MIDDLE, Strike, run_struck
from toprung.analysis.sweep_folder.stored_files import publish
from toprung.analysis.sweep_folder.user_state import STATE_VARIABLE
from toprung.cli.main import toprung
from toprung.trainables.files.object_store import ObjectStore

_SWEEP = Path("sweeps", "digits")
_RUN = (
    "import toprung; toprung.run('digits_cnn', out={out!r}, name='digits', trials=2, max_epochs=2,"
    " confirm=0)"
)
_RESUME = "import toprung; toprung.resume({path!r}, max_epochs='+4')"
_TEST = (
    "import sys; from toprung.cli.main import main; sys.argv = ['toprung', 'test', {url!r}]; main()"
)
_MODES = {"before a write": KILL_BEFORE, "in the middle of a write": KILL_IN_THE_MIDDLE}
MOMENTS = (
    "test_openings/",
    ".toprung-openings/",
    "test_predictions/",
    "sealed_test.json",
)
"""What the store has when its opening is killed."""


@dataclass
class Row:
    """What was counted of one way to kill.

    Attributes:
        kills: openings that were killed.
        begun: of these, those whose intent was on disk.
        whole: of these, those whose result was on disk.
        completed: openings that the same model completed, without a mark.
        refused: other winners that were refused until forced, and marked then.
        lost: openings that nothing knows of any more.
        unmarked: sweeps with more than one opening that is not marked.
        shown: results that were shown and are not those of the opening left alone.
        problems: each a sentence.
    """

    kills: int = 0
    begun: int = 0
    whole: int = 0
    completed: int = 0
    refused: int = 0
    lost: int = 0
    unmarked: int = 0
    shown: int = 0
    problems: list[str] = field(default_factory=list)


class OpeningCampaign:
    """A sweep whose test set is opened again and again.

    Args:
        folder: for the sweeps.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._first, self._resumed = folder / "first", folder / "resumed"
        _python(_RUN.format(out=str(self._first / _SWEEP.parent)), self._first)
        shutil.copytree(self._first, self._resumed)
        _python(_RESUME.format(path=str(self._resumed / _SWEEP)), self._resumed)
        torch.set_num_threads(1)  # a child of fork would wait for ever for its parent's threads
        alone = self._copy("alone")
        self._accuracy = _accuracy(_command(alone, "test", str(alone / _SWEEP)))

    def in_a_folder(self) -> Iterator[tuple[str, Row]]:
        """Kill it at every write point, in both ways."""
        counted = self._copy("counted")
        count = run_struck(partial(_test, counted), counted, None).count
        for name, mode in _MODES.items():
            row = Row()
            for at in range(1, count + 1):
                home = self._copy("struck")
                outcome = run_struck(partial(_test, home), home, Strike(mode, at))
                if outcome.code != -signal.SIGKILL:
                    row.problems.append(f"{name} {at}: was not killed: {outcome}")
                    continue
                self._check(home, f"{name} {at} ({outcome.struck})", row)
            yield f"in a folder, {name}", row

    def in_a_store(self, url: str, times: int) -> Iterator[tuple[str, Row]]:
        """Kill the command as soon as the store has what it writes at each moment."""
        for moment in MOMENTS:
            row = Row()
            for number in range(times):
                self._kill_in_store(f"{url}/{moment.strip('./')}-{number}", moment, row)
            yield f"in a store, when it has {moment}", row

    def _kill_in_store(self, url: str, moment: str, row: Row) -> None:
        """The sweep is fetched again as the store has it, and checked as one in a folder."""
        store, sweep = ObjectStore(url), f"{url}/digits"
        publish(store.within("digits"), self._first / _SWEEP, self._first / _SWEEP)
        home = self._copy("of the store")  # with the user's records
        shutil.rmtree(home / _SWEEP)
        environment = {**os.environ, STATE_VARIABLE: str(home / "state")}
        command = [sys.executable, "-c", _TEST.format(url=sweep)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        while process.poll() is None and not any(moment in name for name in store.list()):
            sleep(0.005)
        process.kill()
        if process.wait() != -signal.SIGKILL:
            row.problems.append(f"{url}: was not killed: exit code {process.returncode}")
        for name in store.list():
            store.download(name, _made(home / _SWEEP.parent / name))
        self._check(home, f"{url} when it had {moment}", row)

    def _copy(self, name: str) -> Path:
        home = self._folder / name
        shutil.rmtree(home, ignore_errors=True)
        return shutil.copytree(self._first, home)

    def _check(self, home: Path, told: str, row: Row) -> None:
        row.kills += 1
        begun = any((home / _SWEEP / "test_openings").glob("[!.]*.json"))
        whole = (home / _SWEEP / "sealed_test.json").exists()
        row.begun += begun
        row.whole += whole
        other = self._folder / "other"
        shutil.rmtree(other, ignore_errors=True)
        shutil.copytree(home, other)
        self._complete(home, told, row)
        self._resume(other, told, row, begun=begun)

    def _complete(self, home: Path, told: str, row: Row) -> None:
        path = home / _SWEEP
        before = _command(home, "status", str(path))
        if "test accuracy" in before and _accuracy(before) != self._accuracy:
            row.shown += 1
            row.problems.append(f"{told}: is shown as {before}")
        after = _command(home, "test", str(path))
        record = json.loads((path / "sealed_test.json").read_text())
        if _accuracy(after) != self._accuracy or len(record) != 1 or record[0]["forced"]:
            row.problems.append(f"{told}: the same model has {record}")
        else:
            row.completed += 1
        row.lost += self._lost(home, told, 1, row)

    def _resume(self, home: Path, told: str, row: Row, *, begun: bool) -> None:
        path = home / _SWEEP
        shutil.copytree(self._resumed / _SWEEP, path, dirs_exist_ok=True)
        without = _command(home, "test", str(path), code=2 if begun else 0)
        if not begun:
            return
        forced = _command(home, "test", str(path), "--force")
        if "the test set was opened" in without and ", forced)" in forced:
            row.refused += 1
        else:
            row.problems.append(f"{told}: another winner: {without}; {forced}")
        intents = [json.loads(file.read_text()) for file in (path / "test_openings").iterdir()]
        if sum(not intent["forced"] for intent in intents) > 1:
            row.unmarked += 1
            row.problems.append(f"{told}: {intents}")
        row.lost += self._lost(home, told, 2, row)

    def _lost(self, home: Path, told: str, number: int, row: Row) -> int:
        """The openings that one of the ledgers does not have."""
        places = (home / _SWEEP.parent / ".toprung-openings", home / "state" / "openings")
        lost = max(number - len(list(place.glob("[!.]*.json"))) for place in places)
        if lost:
            row.problems.append(f"{told}: {lost} of {number} openings are in no ledger")
        return lost


def show(rows: dict[str, Row]) -> None:
    """Print the table."""
    names = ("kills", "begun", "whole", "completed", "refused", "lost", "unmarked", "shown")
    print("| opening killed | " + " | ".join(names) + " |")
    print("|---" * (1 + len(names)) + "|")
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(str(getattr(row, column)) for column in names) + " |")
    for problem in [problem for row in rows.values() for problem in row.problems][:8]:
        print(problem)


@contextmanager
def _state_of(home: Path) -> Iterator[None]:
    before = os.environ.get(STATE_VARIABLE)
    os.environ[STATE_VARIABLE] = str(home / "state")
    try:
        yield
    finally:
        if before is None:
            del os.environ[STATE_VARIABLE]
        else:
            os.environ[STATE_VARIABLE] = before


def _test(home: Path) -> None:
    with _state_of(home):
        toprung.main(["test", str(home / _SWEEP)], standalone_mode=False)


def _command(home: Path, *arguments: str, code: int = 0) -> str:
    """What a command says; a mistake that it tells is exit code 2."""
    with _state_of(home):
        done = CliRunner().invoke(toprung, list(arguments))
    if (code == 0) != (done.exception is None):
        raise RuntimeError(f"{arguments}: {done.output} {done.exception!r}")
    return str(done.exception or done.output)


def _accuracy(said: str) -> str:
    return said.partition("test accuracy ")[2].partition(",")[0]


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _python(code: str, home: Path) -> None:
    """Run it in a process of its own: one that has Ray cannot be forked."""
    home.mkdir(exist_ok=True)
    environment = {name: v for name, v in os.environ.items() if name != "LD_PRELOAD"}
    environment[STATE_VARIABLE] = str(home / "state")
    with (home / "log").open("ab") as log:
        done = subprocess.run([sys.executable, "-c", code], env=environment, stderr=log, stdout=log)
    if done.returncode:
        raise RuntimeError((home / "log").read_text()[-3000:])
