"""The trials of a sweep, as recorded in its Optuna study, and the best of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import optuna

from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.analysis.sweep_folder.typed import typed
from toprung.trainables.config import METRICS, TrialConfig
from toprung.trainables.files.plain_yaml import read_yaml
from toprung.trainables.results.records import Record
from toprung.trainables.system.typed_settings import ConfigError, parse

METRIC_NAMES = {
    "val_accuracy": "validation accuracy",
    "val_mean_class_accuracy": "mean class accuracy on validation images",
    "val_loss": "validation loss",
}
"""The names of the metrics by which trials are selected."""


@dataclass(frozen=True)
class TrialResult:
    """One trial: its config, its results, and how it ended.

    `ended` is one of the words in `attributes`, or `running`; `best` is the record of the trial's
    best validation, `last` that of its last one; `values` maps validations to the metric; `started`
    and `completed` are in local time. For a run that confirms a trial of the search with another
    seed, `confirms` is the number of that trial. `failure` is one of `failures.KINDS`; it is empty
    for a trial that did not fail, and in sweeps of versions that did not record it.
    """

    number: int
    ended: str
    reason: str
    parameters: dict[str, Any]
    config: TrialConfig | None
    best: Record | None
    values: dict[int, float]
    started: datetime | None
    completed: datetime | None = None
    confirms: int | None = None
    failure: str = ""
    last: Record | None = None

    @property
    def last_epoch(self) -> float:
        """How many epochs the trial has trained, at its last validation."""
        return self.last.epoch if self.last else 0.0


def read_trials(study: optuna.Study) -> list[TrialResult]:
    """Every trial that was started or rejected, in order, without those copied from another sweep.

    Raises:
        SweepFolderError: if the study is damaged.
    """
    states = [state for state in optuna.trial.TrialState if state.name != "WAITING"]
    try:
        trials = study.get_trials(deepcopy=False, states=states)
    except Exception as error:  # for a damaged file, SQLAlchemy and Optuna raise any error
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise SweepFolderError(f"the study cannot be read: {reason}") from None
    return [
        trial_result(trial) for trial in trials if attributes.TAKEN_FROM not in trial.user_attrs
    ]


def select_best(trials: Sequence[TrialResult], metric: str) -> TrialResult | None:
    """The trial with the best validation; None if none was validated.

    Failed trials are left out. Every trial counts with its best validation, even if it was stopped
    early. In a tie, the lower validation loss wins, then the earlier trial.
    """
    scored = [trial for trial in trials if has_score(trial)]
    return max(scored, key=lambda trial: rank(trial, metric), default=None)


def best_configs(trials: Sequence[TrialResult], metric: str) -> list[TrialResult]:
    """The scored trials of a search, the best first, with only one trial for each config."""
    scored = [trial for trial in trials if has_score(trial) and trial.confirms is None]
    scored.sort(key=lambda trial: rank(trial, metric), reverse=True)
    distinct: dict[str, TrialResult] = {}
    for trial in scored:
        assert trial.config is not None
        distinct.setdefault(recipe(trial.config), trial)
    return list(distinct.values())


def recipe(config: TrialConfig) -> str:
    """A config without its seed and labels, which is equal for all runs of the same config."""
    return config.model_dump_json(exclude={"seed", "labels"})


def has_score(trial: TrialResult) -> bool:
    """Whether the trial was validated, and did not fail."""
    return trial.best is not None and trial.ended != attributes.FAILED


def rank(trial: TrialResult, metric: str) -> tuple[float, float, int]:
    """The sort key of a scored trial; the best trial has the largest."""
    assert trial.best is not None
    sign = 1 if METRICS[metric] == "max" else -1
    return sign * getattr(trial.best, metric), -trial.best.val_loss, -trial.number


def trial_result(trial: optuna.trial.FrozenTrial) -> TrialResult:
    """A trial as the study records it."""
    attrs, where = trial.user_attrs, f"trial {trial.number}"
    values = {
        "number": trial.number,
        "ended": attrs.get(attributes.ENDED, "running"),
        "reason": attrs.get(attributes.REASON, ""),
        "parameters": dict(trial.params),
        "best": attrs.get(attributes.BEST),
        "values": dict(trial.intermediate_values),
        "started": trial.datetime_start,
        "completed": trial.datetime_complete,
        "confirms": attrs.get(attributes.CONFIRMS),
        "failure": attrs.get(attributes.FAILURE_KIND, ""),
        "last": attrs.get(attributes.LAST),
    }
    try:
        text = typed(str, attrs.get(attributes.CONFIG, ""))
        if values["best"] and not text:
            raise ValueError("it has a result, but no config")
        return typed(TrialResult, values | {"config": _config(text, where) if text else None})
    except ConfigError:
        raise
    except ValueError as error:
        raise SweepFolderError(f"{where}: its record in the study is damaged: {error}") from None


@lru_cache(maxsize=10_000)
def _config(text: str, where: str) -> TrialConfig:
    """A trial's config, which never changes and takes milliseconds to read."""
    return parse(TrialConfig, read_yaml(text), where)
