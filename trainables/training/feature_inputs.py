"""Training from the stored activations of a network's frozen first part.

Shape letters: N images, B batch, K classes.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toprung.trainables.data import TrainingData
from toprung.trainables.frozen_features.cache import Activations, TooLargeError
from toprung.trainables.frozen_features.network_cut import Cut, cut
from toprung.trainables.frozen_features.values import (
    augmented_rows,
    frozen_values,
    identity,
    rows_of,
    run_frozen,
)
from toprung.trainables.inference.precision import in_float32
from toprung.trainables.inference.predict import EVALUATION_BATCH_SIZE, evaluation_mode
from toprung.trainables.networks.base import NO_WEIGHTS
from toprung.trainables.networks.classifier import Outputs
from toprung.trainables.networks.freeze_policies import ALL_TRAINS
from toprung.trainables.training.image_inputs import ImageInputs, Inputs
from toprung.trainables.training.state import TrainingState

MIN_WORK_PER_BYTE = {"cpu": 50, "cuda": 4000}
"""Multiply-accumulates that a stored byte must save. A CPU core does about 30 of them in the
nanosecond that it takes to read a byte from a disk (SqueezeNet, measured on one core). A GPU does
20,000 or more in a nanosecond, and reads a byte of the host's memory in .1 ns (estimated)."""
MAX_BATCH_BYTES = 2**27
"""Large activations are validated in smaller batches, so that memory does not grow."""


class NotStoredError(Exception):
    """The reason why the activations of a network's frozen part are not stored."""


def open_inputs(state: TrainingState, data: TrainingData) -> tuple[Inputs, str]:
    """What a trial trains from: stored activations if possible, and else the images.

    Returns:
        The inputs, and a line that says whether the outputs of the frozen part are stored, or why
        not. The line is empty if nothing is frozen, or if the config does not ask for storing.

    Raises:
        DataError: if the cache folder cannot be used.
    """
    images = ImageInputs(state, data)
    config = state.config
    if config.model.freeze_policy in ALL_TRAINS or not config.training.store_frozen:
        return images, ""
    try:
        inputs = _stored(state, data, images)
    except NotStoredError as reason:
        return images, f"the frozen part is computed in every epoch: {reason}"
    return inputs, inputs.description


class ActivationInputs:
    """Runs the stored activations through the part of the network after the frozen one.

    Args:
        state: the trial's training state.
        data: its images.
        cut: its network in two parts.
        stored: the activations of the first view of every training image, then of the second view
            of every one, and so on, and then of the validation images.
    """

    def __init__(
        self, state: TrainingState, data: TrainingData, cut: Cut, stored: Activations
    ) -> None:
        self._state = state
        self._labels_N = data.labels_N
        self._suffix = cut.suffix
        self._stored = stored
        self._row_of_N = np.zeros(len(data.labels_N), np.int64)
        self._row_of_N[data.train_indices] = np.arange(len(data.train_indices))
        self._num_train = len(data.train_indices)
        self._num_views = state.config.augmentation.stored_views or 1
        self._drawn_in: int | None = None
        self._first_rows_N = np.zeros(self._num_train, np.int64)

    @property
    def description(self) -> str:
        """A line that says what is stored, and how large it is."""
        views = f", {self._num_views} augmented views of each image" if self._num_views > 1 else ""
        return (
            "the frozen part is computed once and stored "
            f"({self._stored.num_bytes / 1e6:,.3g} MB{views})"
        )

    def training_outputs(self, indices_B: NDArray[np.int64]) -> tuple[Outputs, Tensor, Tensor]:
        """See `Inputs`."""
        self._draw_views()
        rows_B = self._row_of_N[indices_B]
        labels_B = torch.from_numpy(self._labels_N[indices_B]).to(self._state.device)
        return self._outputs(rows_B + self._first_rows_N[rows_B]), labels_B, labels_B

    def validation_logits(self) -> Tensor:
        """See `Inputs`."""
        fitting = MAX_BATCH_BYTES * len(self._stored) // self._stored.num_bytes
        size = max(1, min(EVALUATION_BATCH_SIZE, fitting))
        rows_N = np.arange(self._num_views * self._num_train, len(self._stored))
        with torch.inference_mode(), evaluation_mode(self._state.classifier.network):
            logits = [
                self._outputs(rows_B).logits_BK
                for rows_B in np.split(rows_N, range(size, len(rows_N), size))
            ]
        return torch.cat(logits)

    def _outputs(self, rows_B: NDArray[np.int64]) -> Outputs:
        values = [value.to(self._state.device) for value in self._stored.rows(rows_B)]
        with self._state.precision.autocast():
            return in_float32(self._state.classifier.outputs(self._suffix(*values)))

    def _draw_views(self) -> None:
        """Draw the view of each training image in this epoch, as the first row of that view."""
        epoch = self._state.epoch
        if self._num_views > 1 and epoch != self._drawn_in:
            self._drawn_in = epoch
            rng = np.random.default_rng([self._state.config.seed, epoch, self._num_views])
            views_N = rng.integers(self._num_views, size=self._num_train)
            self._first_rows_N = views_N * self._num_train


def _stored(state: TrainingState, data: TrainingData, images: ImageInputs) -> ActivationInputs:
    from torch.utils.flop_counter import FlopCounterMode  # imports for half a second

    _check(state)
    config, normalise = state.config, images.normalise
    rows = rows_of(config, data, "train", normalise)
    state.let_train()
    parts = cut(state.classifier, state.trains_ever, rows.images(np.arange(2)))
    if parts is None:
        raise NotStoredError("the network begins with a layer that trains or is random")
    with FlopCounterMode(display=False) as counter:
        examples = run_frozen(parts.prefix, rows, np.arange(1), state.precision)
    num_bytes = sum(value.nbytes for value in examples)
    if counter.get_total_flops() / 2 < num_bytes * MIN_WORK_PER_BYTE[state.device.type]:
        raise NotStoredError(
            f"that is little work, but its outputs take {num_bytes / 1e6:.2g} MB for each image"
        )
    if config.augmentation.transforms:
        rows = augmented_rows(config, data, normalise, state.augment)
    rows = rows.followed_by(rows_of(config, data, "validation", normalise))
    prefix = identity(parts.prefix, parts.prefix.code)
    try:
        stored = frozen_values(parts.prefix, prefix, rows, examples, state.precision)
    except TooLargeError as error:
        raise NotStoredError(f"its outputs for the images would take {error}") from None
    return ActivationInputs(state, data, parts, stored)


def _check(state: TrainingState) -> None:
    """Check that the frozen part's output for an image can be the same in every epoch."""
    augmentation = state.config.augmentation
    if augmentation.mix != "none":
        raise NotStoredError(f"augmentation/mix = {augmentation.mix!r} mixes new images each time")
    if augmentation.transforms and augmentation.stored_views is None:
        raise NotStoredError(
            "images are augmented anew each time (augmentation/stored_views = 8 would store eight "
            "views of each)"
        )
    head = state.classifier.heads[0]
    if not any(name.startswith(f"{head}.") for name in state.trains_ever):
        raise NotStoredError("the network's head is frozen")
    if state.config.model.weights == NO_WEIGHTS:
        raise NotStoredError("its weights are random, so no other trial has them")
