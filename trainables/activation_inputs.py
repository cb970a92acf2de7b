"""Training on the stored activations of a network's frozen first part.

Shape letters: N images, B batch, K classes.
"""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from trainables.activations import Activations, TooLargeError
from trainables.classifier import Outputs
from trainables.data import TrainingData
from trainables.evaluate import EVALUATION_BATCH_SIZE, evaluation_mode
from trainables.freeze_policies import ALL_TRAINS
from trainables.frozen_prefix import Cut, cut
from trainables.frozen_values import augmented_rows, frozen_values, identity, rows_of, run_frozen
from trainables.inputs import ImageInputs, Inputs
from trainables.network import NO_WEIGHTS
from trainables.precision import in_float32
from trainables.training_state import TrainingState

MIN_WORK_PER_BYTE = {"cpu": 50, "cuda": 4000}
"""Multiply-accumulates that a stored byte must save. A CPU core does about 30 of them in the
nanosecond that it takes to read a byte from a disk (SqueezeNet, measured on one core); a GPU
20,000 and more in a nanosecond, and a byte from the host's memory takes it .1 (reckoned)."""
MAX_BATCH_BYTES = 2**27
"""Large activations are validated in smaller batches, so that memory does not grow."""


class NotStoredError(Exception):
    """Why the frozen part of a network is not computed once, but each time."""


def open_inputs(state: TrainingState, data: TrainingData) -> tuple[Inputs, str]:
    """What a trial trains from, and a line that says what is done about its frozen part.

    The line is empty where nothing is frozen, or nothing is to be stored.

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
    return inputs, inputs.told


class ActivationInputs:
    """The stored values at the boundary go through what comes after it.

    Args:
        state: the trial.
        data: its images.
        cut: its network, cut.
        training: the values for the training images; all their first views, then all second...
        validation: the values for the validation images.
    """

    def __init__(
        self,
        state: TrainingState,
        data: TrainingData,
        cut: Cut,
        training: Activations,
        validation: Activations,
    ) -> None:
        self._state = state
        self._labels_N = data.labels_N
        self._suffix = cut.suffix
        self._training = training
        self._validation = validation
        self._row_of_N = np.zeros(len(data.labels_N), np.int64)
        self._row_of_N[data.train_indices] = np.arange(len(data.train_indices))
        self._num_images = len(data.train_indices)
        self._first_rows = lru_cache(maxsize=1)(self._drawn_views)

    @property
    def told(self) -> str:
        """What is stored, and how much it is."""
        views = len(self._training) // self._num_images
        of_views = f", for {views} augmented views of each image" if views > 1 else ""
        num_bytes = self._training.num_bytes + self._validation.num_bytes
        return f"the frozen part is computed once and stored ({num_bytes / 1e6:,.3g} MB){of_views}"

    def training_outputs(self, indices_B: NDArray[np.int64]) -> tuple[Outputs, Tensor, Tensor]:
        """See `Inputs`."""
        rows_B = self._row_of_N[indices_B]
        rows_B = rows_B + self._first_rows(self._state.epoch)[rows_B]
        labels_B = torch.from_numpy(self._labels_N[indices_B]).to(self._state.device)
        return self._outputs(self._training, rows_B), labels_B, labels_B

    def validation_logits(self) -> Tensor:
        """See `Inputs`."""
        validation = self._validation
        fitting = MAX_BATCH_BYTES * len(validation) // validation.num_bytes
        size = max(1, min(EVALUATION_BATCH_SIZE, fitting))
        rows_N = np.arange(len(validation))
        with torch.inference_mode(), evaluation_mode(self._state.classifier.network):
            logits = [
                self._outputs(validation, rows_B).logits_BK
                for rows_B in np.split(rows_N, range(size, len(rows_N), size))
            ]
        return torch.cat(logits)

    def _outputs(self, activations: Activations, rows_B: NDArray[np.int64]) -> Outputs:
        values = [value.to(self._state.device) for value in activations.rows(rows_B)]
        with self._state.precision.autocast():
            return in_float32(self._state.classifier.outputs(self._suffix(*values)))

    def _drawn_views(self, epoch: int) -> NDArray[np.int64]:
        """For each training image the first row of the view that it has in this epoch."""
        num_views = len(self._training) // self._num_images
        rng = np.random.default_rng([self._state.config.seed, epoch, num_views])
        return rng.integers(num_views, size=self._num_images) * self._num_images


def _stored(state: TrainingState, data: TrainingData, images: ImageInputs) -> ActivationInputs:
    config, normalise = state.config, images.normalise
    _check(state)
    rows = rows_of(config, data, "train", normalise)
    state.let_train()
    parts = cut(state.classifier, state.trains_ever, rows.images(np.arange(2)))
    if parts is None:
        raise NotStoredError("the network begins with what trains or is random")
    with state.precision.autocast(), FlopCounterMode(display=False) as counter:
        examples = run_frozen(parts.prefix, rows, np.arange(1))
    num_bytes = sum(value.nbytes for value in examples)
    if counter.get_total_flops() / 2 < num_bytes * MIN_WORK_PER_BYTE[state.device.type]:
        raise NotStoredError(
            f"that is little work, but gives {num_bytes / 1e6:.2g} MB for each image"
        )
    if config.augmentation.transforms:
        rows = augmented_rows(config, data, normalise, state.augment)
    validation_rows = rows_of(config, data, "validation", normalise)
    prefix = identity(parts.prefix, f"{parts.prefix.code} in {state.precision.name}")
    try:
        with state.precision.autocast():
            training, validation = (
                frozen_values(parts.prefix, prefix, wanted, examples)
                for wanted in (rows, validation_rows)
            )
    except TooLargeError as error:
        raise NotStoredError(f"what it gives for the images would take {error}") from None
    return ActivationInputs(state, data, parts, training, validation)


def _check(state: TrainingState) -> None:
    """See whether what the frozen part gives for an image can be the same each time."""
    augmentation = state.config.augmentation
    if augmentation.mix != "none":
        raise NotStoredError(f"augmentation/mix = {augmentation.mix!r} mixes new images each time")
    if augmentation.transforms and augmentation.stored_views is None:
        raise NotStoredError(
            "images are augmented anew each time (augmentation/stored_views = 8 would store eight "
            "views of each)"
        )
    if state.config.model.weights == NO_WEIGHTS:
        raise NotStoredError("its weights are random, so no other trial has them")
