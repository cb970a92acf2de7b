"""The inventory of all that Toprung uses of Optuna beyond its public interface, in one place.

It is compared with the installed Optuna before a sweep's study is opened (`check_optuna`).
"""

import inspect
from importlib import import_module
from typing import Any

import optuna
from optuna.trial import FrozenTrial, create_trial

from toprung.errors import ToprungError

_MODELS = "optuna.storages._rdb.models"
_COLUMNS = {
    "TrialModel": ("trial_id", "number", "study_id", "state", "datetime_start"),
    "TrialParamModel": ("trial_id", "param_name", "param_value", "distribution_json"),
    "TrialValueModel": ("trial_id", "objective", "value", "value_type"),
    "TrialIntermediateValueModel": ("trial_id", "step", "intermediate_value"),
    "StudyUserAttributeModel": ("study_id", "key", "value_json"),
    "TrialUserAttributeModel": ("trial_id", "key", "value_json"),
    "TrialSystemAttributeModel": ("trial_id", "key", "value_json"),
}
"""Optuna's tables, and the columns that `study_rows` writes: one transaction for an event, where
Optuna's storage takes some 25 and more than 100 ms."""

_METHODS = {
    "TrialValueModel": "value_to_stored_repr",
    "TrialIntermediateValueModel": "intermediate_value_to_stored_repr",
}
"""How values are written that a column cannot hold, such as infinity."""


def model(name: str) -> Any:
    """Return the class of one of Optuna's tables.

    Raises:
        ToprungError: if the installed Optuna does not have it.
    """
    try:
        return getattr(import_module(_MODELS), name)
    except (ImportError, AttributeError):
        raise _unknown(f"{_MODELS}.{name} does not exist") from None


def trial_id(trial: FrozenTrial) -> int:
    """Return the id of a trial in its storage (public ones are numbers within a study)."""
    return int(trial._trial_id)


def running_trial(study: optuna.Study, trial: FrozenTrial) -> optuna.Trial:
    """Return a trial of the study that runs, to report to.

    Optuna's `ask` makes only new ones, or takes the oldest that waits, whichever that is.
    """
    return optuna.Trial(study, trial_id(trial))


def check_optuna() -> None:
    """See that the installed Optuna has all of these.

    Raises:
        ToprungError: if not.
    """
    for name, columns in _COLUMNS.items():
        if missing := sorted(set(columns) - set(model(name).__table__.columns.keys())):
            raise _unknown(f"{_MODELS}.{name} has no column {missing[0]}")
    for name, method in _METHODS.items():
        if not hasattr(model(name), method):
            raise _unknown(f"{_MODELS}.{name} has no method {method}")
    if list(inspect.signature(optuna.Trial).parameters) != ["study", "trial_id"]:
        raise _unknown("optuna.Trial is not made of a study and a trial_id")
    if not hasattr(create_trial(value=0.0), "_trial_id"):
        raise _unknown("a trial has no _trial_id")


def _unknown(misfit: str) -> ToprungError:
    return ToprungError(
        f"Optuna {optuna.__version__}: {misfit}, so the study of a sweep cannot be written; "
        "install a version of Optuna that Toprung supports (pyproject.toml says which)"
    )
