"""The outputs of a frozen module for images: computed once, stored for all trials.

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

FORMAT = 1  # to be increased when the same images and module would have other values


@dataclass(frozen=True)
class Rows:
    """Images in the order in which their values are stored.

    Attributes:
        num_images: the number of images.
        images: returns the images with the given numbers (ascending), normalised, images_BCHW.
        cache_key: everything that the images depend on.
    """

    num_images: int
    images: Callable[[NDArray[np.int64]], Tensor]
    cache_key: list[dict[str, Any]]

    def followed_by(self, other: "Rows") -> "Rows":
        """These images, followed by the other ones."""

        def images(rows_B: NDArray[np.int64]) -> Tensor:
            is_own_B = rows_B < self.num_images
            parts = [(self, rows_B[is_own_B]), (other, rows_B[~is_own_B] - self.num_images)]
            return torch.cat([rows.images(part_B) for rows, part_B in parts if len(part_B)])

        return Rows(self.num_images + other.num_images, images, [*self.cache_key, *other.cache_key])


def rows_of(
    config: TrialConfig,
    data: TrainingData,
    split: Literal["train", "validation"],
    normalise: Normaliser,
) -> Rows:
    """The images of a split, in the order of its indices, not augmented."""
    indices = data.train_indices if split == "train" else data.validation_indices

    def images(rows_B: NDArray[np.int64]) -> Tensor:
        return normalise(data.images_NHWC[indices[rows_B]])

    return Rows(len(indices), images, [_cache_key(config, data, indices)])


def augmented_rows(
    config: TrialConfig, data: TrainingData, normalise: Normaliser, augment: Augmenter
) -> Rows:
    """The first augmented view of every training image, then the second of every one, and so on.

    The random choices are drawn from the seed of the split, so that all trials share the views.
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

    cache_key = _cache_key(config, data, indices) | {
        "augmentation": config.augmentation.model_dump(mode="json"),
        "seed": seed,
        "kornia": version("kornia"),
    }
    return Rows(num_views * len(indices), images, [cache_key])


def identity(module: nn.Module, code: str) -> str:
    """A digest of a module's code and weights, which decide what it computes."""
    return digest_of([code, repr(module), weights_digest(module.state_dict())])


def frozen_values(
    module: nn.Module,
    module_digest: str,
    rows: Rows,
    examples: tuple[Tensor, ...],
    precision: Precision | None = None,
) -> Activations:
    """The module's values for images, from the cache, computed where they are missing.

    Everything that they depend on is in their key, so that no trial gets the values of other images
    or weights.

    Args:
        module: images_BCHW → one tensor or several, each (B, ...); on the device where to compute.
        module_digest: the module's `identity`.
        rows: the images.
        examples: the module's values for some images.
        precision: the precision in which the module computes; fp32 if None.

    Raises:
        TooLargeError: if there is no space for them.
        DataError: if the cache folder cannot be used, or the stored values are damaged.
    """
    key = digest_of(
        {
            "format": FORMAT,
            "rows": rows.cache_key,
            "module": module_digest,
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


def _cache_key(
    config: TrialConfig, data: TrainingData, indices: NDArray[np.int64]
) -> dict[str, Any]:
    return {
        "form": config.data.model_dump(mode="json", include=FORM),
        "digest": data.digest,
        "shape": data.images_NHWC.shape,
        "indices": hashlib.sha256(indices.tobytes()).hexdigest(),
        "mean": data.mean,
        "std": data.std,
    }
