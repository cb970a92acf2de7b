"""The records of a trial's validations, and of its logged steps."""

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

    `epoch` counts epochs trained (1.5 after half of the second). `train_loss` and `train_accuracy`
    are means since the last validation, of the training loss; `val_loss` is plain cross-entropy.
    `lr` is the learning rate of the highest network stage that trains, in the last step. `seconds`
    is the trial's training and validation time so far.
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
        loss: the loss of its batch.
        gradient_norm: the norm of the gradient of all trainable parameters, after clipping.
        update_norm: the norm of the optimizer's update of these parameters.
    """

    step: int
    loss: float
    gradient_norm: float
    update_norm: float


@dataclass(frozen=True)
class Validation:
    """What `fit` yields after a validation.

    Attributes:
        record: this validation.
        best: the best validation so far.
        finished: whether the trial has finished; then no validation follows.
        save_checkpoint: writes a checkpoint into a folder.
        steps: the steps logged since the last validation.
        precision: the precision that `training/precision` resolved to on this machine.
        frozen_part: whether the outputs of the frozen part are stored, or why not; empty if
            nothing is frozen.
        before: all validations before this one, if it is the first that a resumed trial yields.
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
    """A history in the form of a checkpoint: by columns, some 90 bytes a validation."""
    records = _columns([record for record, _ in history], Record)
    return {"records": records, "steps": [_columns(steps, LoggedStep) for _, steps in history]}


def history_of(checkpoint: Mapping[str, Any]) -> History:
    """The history in a checkpoint; an older version's has only the last and the best validation."""
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
    """Each validation, the best one up to it, and the steps logged before it."""
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
    """Whether the losses of this record are finite."""
    return math.isfinite(record.train_loss) and math.isfinite(record.val_loss)
