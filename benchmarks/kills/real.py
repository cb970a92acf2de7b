"""A real sweep, on Ray, whose driver, worker or Ray server is killed at random moments."""

import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from benchmarks.kills import facts
from benchmarks.kills.processes import command, descendants, is_worker, state
from benchmarks.kills.tally import Tally
from toprung.analysis.sweep_folder.folder import SweepFolder

MAX_SECONDS = 300.0
MAX_SECONDS_WITHOUT_SERVER = 30.0
_RUN = "import toprung; toprung.run('digits_cnn', out={out!r}, name={name!r}, **{settings!r})"
_RESUME = "import toprung; toprung.resume({path!r})"


@dataclass(frozen=True)
class Moment:
    """When to kill.

    Attributes:
        seconds: after the sweep has got its folder.
        writing: wait for the next write of a checkpoint then.
    """

    seconds: float
    writing: bool


class RealCampaign:
    """One kind of sweep, killed again and again.

    Args:
        folder: for the sweeps.
        settings: of the sweep.
        seed: of the moments.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], seed: int) -> None:
        self._folder = folder
        folder.mkdir()
        self._settings = settings
        self._random = random.Random(seed)
        self._numbers = count()
        path = self._next()
        driver = self._start(path)
        started = _wait_for_sweep(path, driver)
        if driver.wait(MAX_SECONDS) != 0:
            raise RuntimeError(_told(path))
        self._span = monotonic() - started
        self._expected = facts.facts_of(path)

    def kill(self, whom: str, times: int) -> Tally:
        """Kill the `driver`, the `worker` or Ray's `server`; each time in a new sweep."""
        tally, started = Tally(), monotonic()
        for number in range(times):
            moment = Moment(self._random.uniform(0, 0.85 * self._span), number % 2 == 1)
            self._kill(whom, moment, tally)
        tally.seconds = monotonic() - started
        return tally

    def _kill(self, whom: str, moment: Moment, tally: Tally) -> None:
        path = self._next()
        driver = self._start(path)
        _wait_for_sweep(path, driver)
        sleep(moment.seconds)
        writing = moment.writing and _wait_for_write(path, driver)
        ours = [driver.pid, *descendants(driver.pid)]
        for pid in _victims(whom, ours):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        tally.kills += 1
        tally.where["while a checkpoint was written" if writing else "at any moment"] += 1
        told = f"{whom} killed after {moment.seconds:.2f} s in {path}"
        print(told, flush=True)
        before = facts.ended_trials(path)
        tally.restored += len(before.going_on)
        if whom == "server":
            _wait_for_driver(driver, told, tally)
        if whom != "worker":
            driver.wait()
            _wait_for_end(ours[1:], told, tally)
            has_begun = SweepFolder(
                path
            ).settings.exists()  # a sweep without a trial leaves nothing
            driver = self._resumed(path) if has_begun else self._start(path)
        if driver.wait(MAX_SECONDS) != 0:
            tally.failed += 1
            tally.problems.append(f"{told}: exit {driver.returncode}: {_told(path)}")
            return
        lost = facts.lost(before, path)
        ended = facts.facts_of(path)
        if whom == "server":
            facts.leave_out_interrupted_bests(ended, self._expected)
        found = facts.differences(self._expected, ended)
        tally.lost += len(lost)
        tally.differing += sum(difference.startswith("decision") for difference in found)
        tally.failed += bool(found or lost)
        tally.problems += [f"{told}: {difference}" for difference in [*found, f"lost {lost}"]] * (
            bool(found or lost)
        )

    def _next(self) -> Path:
        return self._folder / f"sweep_{next(self._numbers)}"

    def _start(self, path: Path) -> subprocess.Popen[bytes]:
        out = str(path.parent)
        return _python(_RUN.format(out=out, name=path.name, settings=self._settings), path)

    def _resumed(self, path: Path) -> subprocess.Popen[bytes]:
        return _python(_RESUME.format(path=str(path)), path)


def _python(code: str, path: Path) -> subprocess.Popen[bytes]:
    with _log(path).open("ab") as log:
        return subprocess.Popen([sys.executable, "-c", code], stdout=log, stderr=log)


def _log(path: Path) -> Path:
    return path.with_suffix(".log")


def _told(path: Path) -> str:
    """The end of what the drivers have said."""
    return _log(path).read_text("utf-8")[-3000:]


def _wait_for_sweep(path: Path, driver: subprocess.Popen[bytes]) -> float:
    """Return when the sweep has its folder."""
    while not SweepFolder(path).settings.exists():
        if driver.poll() is not None:
            raise RuntimeError(_told(path))
        sleep(0.01)
    return monotonic()


def _wait_for_write(path: Path, driver: subprocess.Popen[bytes]) -> bool:
    """Return when a checkpoint is being written; false if the sweep is over before."""
    while driver.poll() is None:
        if any(path.glob("trials/*/.checkpoint*")):
            return True
    return False


def _victims(whom: str, ours: list[int]) -> list[int]:
    """Of a driver and what it has started."""
    if whom == "driver":
        return ours[:1]
    if whom == "worker":
        return [pid for pid in ours if is_worker(pid)]
    return [pid for pid in ours if "gcs_server" in command(pid)]


def _wait_for_driver(driver: subprocess.Popen[bytes], told: str, tally: Tally) -> None:
    """A driver whose Ray has lost its server ends by itself, long before Ray notices."""
    try:
        driver.wait(MAX_SECONDS_WITHOUT_SERVER)
    except subprocess.TimeoutExpired:
        tally.failed += 1
        tally.problems.append(f"{told}: still runs after {MAX_SECONDS_WITHOUT_SERVER:.0f} s")
        driver.kill()


def _wait_for_end(pids: list[int], told: str, tally: Tally) -> None:
    """Ray ends by itself when its driver is gone.

    But its agents, which know nothing of the sweep, try for a minute to tell Ray's server, which is
    gone too; they are ended here.
    """
    deadline = monotonic() + 60
    while left := [pid for pid in pids if state(pid) not in ("", "Z")]:
        if all("Agent" in command(pid) for pid in left) or monotonic() > deadline:
            break
        sleep(0.05)
    for pid in left:
        if "Agent" not in command(pid):
            tally.failed += 1
            tally.problems.append(f"{told}: left running: {command(pid)}")
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
