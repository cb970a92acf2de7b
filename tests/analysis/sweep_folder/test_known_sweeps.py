"""The user's record of sweeps, as several processes and killed ones leave it."""

import threading
from pathlib import Path

import pytest

from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.analysis.sweep_folder.known_sweeps import (
    Place,
    known_places,
    new_id,
    note_working_copies,
    remember,
    url_of_working_copies,
)
from toprung.analysis.sweep_folder.user_state import STATE_VARIABLE

URL = "s3://bucket/sweeps?region=us-east-1"
IMAGES, WEIGHTS = Place("images", "/data"), Place("weights", "w.pth", "in words")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    return tmp_path / "state"


def places_of(sweep_id: str) -> set[Place]:
    return set(known_places(sweep_id) or ())


def test_has_what_was_added_whatever_its_words() -> None:
    sweep_id = new_id()
    assert known_places(sweep_id) is None
    remember(sweep_id, [IMAGES])
    remember(sweep_id, [IMAGES, WEIGHTS])
    assert places_of(sweep_id) == {IMAGES, Place("weights", "w.pth", "in other words")}
    assert known_places(new_id()) is None


def test_of_a_sweep_that_uses_nothing_it_knows_the_sweep() -> None:
    sweep_id = new_id()
    remember(sweep_id, [])
    assert known_places(sweep_id) == frozenset()


def test_is_the_user_s_alone(state: Path) -> None:
    remember(new_id(), [IMAGES])
    assert (state / "sweeps").stat().st_mode & 0o077 == 0
    assert [file.stat().st_mode & 0o077 for file in (state / "sweeps").iterdir()] == [0]


def test_outlives_a_torn_line(state: Path) -> None:
    sweep_id = new_id()
    remember(sweep_id, [IMAGES])
    file = state / "sweeps" / f"{sweep_id}.jsonl"
    for torn in (
        b'{"kind": "ima',
        b'["no place"]',
        b'{"kind": 1, "value": 2}',
        b"\xff\xfe",
        b"[" * 9999,
    ):
        with file.open("ab") as record:
            record.write(torn)
        assert places_of(sweep_id) == {IMAGES}
    remember(sweep_id, [WEIGHTS])
    assert places_of(sweep_id) == {IMAGES, WEIGHTS}


def test_several_can_add_at_once() -> None:
    sweep_id = new_id()
    places = [Place("images", f"/data/{number}") for number in range(20)]
    threads = [threading.Thread(target=remember, args=(sweep_id, [place])) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert places_of(sweep_id) == set(places)


@pytest.mark.parametrize("text", ["../../evil", "", "A" * 32, "0" * 31, "0" * 32 + "\n"])
def test_what_is_no_id_is_not_looked_up(text: str) -> None:
    assert known_places(text) is None


class TestWorkingCopies:
    def test_are_those_of_the_folder_that_was_noted(self, tmp_path: Path) -> None:
        note_working_copies(tmp_path / "cache", URL)
        assert url_of_working_copies(tmp_path / "cache") == URL
        assert url_of_working_copies(tmp_path) is None
        store = SweepFolder(tmp_path / "cache" / "mine").store
        assert store is not None
        assert store.url == "s3://bucket/sweeps/mine?region=us-east-1"
        assert SweepFolder(tmp_path / "mine").store is None

    def test_are_known_to_other_processes(self, tmp_path: Path, state: Path) -> None:
        note_working_copies(tmp_path / "cache", "s3://bucket/sweeps")
        (record,) = (state / "working_copies").iterdir()
        assert record.read_text() == "s3://bucket/sweeps"

    def test_are_known_to_this_one_where_nothing_can_be_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "a file").touch()
        monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "a file"))
        note_working_copies(tmp_path / "other", "s3://bucket/sweeps")
        assert url_of_working_copies(tmp_path / "other") == "s3://bucket/sweeps"
