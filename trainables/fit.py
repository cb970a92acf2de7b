"""Training one trial, in plain PyTorch. Whoever drives the generator may stop it."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.config import TrialConfig
from trainables.data import TrainingData
from trainables.evaluate import Normaliser, evaluate
from trainables.record import Record, is_finite
from trainables.training_state import TrainingState

STEPS_BETWEEN_LOSS_CHECKS = 50
"""How often the running loss is looked at for NaN; on a GPU each look waits for the device."""


class DivergedError(RuntimeError):
    """The training or validation loss of a trial became NaN or infinite."""


@dataclass(frozen=True)
class Validation:
    """What `fit` yields: this validation's record, the best so far, and how to keep the state.

    `finished` says that the trial has run its course; nothing follows.
    """

    record: Record
    best: Record
    finished: bool
    save_checkpoint: Callable[[Path], None]


def fit(
    config: TrialConfig,
    data: TrainingData,
    device: torch.device | None = None,
    resume_from: Path | None = None,
) -> Iterator[Validation]:
    """Train a trial, yielding after each validation.

    The same config, data and number of threads give the same numbers on the CPU, in one go or
    resumed from any checkpoint: weights and dropout draw from a stream seeded by `config.seed`,
    and each epoch's order of images from (`config.seed`, epoch).

    Args:
        config: the trial.
        data: its training and validation images.
        device: where to train; the CPU if not given.
        resume_from: a folder that `save_checkpoint` wrote to.

    Raises:
        DivergedError: when a loss becomes NaN or infinite.
        ImpossibleNetworkError: for a model that cannot exist for these images.
    """
    device = device or torch.device("cpu")
    batches_per_epoch = len(_batch_bounds(len(data.train_indices), config.training.batch_size))
    state = TrainingState(config, data, batches_per_epoch, device)
    if resume_from is not None:
        state.load(resume_from)
    normalise = Normaliser(data.mean, data.std, device)
    while not state.finished:
        for until_step in _validation_steps(config, batches_per_epoch, state.step_in_epoch):
            record = _train_and_validate(state, data, normalise, until_step, batches_per_epoch)
            state.keep(record)
            assert state.best_record is not None
            yield Validation(record, state.best_record, state.finished, state.save)
            if state.finished:
                return


def _train_and_validate(
    state: TrainingState,
    data: TrainingData,
    normalise: Normaliser,
    until_step: int,
    batches_per_epoch: int,
) -> Record:
    started = time.monotonic()
    with state.own_randomness():
        train_loss, train_accuracy = _train(state, data, normalise, until_step)
    score = evaluate(
        state.model, normalise, data.images_NHWC, data.labels_N, data.validation_indices
    )
    _move_on(state, until_step, batches_per_epoch, score.loss)
    state.seconds += time.monotonic() - started
    record = Record(
        validation=state.record.validation + 1 if state.record else 1,
        epoch=state.epoch + state.step_in_epoch / batches_per_epoch,
        train_loss=train_loss,
        train_accuracy=train_accuracy,
        val_loss=score.loss,
        val_accuracy=score.accuracy,
        lr=state.lr,
        seconds=state.seconds,
    )
    if not is_finite(record):
        raise DivergedError(
            f"the loss became NaN or infinite by epoch {record.epoch:g} "
            f"(train {train_loss}, validation {score.loss})"
        )
    return record


def _train(
    state: TrainingState, data: TrainingData, normalise: Normaliser, until_step: int
) -> tuple[float, float]:
    """Train up to a step of the current epoch; mean loss and accuracy of the steps made."""
    training = state.config.training
    order = np.random.default_rng([state.config.seed, state.epoch]).permutation(data.train_indices)
    bounds = _batch_bounds(len(order), training.batch_size)[state.step_in_epoch : until_step]
    loss_sum = torch.zeros((), device=state.device)
    num_correct = torch.zeros((), device=state.device)
    state.model.train()
    for step, (start, end) in enumerate(bounds):
        indices_B = order[start:end]
        loss, correct = _step(
            state, normalise, data.images_NHWC[indices_B], data.labels_N[indices_B]
        )
        loss_sum += loss * (end - start)
        num_correct += correct
        if step % STEPS_BETWEEN_LOSS_CHECKS == 0 and not math.isfinite(loss_sum.item()):
            break
    num_images = bounds[-1][1] - bounds[0][0]
    return loss_sum.item() / num_images, num_correct.item() / num_images


def _step(
    state: TrainingState,
    normalise: Normaliser,
    images_BHWC: NDArray[np.uint8],
    labels_B: NDArray[np.int64],
) -> tuple[Tensor, Tensor]:
    targets_B = torch.from_numpy(labels_B).to(state.device)
    logits_BK = state.model(normalise(images_BHWC))
    loss: Tensor = state.loss(logits_BK, targets_B)
    state.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if state.config.training.gradient_clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(
            state.model.parameters(), state.config.training.gradient_clip_norm
        )
    state.lr = state.optimizer.param_groups[0]["lr"]
    state.optimizer.step()
    state.advance_lr_schedule("step")
    return loss.detach(), (logits_BK.argmax(1) == targets_B).sum()


def _move_on(
    state: TrainingState, until_step: int, batches_per_epoch: int, val_loss: float
) -> None:
    state.step_in_epoch = until_step
    if until_step == batches_per_epoch:
        state.epoch, state.step_in_epoch = state.epoch + 1, 0
        state.advance_lr_schedule("epoch", val_loss)


def _batch_bounds(num_images: int, batch_size: int) -> list[tuple[int, int]]:
    """Where each batch starts and ends.

    A single image left over joins the batch before: batch norm cannot train on one image.
    """
    starts = list(range(0, num_images, batch_size))
    if len(starts) > 1 and batch_size > 1 and num_images - starts[-1] == 1:
        starts.pop()
    return list(pairwise([*starts, num_images]))


def _validation_steps(config: TrialConfig, batches_per_epoch: int, after_step: int) -> list[int]:
    """The steps of an epoch at which to validate, evenly spread, the last one its end."""
    count = min(config.training.validations_per_epoch, batches_per_epoch)
    steps = [round(batches_per_epoch * (k + 1) / count) for k in range(count)]
    return [step for step in steps if step > after_step]
