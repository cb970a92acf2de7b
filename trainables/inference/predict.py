"""Running a network on images: normalised input, predictions, and their figures.

Shape letters: N images, B batch, H height, W width, C channels, K classes.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from toprung.trainables.inference.precision import Precision

EVALUATION_BATCH_SIZE = 64
"""On a CPU larger batches are slower: a layer's output no longer fits the processor's cache."""
MAX_EVALUATION_VALUES = 256 * 3 * 64 * 64
"""Larger images go through the network in smaller batches, so that memory does not grow."""


@dataclass(frozen=True)
class Normaliser:
    """Turns stored images into a network's input: floats with mean 0 and standard deviation 1.

    Images are arrays, or tensors on the device. The input is images_BCHW, stored in memory in that
    order, or with `channels_last` in the order BHWC.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    device: torch.device
    channels_last: bool = False

    def __call__(self, images_BHWC: NDArray[np.uint8] | Tensor) -> Tensor:
        """images_BHWC (0..255) → normalised images_BCHW on the device."""
        images_BCHW = self._in_order(self._permuted(images_BHWC)).float()
        return images_BCHW.mul_(self._scale_C11 / 255).add_(self._shift_C11)

    def pixels(self, images_BHWC: NDArray[np.uint8] | Tensor) -> Tensor:
        """images_BHWC (0..255) → images_BCHW (0..1) on the device, never with channels last."""
        return self._permuted(images_BHWC).contiguous().float().div_(255)

    def normalise(self, images_BCHW: Tensor) -> Tensor:
        """images_BCHW (0..1) → normalised images_BCHW."""
        return self._in_order((images_BCHW * self._scale_C11).add_(self._shift_C11))

    def _permuted(self, images_BHWC: NDArray[np.uint8] | Tensor) -> Tensor:
        if not isinstance(images_BHWC, Tensor):
            images_BHWC = torch.from_numpy(images_BHWC).to(self.device)
        return images_BHWC.permute(0, 3, 1, 2)

    def _in_order(self, images_BCHW: Tensor) -> Tensor:
        order = torch.channels_last if self.channels_last else torch.contiguous_format
        return images_BCHW.contiguous(memory_format=order)

    @cached_property
    def _scale_C11(self) -> Tensor:
        return torch.tensor([1 / std for std in self.std], device=self.device).view(-1, 1, 1)

    @cached_property
    def _shift_C11(self) -> Tensor:
        shift = [-mean / std for mean, std in zip(self.mean, self.std, strict=True)]
        return torch.tensor(shift, device=self.device).view(-1, 1, 1)


@dataclass(frozen=True)
class Score:
    """Figures of the predictions for some images.

    Attributes:
        loss: the mean cross-entropy.
        accuracy: the share of images whose most probable class is the right one.
        mean_class_accuracy: the mean of the classes' accuracies, over the classes with images.
    """

    loss: float
    accuracy: float
    mean_class_accuracy: float


@torch.inference_mode()
def predict_logits(
    network: nn.Module,
    normalise: Normaliser,
    images_NHWC: NDArray[np.uint8] | Tensor,
    indices: NDArray[np.int64] | None = None,
    precision: Precision | None = None,
) -> Tensor:
    """logits_NK of the images (at these indices), in evaluation mode; the mode is restored.

    They are float32, whatever the precision that they are computed in: fp32 if None.
    """
    indices = np.arange(len(images_NHWC)) if indices is None else indices
    values_per_image = math.prod(images_NHWC.shape[1:])
    batch_size = max(1, min(EVALUATION_BATCH_SIZE, MAX_EVALUATION_VALUES // values_per_image))
    logits = []
    with evaluation_mode(network):
        for start in range(0, len(indices), batch_size):
            indices_B = indices[start : start + batch_size]
            images_BHWC = on_device(images_NHWC, indices_B, normalise.device)
            with precision.autocast() if precision else nullcontext():
                logits.append(network(normalise(images_BHWC)).float())
    return torch.cat(logits)


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """A context in which a module is in evaluation mode; the mode of each part is restored."""
    was_training = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in was_training.items():
            part.training = training


def on_device(
    values_N: NDArray[Any] | Tensor, indices_B: NDArray[np.int64], device: torch.device
) -> Tensor:
    """The values at these indices, on the device; from an array, or a tensor already there.

    The call does not wait for the device, since it transfers a copy.
    """
    if isinstance(values_N, Tensor):
        return values_N[torch.from_numpy(indices_B).to(device, non_blocking=True)]
    return torch.from_numpy(values_N[indices_B]).to(device, non_blocking=True)


def score(logits_NK: Tensor, targets_N: Tensor) -> Score:
    """The figures of these predictions."""
    correct_N = (logits_NK.argmax(1) == targets_N).float()
    num_classes = logits_NK.shape[1]
    counts_K = torch.bincount(targets_N, minlength=num_classes)
    correct_K = torch.bincount(targets_N, weights=correct_N, minlength=num_classes)
    seen_K = counts_K > 0
    return Score(
        loss=functional.cross_entropy(logits_NK, targets_N).item(),
        accuracy=int(correct_N.sum()) / len(targets_N),
        mean_class_accuracy=(correct_K[seen_K] / counts_K[seen_K]).mean().item(),
    )
