"""Writes the changes of a trial to Optuna's own tables, in few statements.

Optuna's storage needs a transaction and several queries for every parameter, value and attribute:
about 25 of them, and more than 100 ms, for a trial of one epoch.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Table, delete, insert, update

from toprung.storage.optuna_internals import model, trial_id

_TRIALS: Table = model("TrialModel").__table__
_PARAMETERS: Table = model("TrialParamModel").__table__
_VALUES: Table = model("TrialValueModel").__table__
_INTERMEDIATE: Table = model("TrialIntermediateValueModel").__table__
_OF_STUDY: Table = model("StudyUserAttributeModel").__table__
_USER: Table = model("TrialUserAttributeModel").__table__
_SYSTEM: Table = model("TrialSystemAttributeModel").__table__


@dataclass
class Written:
    """The part of a trial that is in the database."""

    id: int
    state: TrialState
    parameters: set[str] = field(default_factory=set)
    steps: set[int] = field(default_factory=set)
    user: dict[str, Any] = field(default_factory=dict)
    system: dict[str, Any] = field(default_factory=dict)


def read_written(trial: FrozenTrial) -> Written:
    """The content of the database for a trial that was just read from it."""
    return Written(
        trial_id(trial),
        trial.state,
        set(trial.params),
        set(trial.intermediate_values),
        dict(trial.user_attrs),
        dict(trial.system_attrs),
    )


def insert_trial(connection: Connection, study_id: int, trial: FrozenTrial) -> Written:
    """Write the row of a new trial; the rest of the trial is still to be written."""
    row = insert(_TRIALS).values(
        number=trial.number,
        study_id=study_id,
        state=trial.state,
        datetime_start=_utc(trial.datetime_start),
        datetime_complete=_utc(trial.datetime_complete),
    )
    key = connection.execute(row).inserted_primary_key
    assert key is not None
    state = (
        TrialState.RUNNING if trial.state.is_finished() else trial.state
    )  # its values are not written yet
    return Written(int(key[0]), state)


def write_changes(connection: Connection, trial: FrozenTrial, written: Written) -> None:
    """Write the changes of a trial since `written`, and update that."""
    _write_parameters(connection, trial, written)
    _write_intermediate_values(connection, trial, written)
    trial_id = ("trial_id", written.id)
    _write_attributes(connection, _USER, trial_id, trial.user_attrs, written.user)
    _write_attributes(connection, _SYSTEM, trial_id, trial.system_attrs, written.system)
    if trial.state != written.state:
        _write_state(connection, trial, written)


def write_study_attributes(
    connection: Connection, study_id: int, attributes: Mapping[str, Any], written: dict[str, Any]
) -> None:
    """Write the changes of a study's user attributes since `written`, and update that."""
    _write_attributes(connection, _OF_STUDY, ("study_id", study_id), attributes, written)


def _write_parameters(connection: Connection, trial: FrozenTrial, written: Written) -> None:
    rows = [
        {
            "trial_id": written.id,
            "param_name": name,
            "param_value": distribution.to_internal_repr(trial.params[name]),
            "distribution_json": distribution_to_json(distribution),
        }
        for name, distribution in trial.distributions.items()
        if name not in written.parameters
    ]
    if rows:
        connection.execute(insert(_PARAMETERS), rows)
    written.parameters.update(trial.distributions)


def _write_intermediate_values(
    connection: Connection, trial: FrozenTrial, written: Written
) -> None:
    represent = model("TrialIntermediateValueModel").intermediate_value_to_stored_repr
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
    connection: Connection,
    table: Table,
    owner: tuple[str, int],
    attributes: Mapping[str, Any],
    written: dict[str, Any],
) -> None:
    new = []
    for name, value in attributes.items():
        if name in written and written[name] == value:
            continue
        row = {owner[0]: owner[1], "key": name, "value_json": json.dumps(value)}
        if name in written:
            of_this = (table.c[owner[0]] == owner[1]) & (table.c.key == name)
            connection.execute(update(table).where(of_this).values(row))
        else:
            new.append(row)
        written[name] = value
    if new:
        connection.execute(insert(table), new)


def _write_state(connection: Connection, trial: FrozenTrial, written: Written) -> None:
    """Write a trial's new state: that it has ended, or that it runs (again)."""
    connection.execute(delete(_VALUES).where(_VALUES.c.trial_id == written.id))
    rows = []
    for objective, number in enumerate(trial.values or ()):
        value, kind = model("TrialValueModel").value_to_stored_repr(number)
        rows.append(
            {"trial_id": written.id, "objective": objective, "value": value, "value_type": kind}
        )
    if rows:
        connection.execute(insert(_VALUES), rows)
    state = {
        "state": trial.state,
        "datetime_start": _utc(trial.datetime_start),
        "datetime_complete": _utc(trial.datetime_complete),
    }
    connection.execute(update(_TRIALS).where(_TRIALS.c.trial_id == written.id).values(state))
    written.state = trial.state


def _utc(local: datetime | None) -> datetime | None:
    """The time as Optuna stores it: in UTC, without a time zone."""
    return local and local.astimezone(UTC).replace(tzinfo=None)
