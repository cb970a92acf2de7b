"""The columns of a trial's reports: their names, all in one place."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from toprung.trainables.results.records import Record, Validation, history_of, with_best
from toprung.trainables.system.secrecy import redacted

CHECKPOINT_FILE = "checkpoint.pt"
"""The one checkpoint in a trial's folder."""

SCORE = "score"
"""The metric of the trial's best validation so far, which ASHA compares at its rungs."""
EPOCH = "epoch"
VALIDATION = "validation"
FINISHED = "finished"
STEPS = "steps"
"""The logged steps, each a mapping of its figures."""
FROZEN_PART = "frozen_part"
"""Whether the outputs of the frozen part are stored, or why not; empty if nothing is frozen."""
PRECISION = "precision"
RESTARTED = "restarted"
"""Why the trial had to start over; absent if it did not."""
REPLAYED = "replayed"
"""True for a validation reported again from the checkpoint, after which the trial continued: it is
to be recorded if it is missing, but no decision may depend on it. Absent otherwise."""
FAILURE = "failure"
"""The reason why the trial failed, in one line."""
FAILURE_KIND = "failure_kind"
"""One of `toprung.trainables.results.failures.KINDS`."""
TRACEBACK = "traceback"
_BEST = "best_"


def to_report(validation: Validation, metric: str) -> dict[str, Any]:
    """The columns of one validation's report: the record, the best record so far, the score."""
    best = {f"{_BEST}{name}": value for name, value in asdict(validation.best).items()}
    score = getattr(validation.best, metric)
    return {
        **asdict(validation.record),
        **best,
        SCORE: score,
        FINISHED: validation.finished,
        STEPS: [asdict(step) for step in validation.steps],
        FROZEN_PART: validation.frozen_part,
        PRECISION: validation.precision,
    }


def reports_in(checkpoint: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The columns of each validation in a checkpoint; `FINISHED` is False for all of them."""
    metric, precision = checkpoint["config"]["training"]["metric"], checkpoint.get("precision")
    for record, best, steps in with_best(history_of(checkpoint), metric):
        validation = Validation(record, best, False, _not_saved, steps, precision or "fp32")
        yield to_report(validation, metric)


def _not_saved(folder: Path) -> None:
    raise NotImplementedError(f"{folder}: the checkpoint is there")


def failure_report(kind: str, reason: str, traceback: str | None = None) -> dict[str, Any]:
    """The columns of a failed trial's report; without a score, so that ASHA ignores it."""
    return {
        FAILURE: redacted(reason),
        FAILURE_KIND: kind,
        TRACEBACK: traceback and redacted(traceback),
    }


def record_of(report: dict[str, Any]) -> Record:
    """The record of the validation that this report is about."""
    return Record(**{name: report[name] for name in Record.__annotations__})


def best_record_of(report: Mapping[str, Any]) -> Record:
    """The best record up to this report."""
    return Record(**{name: report[_BEST + name] for name in Record.__annotations__})
