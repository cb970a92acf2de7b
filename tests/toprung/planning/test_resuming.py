"""A sweep that was killed, or is given more to do, goes on with what it would have done anyway.

The trials are pretended, and there is no Ray (see `benchmarks/kills`, which kills such sweeps at
every write point); all else is Toprung's own.
"""

import json
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from benchmarks.kills.facts import decisions, differences, ended_trials, facts_of, lost
from benchmarks.kills.pretended.sweep import SPACE, begin, go_on
from benchmarks.kills.strikes import run_struck
from toprung.analysis.study.sweep_record import SweepRecord
from toprung.analysis.study.trials import has_score
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.analysis.sweep_folder.study_place import StudyPlace
from toprung.cluster.replaced import replaced
from toprung.errors import ToprungError
from toprung.search import proposals
from toprung.storage import driver_lock, study_database
from toprung.trainables.files import atomic_files
from toprung.trainables.training import trial_in_folder
from toprung.tune.searcher import StudySearcher

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
FROZEN = Path(__file__).with_name("frozen_decisions.jsonl")


@dataclass(frozen=True)
class Kill:
    """Kills a sweep where it calls a function for the so-manieth time.

    With `half_of`, half of what this argument of the call would append is written first.
    """

    owner: Any
    name: str
    call: int
    half_of: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def set(self) -> None:
        """From now on, in this process."""
        calls = 0
        original: Callable[..., Any] = getattr(self.owner, self.name)

        def struck(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls < self.call:
                return original(*arguments, **options)
            if self.half_of is not None:
                path, data = arguments
                original(path, data[: len(data) // 2])
            return os.kill(os.getpid(), signal.SIGKILL)

        setattr(self.owner, self.name, struck)


STAGED = {"space": "benchmarks.kills.spaces.staged", "trials": 4}
CONFIRMED = {"trials": 4, "confirm": 1, "seeds": 2}
KILLS = {  # `benchmarks.kills` strikes at every point
    "in a transaction": Kill(study_database, "write_study_attributes", 9),
    "in a line of the decisions": Kill(study_database, "append", 8, half_of=1),
    "while a checkpoint is written": Kill(atomic_files, "flush_folder", 9),
    "before a failure ends the trial": Kill(StudySearcher, "_end", 5),
    "when the sweep had just ended": Kill(study_database.StudyFile, "close", 1),
    "when a stage has just begun": Kill(StudySearcher, "_start", 3, settings=STAGED),
    "in a run that confirms": Kill(trial_in_folder, "to_report", 11, settings=CONFIRMED),
}


class Whole:
    """What sweeps come to that are left alone, each run once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._facts: dict[str, dict[str, Any]] = {}

    def facts(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Of the sweep with these settings."""
        name = "_".join(f"{key}={value}" for key, value in sorted(settings.items()))
        if name not in self._facts:
            begin(self._folder / name, **settings)
            self._facts[name] = facts_of(self._folder / name)
        return self._facts[name]


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with replaced(proposals, "NUM_REHEARSALS", 10):
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return Whole(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sweep"


@pytest.mark.parametrize("moment", KILLS)
def test_what_a_killed_sweep_decides_is_what_it_would_have(
    moment: str, whole: Whole, path: Path
) -> None:
    kill = KILLS[moment]
    settings = {"trials": 5} | kill.settings

    def be_killed() -> None:
        kill.set()
        begin(path, **settings)

    outcome = run_struck(be_killed, path, None)
    assert outcome.code == -signal.SIGKILL, outcome.error
    before = ended_trials(path)
    go_on(path)
    assert lost(before, path) == []
    assert differences(whole.facts(settings), facts_of(path)) == []


def test_the_same_space_seed_and_curves_give_the_same_decisions(path: Path) -> None:
    """TPE, ASHA, a trial that diverges, one that fails, networks that cannot exist."""
    begin(path, SPACE)
    frozen = FROZEN.read_text("utf-8").splitlines()
    assert [_rounded(line) for line in decisions(path)] == [_rounded(line) for line in frozen]


def _rounded(line: str) -> Any:
    """Processors differ in the last digits."""
    return json.loads(line, parse_float=lambda number: f"{float(number):.6g}")


def ended(path: Path) -> dict[int, tuple[str, float]]:
    """How each trial ended, and after which epoch."""
    return {trial.number: (trial.ended, trial.last_epoch) for trial in SweepRecord(path).trials()}


class TestMoreToDo:
    def test_more_trials_are_those_that_a_longer_sweep_would_have_tried(
        self, whole: Whole, path: Path
    ) -> None:
        begin(path, trials=3)
        go_on(path, trials="+2")
        found = differences(whole.facts({"trials": 5}), facts_of(path))
        assert found == []

    def test_with_more_epochs_those_go_on_that_had_come_to_their_end(self, path: Path) -> None:
        begin(path, trials=4)
        before = ended(path)
        go_on(path, max_epochs=5)
        finished = [number for number, (how, _) in before.items() if how == "finished"]
        assert finished
        for number, (how, epoch) in ended(path).items():
            reports = SweepFolder(path).reports(number)
            assert [report["validation"] for report in reports] == [*range(1, int(epoch) + 1)]
            if number in finished:
                assert how == "stopped early" or epoch == 5
                assert epoch > 3
            else:
                assert (how, epoch) == before[number]

    def test_with_more_time_those_go_on_that_were_cut_short(self, whole: Whole, path: Path) -> None:
        begin(path, trials=5, time_budget=1e-3)
        assert {how for how, _ in ended(path).values()} == {"time budget"}
        go_on(path, time_budget="1h")
        facts, again = whole.facts({"trials": 5}), facts_of(path)
        for number in range(5):
            expected, found = facts[f"trial {number}"], again[f"trial {number}"]
            assert found["intermediate"] == expected["intermediate"]
            assert found["user"]["ended"] == expected["user"]["ended"]

    def test_less_time_is_no_more_to_do(self, path: Path) -> None:
        begin(path, trials=2, time_budget="1h")
        with pytest.raises(ToprungError, match="must be at least 3600 s, which the sweep"):
            go_on(path, time_budget="10m")

    def test_trials_need_time(self, path: Path) -> None:
        begin(path, trials=5, time_budget=1e-3)
        before = SweepFolder(path).decisions.read_text("utf-8")
        with pytest.raises(ToprungError, match="is used up; add more"):
            go_on(path, trials="+2")
        assert SweepFolder(path).decisions.read_text("utf-8") == before

    def test_a_new_best_of_a_search_that_goes_on_is_confirmed(self, path: Path) -> None:
        """The search was cut off by its time after two trials, and its best were confirmed."""
        begin(path, trials=2, confirm=1, seeds=2, time_budget="1h")
        _cut_off_by_time(path, trials=6)
        go_on(path, time_budget="+1h")
        sweep = SweepRecord(path)
        confirmation = sweep.confirmation()
        assert len(sweep.trials()) >= 6
        assert confirmation is not None
        assert confirmation.done
        best = max(
            trial.best.val_accuracy for trial in sweep.trials() if trial.best and has_score(trial)
        )
        assert [candidate.first for candidate in confirmation.candidates] == [best]

    def test_a_sweep_with_nothing_more_to_do_stays_as_it_is(self, path: Path) -> None:
        begin(path, trials=2)
        before = SweepFolder(path).decisions.read_text("utf-8")
        go_on(path)
        assert SweepFolder(path).decisions.read_text("utf-8") == before


def _cut_off_by_time(path: Path, trials: int) -> None:
    """Let a sweep that has ended stand as one whose time was used up before all its trials."""
    study = SweepRecord(path).study
    settings = study.user_attrs[attributes.SETTINGS] | {"trials": trials}
    study.set_user_attr(attributes.SETTINGS, settings)
    study.set_user_attr(attributes.SWEEP_ENDED, attributes.TIME_BUDGET)


def test_a_trial_whose_process_dies_each_time_is_given_up(path: Path) -> None:
    begin(path, trials=1, overrides={"labels/dies": True})
    (trial,) = SweepRecord(path).trials()
    assert (trial.ended, trial.failure) == ("failed", "worker lost")
    assert trial.last_epoch == 1


def test_a_second_driver_is_refused_and_told_of_the_first(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(path, trials=1)
    monkeypatch.setattr(driver_lock, "MAX_SECONDS_TO_WAIT", 0.0)
    with (
        driver_lock.driver_lock(SweepFolder(path)),
        pytest.raises(ToprungError, match=rf"is being run by process {os.getpid()} on \S+"),
    ):
        go_on(path, trials="+1")


def test_a_disk_that_is_full_at_the_start_is_told_and_nothing_is_left(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(place: StudyPlace) -> None:
        raise OperationalError(place.url, {}, sqlite3.OperationalError("database or disk is full"))

    monkeypatch.setattr(study_database, "open_storage", full)
    with pytest.raises(ToprungError, match="cannot be opened: database or disk is full"):
        begin(path)
    assert not path.exists()
