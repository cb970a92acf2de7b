"""The sweep's study in its database, with the decision log.

While a sweep runs, its study is in memory. The changes that an event made are written in one
transaction with the event itself, which has its own table beside Optuna's tables. So wherever a
sweep is killed, the database is in a state that the sweep has been in, from which it can resume.

By measurement an embedded SQLite file with a write-ahead log takes .5 ms for such a transaction,
flushed to disk: as long as appending to Optuna's journal file, and it is all or nothing.
"""

import copy
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import OptunaError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Double,
    Integer,
    MetaData,
    Table,
    delete,
    insert,
    select,
)
from sqlalchemy import event as sql_event
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from toprung.analysis.sweep_folder.files import write_atomically
from toprung.analysis.sweep_folder.study_database import open_storage, reason
from toprung.analysis.sweep_folder.study_place import StudyPlace
from toprung.errors import ToprungError
from toprung.storage.append import append
from toprung.storage.file_systems import is_on_a_network
from toprung.storage.optuna_internals import check_optuna
from toprung.storage.retry import Patience, RecordLostError
from toprung.storage.study_rows import (
    Written,
    insert_trial,
    read_written,
    write_changes,
    write_study_attributes,
)

Event = Mapping[str, Any]
"""A decision or a report: one line of the decision log."""

_EVENTS = Table(
    "toprung_events",
    MetaData(),
    Column("study_id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),  # seconds since 1970
    Column("event", JSON, nullable=False),
)


class StudyFile:
    """The persistent mirror of a sweep's study, for readers and for resuming.

    Args:
        place: the location of the study.
        log: the file with one event per line, which mirrors the database's events.
        patience: retries while the database or the disk is unavailable.
        direction: for a new study, whether its score is maximized or minimized; None opens an
            existing study.

    Attributes:
        attributes: the study's user attributes, as written.
        trials: the trials that the study had when it was opened.
        num_unknown_lines: how many lines of the log were not in the database.

    Raises:
        ToprungError: if the study cannot be opened or created.
    """

    def __init__(
        self,
        place: StudyPlace,
        log: Path,
        patience: Patience,
        direction: StudyDirection | None = None,
    ) -> None:
        self._log = log
        self._patience = patience
        self._place = place
        try:
            self._open(direction)
        except (OSError, SQLAlchemyError, OptunaError) as error:
            raise ToprungError(f"study in {place.url}: cannot be opened: {reason(error)}") from None

    def _open(self, direction: StudyDirection | None) -> None:
        check_optuna()
        place = self._place
        self._storage = open_storage(place)
        self._engine = self._storage.engine
        if place.file is not None and not is_on_a_network(place.file):
            sql_event.listen(self._engine, "connect", _log_ahead)
            self._engine.dispose()
        study = _opened(place.name, self._storage, direction)
        self._study_id = self._storage.get_study_id_from_name(place.name)
        _EVENTS.create(self._engine, checkfirst=True)
        self.attributes: dict[str, Any] = study.user_attrs
        self.trials = study.get_trials(deepcopy=False)
        self._unended = {trial.number: read_written(trial) for trial in self.trials}
        self._storage.remove_session()
        events = self.events()
        self._num_events = len(events)
        lines = [_line(event) for _, event in events]
        self.num_unknown_lines = _num_unknown(self._log, lines)
        write_atomically(self._log, "".join(lines))

    def events(self) -> list[tuple[float, Event]]:
        """All events, in order, each with its time in seconds since 1970."""
        wanted = select(_EVENTS.c.at, _EVENTS.c.event).where(_EVENTS.c.study_id == self._study_id)
        with self._engine.connect() as connection:
            rows = connection.execute(wanted.order_by(_EVENTS.c.number))
            return [(row.at, row.event) for row in rows]

    def write(
        self,
        events: Sequence[Event],
        trials: Sequence[FrozenTrial] = (),
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Write events, and the changes they made to trials and to the study: all or nothing.

        Raises:
            RecordLostError: if the database could not be written for too long, or another process
                writes the study.
        """
        assert events, "nothing changes without an event"
        rows = [
            {
                "study_id": self._study_id,
                "number": self._num_events + number,
                "at": time.time(),
                "event": event,
            }
            for number, event in enumerate(events)
        ]
        written = self._patience(lambda: self._written(rows, trials, attributes or {}))
        self._num_events += len(rows)
        self.attributes |= attributes or {}
        for trial in trials:
            self._unended[trial.number] = written[trial.number]
            if trial.state.is_finished():
                del self._unended[trial.number]
        lines = "".join(map(_line, events)).encode("utf-8")
        self._patience(lambda: append(self._log, lines))

    def discard(self) -> None:
        """Delete the study and its events."""
        with self._engine.begin() as connection:
            connection.execute(delete(_EVENTS).where(_EVENTS.c.study_id == self._study_id))
        self._storage.delete_study(self._study_id)
        self._storage.remove_session()

    def close(self) -> None:
        """Close the study; its file is then a single one that can be copied and read anywhere."""
        if sql_event.contains(self._engine, "connect", _log_ahead):
            sql_event.remove(self._engine, "connect", _log_ahead)
            self._engine.dispose()
            # If another process is reading now, SQLite merges the log when that one closes.
            with suppress(OperationalError), self._engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = DELETE")
        self._engine.dispose()

    def _written(
        self,
        rows: Sequence[Mapping[str, Any]],
        trials: Sequence[FrozenTrial],
        attributes: Mapping[str, Any],
    ) -> dict[int, Written]:
        """Write the rows in one transaction; returns the database's content for these trials."""
        written: dict[int, Written] = {}
        with self._engine.begin() as connection:
            if self._has(connection, rows[0]):  # the reply was lost, not the transaction
                return self._read(trials)
            try:
                connection.execute(insert(_EVENTS), rows)
            except IntegrityError:
                raise _another_writes(self._place) from None
            for trial in trials:
                known = copy.deepcopy(self._unended.get(trial.number))
                written[trial.number] = known or insert_trial(connection, self._study_id, trial)
                write_changes(connection, trial, written[trial.number])
            so_far = dict(self.attributes)
            write_study_attributes(connection, self._study_id, attributes, so_far)
        return written

    def _has(self, connection: Connection, row: Mapping[str, Any]) -> bool:
        """Whether the database has this event.

        Raises:
            RecordLostError: if it has another event with the same number.
        """
        this = (_EVENTS.c.study_id == self._study_id) & (_EVENTS.c.number == row["number"])
        found = connection.execute(select(_EVENTS.c.at).where(this)).scalar()
        if found not in (None, row["at"]):
            raise _another_writes(self._place)
        return found is not None

    def _read(self, trials: Sequence[FrozenTrial]) -> dict[int, Written]:
        identify = self._storage.get_trial_id_from_study_id_trial_number
        written = {
            trial.number: read_written(
                self._storage.get_trial(identify(self._study_id, trial.number))
            )
            for trial in trials
        }
        self._storage.remove_session()
        return written


def _opened(name: str, storage: RDBStorage, direction: StudyDirection | None) -> optuna.Study:
    if direction is None:
        return optuna.load_study(study_name=name, storage=storage)
    return optuna.create_study(study_name=name, storage=storage, direction=direction)


def _log_ahead(connection: Any, record: Any) -> None:
    """Set SQLite's write-ahead log: one flush per transaction, and readers never wait."""
    del record
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def _another_writes(place: StudyPlace) -> RecordLostError:
    return RecordLostError(f"study {place.name} in {place.url}: another process is writing it")


def _num_unknown(log: Path, known: Sequence[str]) -> int:
    """How many complete lines a log has after those that it has in common with the known ones."""
    text = log.read_text("utf-8", "replace") if log.is_file() else ""
    lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    pairs = zip(lines, known, strict=False)
    return len(lines) - sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _line(event: Event) -> str:
    return json.dumps(event) + "\n"
