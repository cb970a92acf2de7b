"""Opening the stored images: training data for trials, and the test set at the very end.

Shape letters: N images, H height, W width, C channels.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toprung.trainables.data.listing.cache import Cache
from toprung.trainables.data.listing.image_list import SPLITS
from toprung.trainables.data.parts import DataParts
from toprung.trainables.data.settings import IMAGENET_MEAN, IMAGENET_STD, DataSettings
from toprung.trainables.data.store import Store, find_store


@dataclass(frozen=True)
class TrainingData:
    """The data that a trial can see: never a test image.

    Attributes:
        images_NHWC: The training and validation images, uint8, a read-only memory map.
        labels_N: Their classes, int64, as indices into `class_names`.
        train_indices: The indices of the training images among the N images.
        validation_indices: The indices of the validation images.
        class_names: The names of the classes, sorted.
        mean: The mean of each channel, for pixel values from 0 to 1; of the training images only,
            or ImageNet's.
        std: The standard deviation of each channel; at least one grey level, so that dividing by
            it is safe.
        digest: A digest of the images' names, contents, labels and splits.
    """

    images_NHWC: NDArray[np.uint8]
    labels_N: NDArray[np.int64]
    train_indices: NDArray[np.int64]
    validation_indices: NDArray[np.int64]
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W), as a model takes it."""
        _, height, width, channels = self.images_NHWC.shape
        return channels, height, width


@dataclass(frozen=True)
class TestData:
    """The sealed test set, in the same form as `TrainingData`.

    Attributes:
        names: The images' names.
        hashes: The SHA-256 of each image's file, or of its pixels if it has no file of its own.
        pixel_hashes: Each image's `toprung.trainables.provenance.pixel_hash`.
    """

    __test__ = False  # not a test case, although pytest would take it for one by its name

    images_NHWC: NDArray[np.uint8]
    labels_N: NDArray[np.int64]
    class_names: tuple[str, ...]
    digest: str
    names: tuple[str, ...]
    hashes: tuple[str, ...]
    pixel_hashes: tuple[str, ...]


def open_training_data(settings: DataSettings, *, cache_dir: Path | None = None) -> TrainingData:
    """Open the training and validation images; no test image is read.

    If `settings.digest` is set and the store is on this machine, the source is not read.

    Raises:
        DataError: The data differ from the pinned digest, or cannot be prepared.
    """
    cache = Cache(cache_dir)
    store = find_store(cache.stores, settings.digest, settings) if settings.digest else None
    if store is None or not store.exists:
        store = DataParts(settings, cache, show_progress=False).training().store
    assert store is not None  # a source without training images is refused
    return _training_data(store, settings)


def open_test_data(settings: DataSettings, *, cache_dir: Path | None = None) -> TestData | None:
    """Open the test images; None if there are none. Only for use after the winner is selected.

    Raises:
        DataError: The data differ from the pinned digest (so that training images could now be
            test images), or cannot be prepared.
    """
    parts = DataParts(settings, Cache(cache_dir), show_progress=False)
    if settings.digest is not None:
        parts.training()
    store = parts.test().store
    if store is None:
        return None
    return TestData(
        images_NHWC=store.array("images"),
        labels_N=store.array("labels"),
        class_names=tuple(store.meta["class_names"]),
        digest=store.meta["digest"],
        names=store.names(),
        hashes=store.hashes(),
        pixel_hashes=store.pixel_hashes(),
    )


def _training_data(store: Store, settings: DataSettings) -> TrainingData:
    splits_N, meta = store.array("splits"), store.meta
    imagenet = settings.normalisation == "imagenet"
    return TrainingData(
        images_NHWC=store.array("images"),
        labels_N=store.array("labels"),
        train_indices=np.flatnonzero(splits_N == SPLITS.index("train")),
        validation_indices=np.flatnonzero(splits_N == SPLITS.index("validation")),
        class_names=tuple(meta["class_names"]),
        mean=IMAGENET_MEAN if imagenet else tuple(meta["mean"]),
        std=IMAGENET_STD if imagenet else tuple(meta["std"]),
        digest=meta["digest"],
    )
