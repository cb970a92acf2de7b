"""What is known of a trial after each validation, or why there is none."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainables.config import METRICS


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
    `frozen_part` says what is done about what is frozen: stored, or why not; or nothing.
    """

    record: Record
    best: Record
    finished: bool
    save_checkpoint: Callable[[Path], None]
    steps: tuple[LoggedStep, ...] = ()
    precision: str = "fp32"
    frozen_part: str = ""


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
