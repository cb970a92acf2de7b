"""What a module that never changes gives for images: computed once, stored for all trials.

Shape letters: B batch, H height, W width, C channels.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainables.activations import Activations, Layout, stored
from trainables.augment import Augmenter
from trainables.config import TrialConfig
from trainables.data import TrainingData
from trainables.data.build import FORM
from trainables.data.cache import digest_of
from trainables.evaluate import Normaliser, evaluation_mode
from trainables.weights import weights_digest

FORMAT = 1  # to be raised when the same images and module would give other values
BATCH = 32
"""Also how many images are augmented with one seed."""


@dataclass(frozen=True)
class Rows:
    """Images in the order in which their values are stored.

    Attributes:
        num_images: how many.
        images: those with these numbers, normalised, images_BCHW.
        told: everything that decides what they look like.
    """

    num_images: int
    images: Callable[[NDArray[np.int64]], Tensor]
    told: dict[str, Any]


def rows_of(
    config: TrialConfig,
    data: TrainingData,
    split: Literal["train", "validation"],
    normalise: Normaliser,
) -> Rows:
    """The images of a split, in the order of its indices, as they are."""
    indices = data.train_indices if split == "train" else data.validation_indices

    def images(rows_B: NDArray[np.int64]) -> Tensor:
        return normalise(data.images_NHWC[indices[rows_B]])

    return Rows(len(indices), images, _told(config, data, indices))


def augmented_rows(
    config: TrialConfig, data: TrainingData, normalise: Normaliser, augment: Augmenter
) -> Rows:
    """The first view of every training image, then the second of every one, and so on.

    What is drawn for them comes from the seed of the split, so that all trials share them.
    """
    num_views, seed = config.augmentation.stored_views, config.data.split_seed
    assert num_views is not None
    indices = data.train_indices

    def images(rows_B: NDArray[np.int64]) -> Tensor:
        pixels_BCHW = normalise.pixels(data.images_NHWC[indices[rows_B % len(indices)]])
        with torch.random.fork_rng([]):
            torch.manual_seed(np.random.SeedSequence([seed, rows_B[0]]).generate_state(1).item())
            pixels_BCHW, _ = augment(pixels_BCHW, torch.zeros(len(rows_B), dtype=torch.long))
        return normalise.normalise(pixels_BCHW)

    told = _told(config, data, indices) | {
        "augmentation": config.augmentation.model_dump(mode="json"),
        "seed": seed,
    }
    return Rows(num_views * len(indices), images, told)


def identity(module: nn.Module, code: str) -> str:
    """A digest of what a module computes: of its code and its weights."""
    return digest_of([code, repr(module), weights_digest(module.state_dict())])


def frozen_values(
    module: nn.Module, identity: str, rows: Rows, examples: tuple[Tensor, ...]
) -> Activations:
    """The module's values for images, from the store; computed where they are not there.

    Whatever decides them is in their key, so that no trial gets those of other images or weights.

    Args:
        module: images_BCHW → one tensor or several, each (B, ...); on the device where to compute.
        identity: tells it from all that give other values.
        rows: the images.
        examples: the module's values for some images.

    Raises:
        TooLargeError: if there is no room for them.
        DataError: if the cache folder cannot be used, or they are damaged.
    """
    key = digest_of(
        {
            "format": FORMAT,
            "rows": rows.told,
            "module": identity,
            "device": next(module.parameters()).device.type,
            "precision": [str(value.dtype) for value in examples],
            "torch": torch.__version__,
        }
    )
    layout = Layout.like(rows.num_images, examples)
    return stored(key, layout, lambda rows_B: run_frozen(module, rows, rows_B))


@torch.no_grad()
def run_frozen(module: nn.Module, rows: Rows, rows_B: NDArray[np.int64]) -> tuple[Tensor, ...]:
    """The module's values for the images with these numbers, in evaluation mode, on the CPU."""
    batches = []
    with evaluation_mode(module):
        for start in range(0, len(rows_B), BATCH):
            values = module(rows.images(rows_B[start : start + BATCH]))
            values = (values,) if isinstance(values, Tensor) else values
            batches.append([value.cpu() for value in values])
    return tuple(torch.cat(values) for values in zip(*batches, strict=True))


def _told(config: TrialConfig, data: TrainingData, indices: NDArray[np.int64]) -> dict[str, Any]:
    return {
        "form": config.data.model_dump(mode="json", include=FORM),
        "digest": data.digest,
        "shape": data.images_NHWC.shape,
        "indices": hashlib.sha256(indices.tobytes()).hexdigest(),
        "mean": data.mean,
        "std": data.std,
    }
