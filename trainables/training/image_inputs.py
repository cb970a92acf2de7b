"""The outputs of a trial's network for images, batch by batch.

Shape letters: N images, B batch, H height, W width, C channels, K classes.
"""

import math
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toprung.trainables.data import TrainingData
from toprung.trainables.inference.precision import in_float32
from toprung.trainables.inference.predict import Normaliser, on_device, predict_logits
from toprung.trainables.networks.classifier import Outputs
from toprung.trainables.training.state import TrainingState

RESIDENT_SHARE = 1 / 8
"""The images are kept on a GPU if they take at most this share of its free memory.

Each trial on a GPU has its own copy, so even eight trials side by side leave a third of it free.
"""
UPLOAD_BYTES = 2**26


class Inputs(Protocol):
    """A source of a trial's training outputs and validation logits, in the trial's precision."""

    def training_outputs(self, indices_B: NDArray[np.int64]) -> tuple[Outputs, Tensor, Tensor]:
        """The network's outputs for a batch to train on, in float32.

        Returns:
            The outputs; the targets of the loss (class numbers B, or soft targets BK of mixed
            images); and labels_B, the images' own classes.
        """

    def validation_logits(self) -> Tensor:
        """logits_NK of all validation images, in evaluation mode, in float32."""


class ImageInputs:
    """Runs images from the store, augmented for training, through the whole network.

    If they are small compared with a GPU's memory (`RESIDENT_SHARE`), they are kept on it as they
    are stored (uint8), and a step transfers only its indices. Otherwise, and on a CPU, a step reads
    its own batch and nothing else.

    Attributes:
        normalise: turns images into the network's input.
    """

    def __init__(self, state: TrainingState, data: TrainingData) -> None:
        self._state = state
        self._data = data
        self.normalise = Normaliser(
            data.mean, data.std, state.device, channels_last=state.precision.channels_last
        )

    @cached_property
    def _images_NHWC(self) -> NDArray[np.uint8] | Tensor:
        """The images that a step reads; copied to the GPU, if at all, when first needed."""
        images_NHWC, device = self._data.images_NHWC, self._state.device
        return uploaded(images_NHWC, device) if fits_on(device, images_NHWC) else images_NHWC

    def training_outputs(self, indices_B: NDArray[np.int64]) -> tuple[Outputs, Tensor, Tensor]:
        """See `Inputs`."""
        state = self._state
        images_BHWC = on_device(self._images_NHWC, indices_B, state.device)
        labels_B = on_device(self._data.labels_N, indices_B, state.device)
        if state.augment.changes_nothing:
            images_BCHW, targets = self.normalise(images_BHWC), labels_B
        else:
            pixels_BCHW, targets = state.augment(self.normalise.pixels(images_BHWC), labels_B)
            images_BCHW = self.normalise.normalise(pixels_BCHW)
        with state.precision.autocast():
            outputs = state.classifier(images_BCHW)
        return in_float32(outputs), targets, labels_B

    def validation_logits(self) -> Tensor:
        """See `Inputs`."""
        return predict_logits(
            self._state.classifier.network,
            self.normalise,
            self._images_NHWC,
            self._data.validation_indices,
            self._state.precision,
        )


def fits_on(device: torch.device, images_NHWC: NDArray[np.uint8]) -> bool:
    """Whether to keep images on a device; never on a CPU, which reads them in place."""
    if device.type != "cuda":
        return False
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return math.prod(images_NHWC.shape) <= RESIDENT_SHARE * free_bytes


def uploaded(images_NHWC: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Copy all images to a device, in pieces, so that the host never holds a whole copy."""
    there_NHWC = torch.empty(images_NHWC.shape, dtype=torch.uint8, device=device)
    num_images = max(1, UPLOAD_BYTES // math.prod(images_NHWC.shape[1:]))
    for start in range(0, len(images_NHWC), num_images):
        piece = np.array(images_NHWC[start : start + num_images])
        there_NHWC[start : start + num_images] = torch.from_numpy(piece)
    return there_NHWC
