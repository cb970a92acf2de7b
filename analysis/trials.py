"""The trials of a sweep, as its Optuna study tells of them, and the best of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import optuna
import yaml

from analysis import attributes
from trainables.config import METRICS, TrialConfig
from trainables.record import Record
from trainables.settings import parse

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, where it is there."""

METRIC_NAMES = {
    "val_accuracy": "validation accuracy",
    "val_mean_class_accuracy": "mean class accuracy on validation images",
    "val_loss": "validation loss",
}
"""What trials are selected by, in words."""


@dataclass(frozen=True)
class TrialResult:
    """One trial: what was tried, what it reached, how it ended.

    `ended` is one of the words in `analysis.attributes`, or `running`; `best` is the record of
    the trial's best validation; `values` maps validations to the metric; `started` and `completed`
    are in local time. A run that confirms a trial of the search with another seed says which one
    it `confirms`.
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


def read_trials(study: optuna.Study) -> list[TrialResult]:
    """Every trial that was started or refused, in order."""
    states = [state for state in optuna.trial.TrialState if state.name != "WAITING"]
    return [_result(trial) for trial in study.get_trials(deepcopy=False, states=states)]


def select_best(trials: Sequence[TrialResult], metric: str) -> TrialResult | None:
    """The trial with the best validation; None if none was validated.

    Failed trials are left out. Every trial counts with its best validation, also one that was
    stopped early. A tie goes to the lower validation loss, then to the earlier trial.
    """
    scored = [trial for trial in trials if has_score(trial)]
    return max(scored, key=lambda trial: rank(trial, metric), default=None)


def has_score(trial: TrialResult) -> bool:
    """Whether the trial was validated, and did not fail."""
    return trial.best is not None and trial.ended != attributes.FAILED


def rank(trial: TrialResult, metric: str) -> tuple[float, float, int]:
    """Sorts trials that have a score; the best has the greatest."""
    assert trial.best is not None
    sign = 1 if METRICS[metric] == "max" else -1
    return sign * getattr(trial.best, metric), -trial.best.val_loss, -trial.number


def _result(trial: optuna.trial.FrozenTrial) -> TrialResult:
    attrs = trial.user_attrs
    config, best = attrs.get(attributes.CONFIG), attrs.get(attributes.BEST)
    where = f"trial {trial.number}"
    return TrialResult(
        number=trial.number,
        ended=attrs.get(attributes.ENDED, "running"),
        reason=attrs.get(attributes.REASON, ""),
        parameters=dict(trial.params),
        config=_config(config, where) if config else None,
        best=Record(**best) if best else None,
        values=dict(trial.intermediate_values),
        started=trial.datetime_start,
        completed=trial.datetime_complete,
        confirms=attrs.get(attributes.CONFIRMS),
    )


@lru_cache(maxsize=10_000)
def _config(text: str, where: str) -> TrialConfig:
    """A trial's config, which never changes and takes milliseconds to read."""
    return parse(TrialConfig, yaml.load(text, _LOADER), where)
