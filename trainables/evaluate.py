"""Running a model over images: the input it expects, its predictions, its loss and accuracy.

Shape letters: N images, B batch, H height, W width, C channels, K classes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

EVALUATION_BATCH_SIZE = 256


@dataclass(frozen=True)
class Normaliser:
    """Turns stored images into a model's input: floats with zero mean and unit deviation."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    device: torch.device

    def __call__(self, images_BHWC: NDArray[np.uint8]) -> Tensor:
        """images_BHWC (0..255) → normalised images_BCHW on the device."""
        images = torch.from_numpy(images_BHWC).to(self.device)
        mean_C = 255 * torch.tensor(self.mean, device=self.device)
        std_C = 255 * torch.tensor(self.std, device=self.device)
        return ((images.float() - mean_C) / std_C).permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True)
class Score:
    """Mean cross-entropy and accuracy over some images."""

    loss: float
    accuracy: float


@torch.inference_mode()
def predict_logits(
    model: nn.Module,
    normalise: Normaliser,
    images_NHWC: NDArray[np.uint8],
    indices: NDArray[np.int64] | None = None,
) -> Tensor:
    """logits_NK of the images (at these indices), in evaluation mode; the mode is put back."""
    indices = np.arange(len(images_NHWC)) if indices is None else indices
    was_training = model.training
    model.eval()
    logits = [
        model(normalise(images_NHWC[indices[start : start + EVALUATION_BATCH_SIZE]]))
        for start in range(0, len(indices), EVALUATION_BATCH_SIZE)
    ]
    model.train(was_training)
    return torch.cat(logits)


def evaluate(
    model: nn.Module,
    normalise: Normaliser,
    images_NHWC: NDArray[np.uint8],
    labels_N: NDArray[np.int64],
    indices: NDArray[np.int64],
) -> Score:
    """Score the model on the images at these indices (plain cross-entropy)."""
    logits_NK = predict_logits(model, normalise, images_NHWC, indices)
    targets_N = torch.from_numpy(labels_N[indices]).to(logits_NK.device)
    loss = functional.cross_entropy(logits_NK, targets_N)
    num_correct = (logits_NK.argmax(1) == targets_N).sum()
    return Score(loss.item(), num_correct.item() / len(indices))
