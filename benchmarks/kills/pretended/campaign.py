"""A sweep of pretended trials, killed at every write point in turn."""

import random
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic

from benchmarks.kills import facts, strikes
from benchmarks.kills.pretended.sweep import begin, go_on
from benchmarks.kills.strikes import Strike, run_struck
from benchmarks.kills.tally import Tally
from toprung.analysis.sweep_folder.folder import SweepFolder

PLACE = "benchmarks.kills.spaces"


@dataclass(frozen=True)
class Scenario:
    """A sweep, and what of it is struck.

    Attributes:
        name: for the table.
        act: what is struck, in the folder of the sweep.
        act_again: what the user does after it.
        prepare: what was done before, without being struck.
    """

    name: str
    act: Callable[[Path], None]
    act_again: Callable[[Path], None] = go_on
    prepare: Callable[[Path], None] | None = None


_more = partial(go_on, trials=7, max_epochs=5)


def _warm(path: Path) -> None:
    begin(path, warm_start=path.parent / "other", trials=5, seed=1)


def _other(path: Path) -> None:
    begin(path.parent / "other", trials=12)


SCENARIOS = (
    Scenario("tpe", begin),
    Scenario("staged", partial(begin, space=f"{PLACE}.staged", trials=8)),
    Scenario("grid", partial(begin, space=f"{PLACE}.grid")),
    Scenario("confirmed", partial(begin, confirm=2, seeds=2, trials=5)),
    Scenario("extended", _more, _more, partial(begin, trials=5)),
    Scenario(
        "confirmed, extended",
        _more,
        _more,
        partial(begin, confirm=2, seeds=2, trials=5),
    ),
    Scenario("warm start", _warm, prepare=_other),
)

MODES: dict[str, Callable[[int], Strike]] = {
    "killed before": lambda at: Strike(strikes.KILL_BEFORE, at),
    "killed in the middle": lambda at: Strike(strikes.KILL_IN_THE_MIDDLE, at),
    "disk full for a while": lambda at: Strike(strikes.DISK_FULL, at, 40),
    "disk full for good": lambda at: Strike(strikes.DISK_FULL, at),
    "killed, torn last lines": lambda at: Strike(strikes.KILL_BEFORE, at),
    "killed twice": lambda at: Strike(strikes.KILL_IN_THE_MIDDLE, at),
}


class Campaign:
    """One scenario, struck at every so many of its write points.

    Args:
        scenario: what is struck.
        folder: for the sweeps.
    """

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self._scenario = scenario
        self._folder = folder
        self._path = folder / "sweep"
        self._before = folder / "before"
        folder.mkdir()
        if scenario.prepare is not None:
            self._done(partial(scenario.prepare, self._path))
            if self._path.exists():
                shutil.copytree(self._path, self._before)
        self.count = self._done(partial(scenario.act, self._fresh()))
        self._expected = facts.facts_of(self._path)
        if self._expected["ended"] != "finished":
            raise RuntimeError(f"{scenario.name}: ended as {self._expected['ended']}")

    def run(self, mode: str, every: int, offset: int) -> Tally:
        """Strike it at all of these write points."""
        tally, started = Tally(), monotonic()
        for at in range(1 + offset % every, self.count + 1, every):
            self._strike(mode, at, tally)
        tally.seconds = monotonic() - started
        return tally

    def _strike(self, mode: str, at: int, tally: Tally) -> None:
        path = self._fresh()
        outcome = run_struck(partial(self._scenario.act, path), path, MODES[mode](at))
        tally.kills += 1
        tally.where[_kind(outcome.struck)] += 1
        told = f"{self._scenario.name}, {mode} {at} ({outcome.struck})"
        if SweepFolder(path).settings.exists():
            self._resume(path, mode, at, told, tally)
            return
        tally.not_begun += 1
        if "disk full" in mode:
            _check_told(outcome, told, tally)
        shutil.rmtree(path, ignore_errors=True)
        self._compare(run_struck(partial(self._scenario.act, path), path, None), told, tally)

    def _resume(self, path: Path, mode: str, at: int, told: str, tally: Tally) -> None:
        before = facts.ended_trials(path)
        tally.restored += len(before.going_on)
        if "torn" in mode:
            _tear(path, before.trials)
        act_again = partial(self._scenario.act_again, path)
        if "twice" in mode:
            second = random.Random(at).randint(1, self.count)
            run_struck(act_again, path, Strike(strikes.KILL_BEFORE, second))
        self._compare(run_struck(act_again, path, None), told, tally)
        lost = facts.lost(before, path)
        if lost and not self._before.exists():  # where a sweep is extended, trials go on
            tally.lost += len(lost)
            tally.problems.append(f"{told}: lost {lost}")

    def _compare(self, outcome: strikes.Outcome, told: str, tally: Tally) -> None:
        if outcome.code != 0:
            tally.failed += 1
            tally.problems.append(f"{told}: exit {outcome.code}: {outcome.error}")
            return
        found = facts.differences(self._expected, facts.facts_of(self._path))
        tally.differing += sum(difference.startswith("decision") for difference in found)
        tally.failed += bool(found)
        tally.problems += [f"{told}: {difference}" for difference in found]

    def _fresh(self) -> Path:
        shutil.rmtree(self._path, ignore_errors=True)
        if self._before.exists():
            shutil.copytree(self._before, self._path)
        return self._path

    def _done(self, action: Callable[[], None]) -> int:
        outcome = run_struck(action, self._path, None)
        if outcome.code != 0:
            raise RuntimeError(outcome.error)
        return outcome.count


def _check_told(outcome: strikes.Outcome, told: str, tally: Tally) -> None:
    """A sweep that could not begin says why, in a line."""
    last = outcome.error.strip().rpartition("\n")[2]
    if outcome.code == 1 and not any(
        word in last for word in ("ToprungError", "RecordLostError", "OSError")
    ):
        tally.failed += 1
        tally.problems.append(f"{told}: not told: {outcome.error}")


def _tear(path: Path, ended: Collection[int]) -> None:
    """Leave half a line where lines are appended."""
    folder = SweepFolder(path)
    have_ended = [folder.result_log(number) for number in ended]
    going_on = [log for log in path.glob("trials/*/result.json") if log not in have_ended]
    for file in [folder.decisions, *going_on]:
        if file.exists():
            with file.open("ab") as log:
                log.write(b'{"event": "rep')


def _kind(struck: str) -> str:
    """The call, and the kind of its file."""
    call, _, path = struck.partition(" ")
    name = Path(path.removesuffix(" (deleted)")).name
    if name.endswith(".tmp"):
        name = name.lstrip(".").partition(".")[0] + " (temporary)"
    if "tfevents" in name:
        name = "events"
    if name.startswith("trial_"):
        name = "trial's folder"
    return f"{call} {name}" if struck else "not struck"


def chosen(names: list[str]) -> Iterator[Scenario]:
    """The scenarios of these names; all if there are none."""
    return (scenario for scenario in SCENARIOS if not names or scenario.name in names)
