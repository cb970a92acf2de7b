"""What is known of a trial after each validation, or why there is none."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from toprung.trainables.config import METRICS

T = TypeVar("T")


@dataclass(frozen=True)
class Record:
    """One validation of a trial.

    `epoch` counts epochs trained (1.5 after half of the second); the training figures are means
    since the last validation, with the loss that is trained on; `val_loss` is plain
    cross-entropy; `lr` is that of the highest stage that trains, in the last step; `seconds` is the
    trial's training and validation time so far.
    """

    validation: int
    epoch: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    val_mean_class_accuracy: float
    lr: float
    seconds: float


@dataclass(frozen=True)
class LoggedStep:
    """One step of training.

    Attributes:
        step: its number in the trial, from 1.
        loss: of its batch.
        gradient_norm: of the gradient of all parameters that train, as the optimizer gets it.
        update_norm: of what the optimizer added to them.
    """

    step: int
    loss: float
    gradient_norm: float
    update_norm: float


@dataclass(frozen=True)
class Validation:
    """What `fit` yields: this validation's record, the best so far, and how to keep the state.

    `finished` says that the trial has run its course; nothing follows. `steps` are those logged
    since the last validation. `precision` is what `training/precision` came to on this machine.
    `frozen_part` says what is done about what is frozen: stored, or why not; or nothing. `before`
    are all validations before this one, if it is the first that a resumed trial yields.
    """

    record: Record
    best: Record
    finished: bool
    save_checkpoint: Callable[[Path], None]
    steps: tuple[LoggedStep, ...] = ()
    precision: str = "fp32"
    frozen_part: str = ""
    before: "tuple[Validation, ...]" = ()


History = Sequence[tuple[Record, tuple[LoggedStep, ...]]]
"""All validations of a trial so far, each with the steps that were logged before it."""


def pack_history(history: History) -> dict[str, Any]:
    """A history as a checkpoint keeps it: by columns, some 90 bytes a validation."""
    records = _columns([record for record, _ in history], Record)
    return {"records": records, "steps": [_columns(steps, LoggedStep) for _, steps in history]}


def history_of(checkpoint: Mapping[str, Any]) -> History:
    """The history in a checkpoint; of one without, by an older version, the little that it has."""
    if "history" in checkpoint:
        packed = checkpoint["history"]
        steps = [tuple(_rows(columns, LoggedStep)) for columns in packed["steps"]]
        return list(zip(_rows(packed["records"], Record), steps, strict=True))
    last, best = Record(**checkpoint["record"]), Record(**checkpoint["best_record"])
    logged = tuple(LoggedStep(**step) for step in checkpoint.get("logged_steps", ()))
    return [*([(best, ())] if best.validation < last.validation else []), (last, logged)]


def with_best(
    history: History, metric: str
) -> Iterator[tuple[Record, Record, tuple[LoggedStep, ...]]]:
    """Each validation with the best up to it, and its steps."""
    best: Record | None = None
    for record, steps in history:
        best = record if best is None or is_better(record, best, metric) else best
        yield record, best, steps


def _columns(items: Sequence[Any], kind: type) -> dict[str, list[Any]]:
    return {field.name: [getattr(item, field.name) for item in items] for field in fields(kind)}


def _rows(columns: Mapping[str, list[Any]], kind: Callable[..., T]) -> list[T]:
    return [
        kind(**dict(zip(columns, values, strict=True)))
        for values in zip(*columns.values(), strict=True)
    ]


class DivergedError(RuntimeError):
    """The training or validation loss of a trial became NaN or infinite."""


def is_better(
    record: Record, other: Record | None, metric: str, *, break_ties: bool = True
) -> bool:
    """Whether `record` is strictly better by the metric; ties go to the lower validation loss."""
    if other is None:
        return True
    sign = 1 if METRICS[metric] == "max" else -1
    gain = sign * (getattr(record, metric) - getattr(other, metric))
    return gain > 0 or (break_ties and gain == 0 and record.val_loss < other.val_loss)


def is_finite(record: Record) -> bool:
    """Whether the losses of this record are numbers one can go on with."""
    return math.isfinite(record.train_loss) and math.isfinite(record.val_loss)
