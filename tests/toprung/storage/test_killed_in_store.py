"""A sweep in an object store whose driver and trials are killed at once, and whose copy is lost.

Their checkpoints have what trials had reported then, and are ahead of the study in the store: the
mirror is held back here, as it may be by a second. The trials are pretended; the store is real.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event

from benchmarks.kills.invariants import read_study
from benchmarks.kills.pretended.sweep import begin, go_on
from tests.support.s3 import BUCKET, S3Server
from toprung.analysis.study.sweep_record import SweepRecord
from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.cluster.replaced import replaced
from toprung.search import proposals
from toprung.storage.working_copy import fetch_from_store
from toprung.trainables.files.object_store import ObjectStore
from toprung.trainables.results import columns
from toprung.trainables.training import trial_in_folder
from toprung.tune.callbacks.mirror import Mirror

EPOCHS = 5
SETTINGS: dict[str, Any] = {
    "trials": 6,
    "max_epochs": EPOCHS,
    "concurrency": 2,
    "trial_scheduler": "none",
    "confirm": 0,
}


class KilledError(BaseException):
    """Stands for the end of every process of a sweep."""


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with replaced(proposals, "NUM_REHEARSALS", 10):
        yield


@pytest.fixture
def url(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of a sweep that is not there yet; its working copies are the test's own."""
    del s3
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path / "cache"))
    return f"s3://{BUCKET}/{tmp_path.name}/sweep"


def be_killed(
    run: Callable[[], None], *, passes: tuple[int, ...], at: int, in_pass: bool = False
) -> None:
    """Run a sweep whose mirror passes only before these reports, and is killed before one.

    With `in_pass`, the last pass is killed as well, when the study is in the store, and no more.
    """
    mirrors: list[Mirror] = []
    calls = 0

    def held_back(mirror: Mirror) -> None:
        mirrors.append(mirror)

    def struck(*arguments: Any) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        if calls in passes:
            mirrors[0].bring_now()
        if calls == at:
            if in_pass:
                with pytest.raises(KilledError), replaced(Mirror, "_files", _kill):
                    mirrors[0].bring_now()
            raise KilledError
        return columns.to_report(*arguments)

    with (
        replaced(Mirror, "start", held_back),
        replaced(Mirror, "end", lambda _: None),
        replaced(trial_in_folder, "to_report", struck),
        pytest.raises(KilledError),
    ):
        run()


def _kill(*_: Any) -> None:
    raise KilledError


def checked(url: str, to: Path) -> SweepFolder:
    """The sweep as it came to its end: nothing is missing in it, and nothing there twice."""
    fetch_from_store(url, to)
    folder = SweepFolder(to)
    lines = [json.loads(line) for line in folder.decisions.read_text("utf-8").splitlines()]
    study, _ = read_study(folder.study)
    for number, trial in study.items():
        told = [event for event in lines if event.get("trial") == number]
        reported = [event for event in told if event["event"] == "reported"]
        validations = [event["validation"] for event in reported]
        assert validations == [*range(1, len(validations) + 1)], f"trial {number}"
        assert trial.values == {event["validation"]: event["value"] for event in reported}
        assert [event["event"] for event in told].count("ended") == 1
        reports = [said for said in folder.reports(number) if "validation" in said]
        assert [said["validation"] for said in reports] == validations
        assert [said["val_accuracy"] for said in reports] == [*trial.values.values()]
        assert curve(folder.tensorboard / folder.trial_name(number)) == validations
        if "best" in trial.attributes:
            best = max(trial.values.values())
            assert trial.attributes["best"]["val_accuracy"] == best
    return folder


def curve(folder: Path) -> list[int]:
    """The validations in a trial's event files, each as often as it is there."""
    return sorted(
        Event.FromString(raw).step
        for file in folder.glob("*")
        for raw in RawEventFileLoader(str(file)).Load()
        if any(value.tag == "loss/validation" for value in Event.FromString(raw).summary.value)
    )


def lines_of(url: str) -> dict[str, list[bytes]]:
    """The lines of all logs that are in the store."""
    store = ObjectStore(url)
    names = [name for name in store.list() if name.endswith((".jsonl", "result.json"))]
    return {name: (store.read(name) or b"").splitlines() for name in names}


@pytest.mark.parametrize("asha", [False, True], ids=["to the end", "with ASHA"])
def test_no_validation_is_lost_or_there_twice(
    asha: bool, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SETTINGS | ({"trial_scheduler": "asha"} if asha else {})
    be_killed(lambda: begin(url, **settings), passes=(3, 5), at=9 if asha else 17)
    before = lines_of(url)
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path / "another machine"))
    go_on(url)
    folder = checked(url, tmp_path / "fetched")
    trials = SweepRecord(folder.path).trials()
    assert sum(trial.ended == "finished" for trial in trials) >= 1
    if not asha:
        assert {trial.last_epoch for trial in trials if trial.ended == "finished"} == {EPOCHS}
    after = lines_of(url)
    assert {name: after[name][: len(lines)] for name, lines in before.items()} == before


def test_no_validation_is_lost_of_a_sweep_that_is_extended_and_killed_twice(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(url, **SETTINGS | {"trials": 4, "max_epochs": 2})
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path / "second"))
    be_killed(lambda: go_on(url, max_epochs=EPOCHS), passes=(), at=8)
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path / "third"))
    be_killed(lambda: go_on(url), passes=(), at=9)
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path / "fourth"))
    go_on(url)
    fetch_from_store(url, tmp_path / "fetched")
    trials, _ = read_study(tmp_path / "fetched" / "study.db")
    ended = [trial for trial in trials.values() if trial.state == "COMPLETE"]
    assert ended
    assert all([*trial.values] == [*range(1, EPOCHS + 1)] for trial in ended)


def test_logs_of_a_trial_whose_end_alone_was_in_the_study_are_completed(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SETTINGS | {"concurrency": 1, "max_epochs": 2, "trials": 3}
    be_killed(lambda: begin(url, **settings), passes=(1,), at=4, in_pass=True)
    assert not list(ObjectStore(url).list("tensorboard"))
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path / "another machine"))
    go_on(url)
    checked(url, tmp_path / "fetched")


def test_a_sweep_whose_end_alone_was_in_the_study_is_completed(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has nothing more to run."""
    original = Mirror._upload

    def killed(mirror: Mirror, trials: set[int] | None) -> None:
        if trials is None:
            with replaced(Mirror, "_files", _kill):
                original(mirror, trials)
        original(mirror, trials)

    with replaced(Mirror, "_upload", killed), pytest.raises(KilledError):
        begin(url, **SETTINGS | {"trials": 1})
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path / "another machine"))
    go_on(url)
    checked(url, tmp_path / "fetched")
