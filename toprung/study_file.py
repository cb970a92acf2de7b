"""The sweep's study on disk, in Optuna's own tables.

While a sweep runs, its study is in memory, and what an event changed of a trial is written here
in one transaction. Optuna's storage takes a transaction and several queries for every parameter,
value and attribute: some 25 of them, and more than 100 ms, for a trial of one epoch.
"""

import copy
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Table, event, insert, update
from sqlalchemy.exc import OperationalError

from analysis.folder import STUDY_NAME

_TRIALS: Table = models.TrialModel.__table__
_PARAMETERS: Table = models.TrialParamModel.__table__
_VALUES: Table = models.TrialValueModel.__table__
_INTERMEDIATE: Table = models.TrialIntermediateValueModel.__table__
_USER: Table = models.TrialUserAttributeModel.__table__
_SYSTEM: Table = models.TrialSystemAttributeModel.__table__


@dataclass
class _Written:
    """What of a trial that has not ended is in the file."""

    id: int
    steps: set[int] = field(default_factory=set)
    attributes: dict[tuple[str, str], Any] = field(default_factory=dict)


class StudyFile:
    """Writes a sweep's study, for whoever wants to read it while the sweep runs, and afterwards.

    Args:
        url: an Optuna storage URL that has no study of a sweep yet.
        direction: whether the score is to be large or small.
    """

    def __init__(self, url: str, direction: StudyDirection) -> None:
        storage = RDBStorage(url)
        self._engine = storage.engine
        self._study = optuna.create_study(
            study_name=STUDY_NAME, storage=storage, direction=direction
        )
        self._study_id = self._study._study_id
        self._unended: dict[int, _Written] = {}
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _log_ahead)
            self._engine.dispose()

    def set_user_attr(self, name: str, value: Any) -> None:
        """Set an attribute of the study itself."""
        self._study.set_user_attr(name, value)

    def write(self, trial: FrozenTrial) -> None:
        """Write what is new of a trial; all of it is in the file when this returns."""
        written = copy.deepcopy(self._unended.get(trial.number))
        with self._engine.begin() as connection:
            written = written or self._begin(connection, trial)
            _write_intermediate_values(connection, trial, written)
            _write_attributes(connection, _USER, trial.user_attrs, written)
            _write_attributes(connection, _SYSTEM, trial.system_attrs, written)
            if trial.state.is_finished():
                _end(connection, trial, written)
        self._unended[trial.number] = written  # not before all of it is in the file
        if trial.state.is_finished():
            del self._unended[trial.number]

    def close(self) -> None:
        """Leave one plain file behind, which can be copied, and read where nothing is writable."""
        self._study._storage.remove_session()
        if self._engine.dialect.name == "sqlite":
            event.remove(self._engine, "connect", _log_ahead)
            self._engine.dispose()
            # Where another process reads at this moment, the log is folded in when that ends.
            with suppress(OperationalError), self._engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = DELETE")
        self._engine.dispose()

    def _begin(self, connection: Connection, trial: FrozenTrial) -> _Written:
        row = insert(_TRIALS).values(
            number=trial.number,
            study_id=self._study_id,
            state=TrialState.RUNNING,
            datetime_start=_utc(trial.datetime_start),
        )
        key = connection.execute(row).inserted_primary_key
        assert key is not None
        id_ = int(key[0])
        rows = [
            {
                "trial_id": id_,
                "param_name": name,
                "param_value": distribution.to_internal_repr(trial.params[name]),
                "distribution_json": distribution_to_json(distribution),
            }
            for name, distribution in trial.distributions.items()
        ]
        if rows:
            connection.execute(insert(_PARAMETERS), rows)
        return _Written(id_)


def _log_ahead(connection: Any, record: Any) -> None:
    """SQLite's write-ahead log: no waiting for the disk, and no damage if the process is killed."""
    del record
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _write_intermediate_values(
    connection: Connection, trial: FrozenTrial, written: _Written
) -> None:
    represent = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
    rows = []
    for step in trial.intermediate_values.keys() - written.steps:
        value, kind = represent(trial.intermediate_values[step])
        rows.append(
            {
                "trial_id": written.id,
                "step": step,
                "intermediate_value": value,
                "intermediate_value_type": kind,
            }
        )
        written.steps.add(step)
    if rows:
        connection.execute(insert(_INTERMEDIATE), rows)


def _write_attributes(
    connection: Connection, table: Table, attributes: Mapping[str, Any], written: _Written
) -> None:
    new = []
    for name, value in attributes.items():
        is_new = (table.name, name) not in written.attributes
        if not is_new and written.attributes[table.name, name] == value:
            continue
        row = {"trial_id": written.id, "key": name, "value_json": json.dumps(value)}
        if is_new:
            new.append(row)
        else:
            of_this = (table.c.trial_id == written.id) & (table.c.key == name)
            connection.execute(update(table).where(of_this).values(row))
        written.attributes[table.name, name] = value
    if new:
        connection.execute(insert(table), new)


def _end(connection: Connection, trial: FrozenTrial, written: _Written) -> None:
    rows = []
    for objective, number in enumerate(trial.values or ()):
        value, kind = models.TrialValueModel.value_to_stored_repr(number)
        rows.append(
            {"trial_id": written.id, "objective": objective, "value": value, "value_type": kind}
        )
    if rows:
        connection.execute(insert(_VALUES), rows)
    ended = {"state": trial.state, "datetime_complete": _utc(trial.datetime_complete)}
    connection.execute(update(_TRIALS).where(_TRIALS.c.trial_id == written.id).values(ended))


def _utc(local: datetime | None) -> datetime | None:
    """As Optuna keeps times: in UTC, and without saying so."""
    return local and local.astimezone(UTC).replace(tzinfo=None)
