"""A sweep's study in PostgreSQL: as in its own file, also when the server goes away and returns."""

import threading
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.study import StudyDirection
from sqlalchemy import make_url

from tests.support.postgres import PostgresServer
from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.analysis.sweep_folder.study_place import StudyPlace
from toprung.errors import ToprungError
from toprung.planning.study_location import new_study_place
from toprung.storage import retry
from toprung.storage.retry import Patience, RecordLostError
from toprung.storage.study_database import StudyFile


@pytest.fixture
def url(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """Without the password, which libpq takes from the environment."""
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    monkeypatch.setattr(retry, "SECONDS_BETWEEN_TRIES", 0.05)
    return postgres.url.replace(f":{postgres.password}@", "@")


class Writer:
    """A study in memory with its copy in the database, and what the user was told."""

    def __init__(self, place: StudyPlace, log: Path, *, new: bool = True) -> None:
        self.told: list[str] = []
        self.waits = threading.Event()
        self.patience = Patience(self._tell)
        direction = StudyDirection.MAXIMIZE if new else None
        self.file = StudyFile(place, log, self.patience, direction)
        self.study = optuna.create_study(direction="maximize")

    def _tell(self, line: str) -> None:
        self.told.append(line)
        self.waits.set()

    def one_more(self) -> None:
        trial = self.study.ask()
        trial.suggest_float("optimizer/lr", 0.1, 1)
        trial.report(0.1 + 0.2, 1)
        self.study.tell(trial, 0.1 + 0.2)
        self.file.write([{"event": "test", "trial": trial.number}], [self.study.trials[-1]])


@pytest.fixture
def writer(url: str, tmp_path: Path) -> Iterator[Writer]:
    place = new_study_place(url, SweepFolder(tmp_path / tmp_path.name))
    writer = Writer(place, tmp_path / "decisions.jsonl")
    yield writer
    writer.file.close()


def test_the_server_goes_away_and_returns(
    writer: Writer, postgres: PostgresServer, url: str, tmp_path: Path
) -> None:
    writer.one_more()
    postgres.stop()
    thread = threading.Thread(target=writer.one_more)
    thread.start()
    try:
        assert writer.waits.wait(30)
        assert thread.is_alive()
    finally:
        postgres.start()
    thread.join(30)
    assert not thread.is_alive()
    assert "cannot be written" in writer.told[0]
    assert "continues" in writer.told[1]
    place = StudyPlace(url, tmp_path.name)
    again = Writer(place, tmp_path / "again.jsonl", new=False).file
    assert [event["trial"] for _, event in again.events()] == [0, 1]
    assert [trial.params for trial in again.trials] == [t.params for t in writer.study.trials]
    assert [trial.value for trial in again.trials] == [0.1 + 0.2] * 2
    again.close()
    assert (tmp_path / "again.jsonl").read_text() == (tmp_path / "decisions.jsonl").read_text()


def test_a_user_who_has_waited_enough(writer: Writer, postgres: PostgresServer) -> None:
    postgres.stop()
    try:
        writer.patience.end()
        with pytest.raises(RecordLostError, match="cannot be written"):
            writer.one_more()
        assert writer.patience.lost is not None
    finally:
        postgres.start()


def test_a_second_writer_is_noticed(writer: Writer, url: str, tmp_path: Path) -> None:
    other = Writer(StudyPlace(url, tmp_path.name), tmp_path / "other.jsonl", new=False)
    writer.one_more()
    with pytest.raises(ToprungError, match="another process is writing it"):
        other.one_more()
    other.file.close()


def test_what_cannot_be_a_storage(url: str, writer: Writer, tmp_path: Path) -> None:
    taken = SweepFolder(tmp_path / tmp_path.name)
    secret = make_url(url).set(password="pass-word").render_as_string(hide_password=False)
    wrong = make_url(url).set(database="nowhere").render_as_string()
    for storage, problem in (
        ("no url", "must be a URL"),
        ("mysql://localhost/x", "must be a postgresql:// URL"),
        (secret, "leave the password out"),
        (f"{url}?password=pass-word", "leave the password out"),
        (wrong, 'cannot be used: .* database "nowhere" does not exist'),
        (url, "already has a study"),
    ):
        with pytest.raises(ToprungError, match=problem) as caught:
            new_study_place(storage, taken)
        assert "pass-word" not in str(caught.value)
