"""The whole command, two trials at a time, killed in each of its phases and resumed.

With two trials at a time the order of reports is the machine's, so there is no sweep to compare
with; what must hold of each is in `benchmarks.kills.invariants`.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from benchmarks.kills.invariants import broken
from benchmarks.kills.processes import command, descendants, state

MAX_SECONDS = 300.0
_SETTINGS = {
    "--trials": 10,
    "--max-epochs": 4,
    "--concurrency": 2,
    "--confirm": 2,
    "--seeds": 2,
}


@dataclass(frozen=True)
class Phase:
    """A part of the command.

    Attributes:
        name: of the phase.
        begun: whether it has begun, by what a sweep's folder holds.
        span: how long it takes at the most, in seconds; the kill comes within that.
    """

    name: str
    begun: Callable[[Path], bool]
    span: float


def _logged(sweep: Path, text: str) -> bool:
    with suppress(FileNotFoundError):
        return text in (sweep / "decisions.jsonl").read_text("utf-8")
    return False


PHASES = (
    Phase("search", lambda sweep: _logged(sweep, '"suggested"'), 6.0),
    Phase("confirmation", lambda sweep: _logged(sweep, '"event": "confirmation"'), 3.0),
    Phase("test", lambda sweep: _logged(sweep, '"what": "finished"'), 1.5),
    Phase("export", lambda sweep: (sweep / "best").exists(), 0.3),
    Phase("report", lambda sweep: (sweep / "report").exists(), 6.0),
)
RESUMED = "search, then resume"
"""The phase in which a sweep is killed once more, while it is resumed."""


@dataclass
class Struck:
    """What became of the sweeps that were killed in one phase.

    Attributes:
        kills: how many there were.
        late: kills that found the command at its end already; not counted.
        problems: every invariant that did not hold.
    """

    kills: int = 0
    late: int = 0
    problems: list[str] = field(default_factory=list)


class PhasesCampaign:
    """Kills real sweeps.

    Args:
        folder: for the sweeps.
        seed: of the moments.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._random = random.Random(seed)
        self._number = 0

    def run(self, times: int, names: Sequence[str] = ()) -> dict[str, Struck]:
        """Kill a sweep so many times in each phase, and as often again while it is resumed.

        Args:
            times: for each phase.
            names: of the phases; all if empty.
        """
        rows = {}
        for phase in PHASES:
            if not names or phase.name in names:
                rows[phase.name] = self._phase(phase, times, resumes=0)
        if not names or RESUMED in names:
            rows[RESUMED] = self._phase(PHASES[0], times, resumes=1)
        return rows

    def _phase(self, phase: Phase, times: int, resumes: int) -> Struck:
        struck = Struck()
        for turn in range(times):
            self._number += 1
            sweep = self._folder / f"sweep_{self._number}"
            whole_group = turn % 2 == 1
            self._strike(sweep, phase, resumes, struck, whole_group=whole_group)
            shutil.rmtree(sweep)
        return struck

    def _strike(
        self, sweep: Path, phase: Phase, resumes: int, struck: Struck, *, whole_group: bool
    ) -> None:
        settings = [str(part) for option in _SETTINGS.items() for part in option]
        place = ["--out", str(sweep.parent), "--name", sweep.name]
        driver = _toprung(sweep, "run", "digits_cnn", *place, *settings)
        _wait(driver, lambda: phase.begun(sweep))
        sleep(self._random.uniform(0, phase.span))
        killed = _kill(driver, whole_group=whole_group)
        for _ in range(resumes):
            driver = _toprung(sweep, "resume", str(sweep))
            sleep(self._random.uniform(3, 12))
            killed |= _kill(driver, whole_group=whole_group)
        struck.kills += killed
        struck.late += not killed
        where = f"{phase.name}: {sweep.name}"
        if (code := _toprung(sweep, "resume", str(sweep)).wait(MAX_SECONDS)) != 0:
            struck.problems.append(f"{where}: exit {code}: {_log(sweep).read_text()[-1500:]}")
            return
        struck.problems += [f"{where}: {problem}" for problem in broken(sweep)]
        struck.problems += [f"{where}: {problem}" for problem in _left_over(sweep)]


def _left_over(sweep: Path) -> list[str]:
    """What a killed process left half-written, and a resumed one did not remove."""
    kinds = (".tmp", "-wal", "-shm", "-journal")
    files = [path for path in sweep.rglob("*") if path.name.endswith(kinds)]
    missing = [n for n in ("report/report.html", "best/config.json") if not (sweep / n).exists()]
    return [f"left over: {path.relative_to(sweep)}" for path in files] + [
        f"missing: {name}" for name in missing
    ]


def _toprung(sweep: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    with _log(sweep).open("ab") as log:
        code = "from toprung.cli.main import main; main()"
        return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=log, stderr=log)


def _log(sweep: Path) -> Path:
    return sweep.with_suffix(".log")


def _wait(driver: "subprocess.Popen[bytes]", begun: Callable[[], bool]) -> None:
    deadline = monotonic() + MAX_SECONDS
    while not begun() and driver.poll() is None:
        if monotonic() > deadline:
            raise TimeoutError(f"process {driver.pid} did not come so far")
        sleep(0.002)


def _kill(driver: "subprocess.Popen[bytes]", *, whole_group: bool) -> bool:
    """Kill the driver, or it and all that it started; false if it had ended before."""
    ours = list(descendants(driver.pid))
    ended = driver.poll() is not None
    for pid in [driver.pid, *(ours if whole_group else [])]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    driver.wait()
    deadline = monotonic() + 60
    # Ray's agents try for a minute to reach a server that is gone; they know nothing of the sweep.
    while left := [pid for pid in ours if state(pid) not in ("", "Z")]:
        if all("Agent" in command(pid) for pid in left) or monotonic() > deadline:
            break
        sleep(0.05)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return not ended
