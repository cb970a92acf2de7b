"""The steps of training between two validations.

Shape letters: B batch, H height, W width, C channels, K classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toprung.trainables.config import TrainingSettings, TrialConfig
from toprung.trainables.data import TrainingData
from toprung.trainables.results.records import LoggedStep
from toprung.trainables.training.image_inputs import Inputs
from toprung.trainables.training.state import TrainingState

STEPS_BETWEEN_LOSS_CHECKS = 50
"""How often the running loss is checked for NaN; on a GPU each check waits for the device."""
MAX_LOGGED_STEPS = 200
"""The most steps that are logged between two validations, evenly spaced."""


@dataclass
class Trained:
    """The mean loss and accuracy of some steps, and the logged ones among them."""

    loss: float = 0.0
    accuracy: float = 0.0
    logged: list[LoggedStep] = field(default_factory=list)


def train(state: TrainingState, data: TrainingData, inputs: Inputs, until_step: int) -> Trained:
    """Train up to a step of the current epoch.

    The accuracy is measured on the augmented images; for a mixed image, the class of the first of
    its two images counts as correct.
    """
    training = state.config.training
    order = epoch_order(state.config, data, state.epoch)
    bounds = batch_bounds(len(order), training.batch_size)
    state.let_train()
    trains = [p for p in state.classifier.network.parameters() if p.requires_grad]
    loss_sum = torch.zeros((), device=state.device)
    num_correct = torch.zeros((), device=state.device, dtype=torch.int64)
    logged_every = math.ceil((until_step - state.step_in_epoch) / MAX_LOGGED_STEPS)
    trained = Trained()
    for step in range(state.step_in_epoch, until_step):
        start, end = bounds[step]
        log = training.log_steps and step % logged_every == 0
        before = [parameter.detach().clone() for parameter in trains] if log else []
        loss, correct = _step(state, inputs, order[start:end], trains)
        if log:
            number = state.epoch * len(bounds) + step + 1
            trained.logged.append(_logged(number, loss, before, trains))
        loss_sum.add_(loss, alpha=end - start)
        num_correct += correct
        if step % STEPS_BETWEEN_LOSS_CHECKS == 0 and not math.isfinite(loss_sum.item()):
            break
    num_images = bounds[until_step - 1][1] - bounds[state.step_in_epoch][0]
    trained.loss, trained.accuracy = loss_sum.item() / num_images, num_correct.item() / num_images
    return trained


def batch_bounds(num_images: int, batch_size: int) -> list[tuple[int, int]]:
    """The start and end of each batch.

    A single remaining image joins the previous batch: batch norm cannot train on one image.
    """
    starts = list(range(0, num_images, batch_size))
    if len(starts) > 1 and batch_size > 1 and num_images - starts[-1] == 1:
        starts.pop()
    return list(pairwise([*starts, num_images]))


def epoch_order(config: TrialConfig, data: TrainingData, epoch: int) -> NDArray[np.int64]:
    """The training images in the order of this epoch; without `shuffle`, in that of the first."""
    drawn = epoch if config.training.shuffle else 0
    return np.random.default_rng([config.seed, drawn]).permutation(data.train_indices)


def validation_steps(
    training: TrainingSettings, batches_per_epoch: int, after_step: int
) -> list[int]:
    """The steps of an epoch after which to validate: evenly spaced, the last at its end."""
    count = min(training.validations_per_epoch, batches_per_epoch)
    steps = [round(batches_per_epoch * (k + 1) / count) for k in range(count)]
    return [step for step in steps if step > after_step]


def _step(
    state: TrainingState,
    inputs: Inputs,
    indices_B: NDArray[np.int64],
    trains: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """Take a step of the optimizer; return the loss and the number of correct predictions."""
    outputs, targets, labels_B = inputs.training_outputs(indices_B)
    loss: Tensor = state.loss(outputs, targets)
    state.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if state.config.training.gradient_clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(trains, state.config.training.gradient_clip_norm)
    state.lr = state.optimizer.param_groups[0]["lr"]
    state.optimizer.step()
    state.advance_lr_schedule("step")
    return loss.detach(), (outputs.logits_BK.detach().argmax(1) == labels_B).sum()


def _logged(
    number: int, loss: Tensor, before: Sequence[Tensor], trains: Sequence[Tensor]
) -> LoggedStep:
    gradients = [parameter.grad for parameter in trains if parameter.grad is not None]
    updates = [new.detach() - old for new, old in zip(trains, before, strict=True)]
    return LoggedStep(
        step=number,
        loss=loss.item(),
        gradient_norm=torch.nn.utils.get_total_norm(gradients).item(),
        update_norm=torch.nn.utils.get_total_norm(updates).item(),
    )
