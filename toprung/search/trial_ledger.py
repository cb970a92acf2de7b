"""A running trial: its reports so far, and how the study records its end."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from toprung import events
from toprung.analysis.sweep_folder import attributes
from toprung.storage.optuna_internals import running_trial
from toprung.trainables.results import columns
from toprung.trainables.results.failures import DIVERGED, GPU_OUT_OF_MEMORY, OUT_OF_MEMORY
from toprung.trainables.results.records import Record

OF_THE_SPACE = {
    DIVERGED: "stays finite",
    OUT_OF_MEMORY: "fits in memory",
    GPU_OUT_OF_MEMORY: "fits in memory",
}
"""The constraint that each of these kinds of failure violates; the sampler learns to avoid it."""


@dataclass
class RunningTrial:
    """A trial that Ray runs.

    Attributes:
        trial: the trial in the study.
        metric: the metric by which trials are compared.
        resources: its CPUs and GPUs, by Ray's names.
        confirms: the number of the trial that it confirms, if any.
        last: its last validation so far.
        best: its best validation so far.
        failure: the kind and the reason, if it has failed, or its process has died.
        traceback: the traceback of the failure, if there is one.
    """

    trial: optuna.Trial
    metric: str
    resources: Mapping[str, float]
    confirms: int | None = None
    last: Record | None = None
    best: Record | None = None
    failure: tuple[str, str] | None = None
    traceback: str = ""

    @classmethod
    def again(
        cls,
        study: optuna.Study,
        trial: FrozenTrial,
        metric: str,
        resources: Mapping[str, float],
    ) -> "RunningTrial":
        """A trial that has run before."""
        attrs = trial.user_attrs
        return cls(
            running_trial(study, trial),
            metric,
            resources,
            attrs.get(attributes.CONFIRMS),
            _record(attrs.get(attributes.LAST)),
            _record(attrs.get(attributes.BEST)),
        )

    def note(self, result: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Record a report; returns its events: none if a resumed trial repeats the report."""
        report = dict(result)
        if columns.FAILURE in report:
            self.failure = report[columns.FAILURE_KIND], report[columns.FAILURE]
            self.traceback = report[columns.TRACEBACK] or ""
            return []
        record, best = columns.record_of(report), columns.best_record_of(report)
        if self.last and record.validation <= self.last.validation:
            return []
        value = getattr(record, self.metric)
        self.trial.report(value, record.validation)
        self.trial.set_user_attr(attributes.LAST, asdict(record))
        if best != self.best:
            self.trial.set_user_attr(attributes.BEST, asdict(best))
        self.last, self.best = record, best
        return [events.reported(self.trial.number, record, value, report[columns.SCORE])]

    def end(self, ended: str) -> tuple[TrialState, str, float | None]:
        """The state, the reason and the value that the study records for this end."""
        match ended:
            case attributes.FAILED:
                return self._fail()
            case attributes.FINISHED:
                return TrialState.COMPLETE, "", getattr(self.best, self.metric)
        if self.best:
            return TrialState.PRUNED, "", None
        return TrialState.FAIL, "no validation before the sweep ended", None

    def _fail(self) -> tuple[TrialState, str, None]:
        assert self.failure is not None
        kind, reason = self.failure
        self.trial.set_user_attr(attributes.FAILURE_KIND, kind)
        if self.traceback:
            self.trial.set_user_attr(attributes.TRACEBACK, self.traceback)
        if kind in OF_THE_SPACE and self.confirms is None:
            self.trial.set_constraint(OF_THE_SPACE[kind], 1.0)
            return TrialState.PRUNED, reason, None  # samplers ignore trials in state FAIL
        return TrialState.FAIL, reason, None


def _record(values: Mapping[str, Any] | None) -> Record | None:
    return Record(**values) if values else None
