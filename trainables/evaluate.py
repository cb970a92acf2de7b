"""Running a network over images: the input it expects, its predictions, their figures.

Shape letters: N images, B batch, H height, W width, C channels, K classes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

EVALUATION_BATCH_SIZE = 256
MAX_EVALUATION_VALUES = EVALUATION_BATCH_SIZE * 3 * 64 * 64
"""Larger images go through the network in smaller batches, so that memory does not grow."""


@dataclass(frozen=True)
class Normaliser:
    """Turns stored images into a network's input: floats with zero mean and unit deviation."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    device: torch.device

    def __call__(self, images_BHWC: NDArray[np.uint8]) -> Tensor:
        """images_BHWC (0..255) → normalised images_BCHW on the device."""
        return self.normalise(self.pixels(images_BHWC))

    def pixels(self, images_BHWC: NDArray[np.uint8]) -> Tensor:
        """images_BHWC (0..255) → images_BCHW (0..1) on the device."""
        images = torch.from_numpy(images_BHWC).to(self.device)
        return images.permute(0, 3, 1, 2).contiguous().float() / 255

    def normalise(self, images_BCHW: Tensor) -> Tensor:
        """images_BCHW (0..1) → normalised images_BCHW."""
        mean_C11 = torch.tensor(self.mean, device=self.device).view(-1, 1, 1)
        std_C11 = torch.tensor(self.std, device=self.device).view(-1, 1, 1)
        return (images_BCHW - mean_C11) / std_C11


@dataclass(frozen=True)
class Score:
    """Figures of some images' predictions.

    Attributes:
        loss: mean cross-entropy.
        accuracy: share of images whose most probable class is theirs.
        mean_class_accuracy: mean of each class's accuracy, over the classes that have images.
    """

    loss: float
    accuracy: float
    mean_class_accuracy: float


@torch.inference_mode()
def predict_logits(
    network: nn.Module,
    normalise: Normaliser,
    images_NHWC: NDArray[np.uint8],
    indices: NDArray[np.int64] | None = None,
) -> Tensor:
    """logits_NK of the images (at these indices), in evaluation mode; the mode is put back."""
    indices = np.arange(len(images_NHWC)) if indices is None else indices
    values_per_image = int(np.prod(images_NHWC.shape[1:]))
    batch_size = max(1, min(EVALUATION_BATCH_SIZE, MAX_EVALUATION_VALUES // values_per_image))
    was_training = {module: module.training for module in network.modules()}
    network.eval()
    logits = [
        network(normalise(images_NHWC[indices[start : start + batch_size]]))
        for start in range(0, len(indices), batch_size)
    ]
    for module, training in was_training.items():
        module.training = training
    return torch.cat(logits)


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


def evaluate(
    network: nn.Module,
    normalise: Normaliser,
    images_NHWC: NDArray[np.uint8],
    labels_N: NDArray[np.int64],
    indices: NDArray[np.int64],
) -> Score:
    """Score the network on the images at these indices."""
    logits_NK = predict_logits(network, normalise, images_NHWC, indices)
    return score(logits_NK, torch.from_numpy(labels_N[indices]).to(logits_NK.device))
