"""Training one trial, in plain PyTorch. The caller may stop the generator after any validation."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from toprung.trainables.config import TrialConfig
from toprung.trainables.data import TrainingData
from toprung.trainables.inference.predict import score
from toprung.trainables.results.records import (
    DivergedError,
    LoggedStep,
    Record,
    Validation,
    is_finite,
    with_best,
)
from toprung.trainables.training.feature_inputs import open_inputs
from toprung.trainables.training.image_inputs import Inputs
from toprung.trainables.training.state import TrainingState
from toprung.trainables.training.steps import batch_bounds, train, validation_steps


def fit(
    config: TrialConfig,
    data: TrainingData,
    device: torch.device | None = None,
    resume_from: Path | None = None,
) -> Iterator[Validation]:
    """Train a trial, yielding after each validation.

    The same config, data and number of threads give the same numbers on the CPU, uninterrupted or
    resumed from any checkpoint: weights, dropout and augmentation draw from a random stream seeded
    by `config.seed`, and each epoch's order of images from (`config.seed`, epoch). The outputs of
    frozen layers may be computed each time or stored, depending on the disk space; then the numbers
    are the same up to rounding.

    A resumed trial first yields the checkpoint's validation again, with all validations before it;
    if that was the last one, nothing follows. It may have more `training/epochs` than the
    checkpoint's config: then an LR schedule over the whole trial continues at the longer schedule's
    value, and a trial that had run all its epochs resumes; one that had run out of patience stays
    finished.

    Args:
        config: the trial.
        data: its training and validation images.
        device: where to train; the CPU if not given.
        resume_from: a folder that `save_checkpoint` wrote to.

    Raises:
        DivergedError: when a loss becomes NaN or infinite.
        ImpossibleNetworkError: for a model that cannot be built for these images.
        ConfigError: for weights or a precision that are not available, a loss that does not fit
            the data, or a checkpoint of another trial.
        UnreadableCheckpointError: for a checkpoint that is truncated, or not a checkpoint.
        FreezeError: for a freeze policy that does not fit the model.
        DataError: for a cache folder that cannot be used.
    """
    device = device or torch.device("cpu")
    batches_per_epoch = len(batch_bounds(len(data.train_indices), config.training.batch_size))
    state = TrainingState(config, data, batches_per_epoch, device, resume_from=resume_from)
    if state.record:
        yield replace(_validation(state), before=tuple(_before(state)))
    if state.finished:
        return
    inputs, frozen_part = open_inputs(state, data)
    while not state.finished:
        for until_step in validation_steps(config.training, batches_per_epoch, state.step_in_epoch):
            state.keep(*_train_and_validate(state, data, inputs, until_step, batches_per_epoch))
            yield _validation(state, frozen_part)
            if state.finished:
                return


def _validation(state: TrainingState, frozen_part: str = "") -> Validation:
    """The latest validation of a trial."""
    assert state.record is not None
    assert state.best_record is not None
    return Validation(
        state.record,
        state.best_record,
        state.finished,
        state.save,
        state.history[-1][1],
        state.precision.name,
        frozen_part,
    )


def _before(state: TrainingState) -> Iterator[Validation]:
    """All validations before the latest; the trial had not finished at any of them."""
    for record, best, steps in with_best(state.history[:-1], state.config.training.metric):
        yield Validation(record, best, False, state.save, steps, state.precision.name)


def _train_and_validate(
    state: TrainingState,
    data: TrainingData,
    inputs: Inputs,
    until_step: int,
    batches_per_epoch: int,
) -> tuple[Record, tuple[LoggedStep, ...]]:
    started = time.monotonic()
    with state.own_randomness():
        trained = train(state, data, inputs, until_step)
    labels_N = torch.from_numpy(data.labels_N[data.validation_indices])
    scored = score(inputs.validation_logits().cpu(), labels_N)
    _move_on(state, until_step, batches_per_epoch, scored.loss)
    state.seconds += time.monotonic() - started
    record = Record(
        validation=state.record.validation + 1 if state.record else 1,
        epoch=state.epoch + state.step_in_epoch / batches_per_epoch,
        train_loss=trained.loss,
        train_accuracy=trained.accuracy,
        val_loss=scored.loss,
        val_accuracy=scored.accuracy,
        val_mean_class_accuracy=scored.mean_class_accuracy,
        lr=state.lr,
        seconds=state.seconds,
    )
    if not is_finite(record):
        raise DivergedError(
            f"the loss became NaN or infinite by epoch {record.epoch:g} "
            f"(train {record.train_loss}, validation {record.val_loss})"
        )
    return record, tuple(trained.logged)


def _move_on(
    state: TrainingState, until_step: int, batches_per_epoch: int, val_loss: float
) -> None:
    state.step_in_epoch = until_step
    if until_step == batches_per_epoch:
        state.epoch, state.step_in_epoch = state.epoch + 1, 0
        state.advance_lr_schedule("epoch", val_loss)
