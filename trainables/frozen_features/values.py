"""What a module that never changes gives for images: computed once, stored for all trials.

Shape letters: B batch, H height, W width, C channels.
"""

import hashlib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toprung.trainables.config import TrialConfig
from toprung.trainables.data import TrainingData
from toprung.trainables.data.build import FORM
from toprung.trainables.data.listing.cache import digest_of
from toprung.trainables.frozen_features.cache import Activations, Layout, stored
from toprung.trainables.inference.precision import Precision
from toprung.trainables.inference.predict import Normaliser, evaluation_mode
from toprung.trainables.pretrained.weights import weights_digest
from toprung.trainables.recipe.augmenter import Augmenter

FORMAT = 1  # to be raised when the same images and module would give other values


@dataclass(frozen=True)
class Rows:
    """Images in the order in which their values are stored.

    Attributes:
        num_images: how many.
        images: those with these numbers, which go up, normalised, images_BCHW.
        told: everything that decides what they look like.
    """

    num_images: int
    images: Callable[[NDArray[np.int64]], Tensor]
    told: list[dict[str, Any]]

    def followed_by(self, other: "Rows") -> "Rows":
        """These images, and then those."""

        def images(rows_B: NDArray[np.int64]) -> Tensor:
            is_own_B = rows_B < self.num_images
            parts = [(self, rows_B[is_own_B]), (other, rows_B[~is_own_B] - self.num_images)]
            return torch.cat([rows.images(part_B) for rows, part_B in parts if len(part_B)])

        return Rows(self.num_images + other.num_images, images, [*self.told, *other.told])


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

    return Rows(len(indices), images, [_told(config, data, indices)])


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
            of_batch = np.random.SeedSequence([seed, rows_B[0]]).generate_state(1).item()
            torch.default_generator.manual_seed(of_batch)
            pixels_BCHW, _ = augment(pixels_BCHW, torch.zeros(len(rows_B), dtype=torch.long))
        return normalise.normalise(pixels_BCHW)

    told = _told(config, data, indices) | {
        "augmentation": config.augmentation.model_dump(mode="json"),
        "seed": seed,
        "kornia": version("kornia"),
    }
    return Rows(num_views * len(indices), images, [told])


def identity(module: nn.Module, code: str) -> str:
    """A digest of what a module computes: of its code and its weights."""
    return digest_of([code, repr(module), weights_digest(module.state_dict())])


def frozen_values(
    module: nn.Module,
    told: str,
    rows: Rows,
    examples: tuple[Tensor, ...],
    precision: Precision | None = None,
) -> Activations:
    """The module's values for images, from the store; computed where they are not there.

    Whatever decides them is in their key, so that no trial gets those of other images or weights.

    Args:
        module: images_BCHW → one tensor or several, each (B, ...); on the device where to compute.
        told: its `identity`.
        rows: the images.
        examples: the module's values for some images.
        precision: what the module computes in; fp32 without one.

    Raises:
        TooLargeError: if there is no room for them.
        DataError: if the cache folder cannot be used, or they are damaged.
    """
    key = digest_of(
        {
            "format": FORMAT,
            "rows": rows.told,
            "module": told,
            "device": next(module.parameters()).device.type,
            "precision": precision.name if precision else "fp32",
            "torch": torch.__version__,
        }
    )
    layout = Layout.like(rows.num_images, examples)
    return stored(key, layout, lambda rows_B: run_frozen(module, rows, rows_B, precision))


@torch.no_grad()
def run_frozen(
    module: nn.Module, rows: Rows, rows_B: NDArray[np.int64], precision: Precision | None = None
) -> tuple[Tensor, ...]:
    """The module's values for a batch of the images, in evaluation mode, on the CPU."""
    images_BCHW = rows.images(rows_B)
    with evaluation_mode(module), precision.autocast() if precision else nullcontext():
        values = module(images_BCHW)
    return tuple(value.cpu() for value in ((values,) if isinstance(values, Tensor) else values))


def _told(config: TrialConfig, data: TrainingData, indices: NDArray[np.int64]) -> dict[str, Any]:
    return {
        "form": config.data.model_dump(mode="json", include=FORM),
        "digest": data.digest,
        "shape": data.images_NHWC.shape,
        "indices": hashlib.sha256(indices.tobytes()).hexdigest(),
        "mean": data.mean,
        "std": data.std,
    }
