"""Data sets whose files hold many images each, which torchvision verifies and reads.

Shape letters: N images, H height, W width, C channels.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toprung.trainables.data.listing.errors import DataError
from toprung.trainables.data.listing.image_list import ListedImage, Source, Split, file_facts
from toprung.trainables.data.named.named_set import find_folder

Labelled = tuple[NDArray[np.uint8], list[str]]  # images_NHWC and the class of each
OFFICIAL_SPLITS: tuple[Split, Split] = ("train", "test")
CIFAR10_FILES = (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta")
STL10_FILES = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")
STL10_CLASSES = (
    *("airplane", "bird", "car", "cat", "deer"),
    *("dog", "horse", "monkey", "ship", "truck"),
)


def open_cifar10(root: Path) -> Source:
    """CIFAR-10: 60,000 images of 32x32 in 10 classes (Krizhevsky, 2009); the Python version."""
    folder = find_folder(root, ["cifar-10-batches-py"], CIFAR10_FILES)

    def read(split: Split) -> Labelled:
        from torchvision.datasets import CIFAR10

        with _without_numpy_warning():
            data = CIFAR10(root, train=split == "train")
        return data.data, [data.classes[label] for label in data.targets]

    return _source(folder, CIFAR10_FILES, read)


def download_cifar10(root: Path) -> None:
    """Download and unpack the archive."""
    from torchvision.datasets import CIFAR10

    with _without_numpy_warning():
        CIFAR10(root, download=True)


def open_stl10(root: Path) -> Source:
    """STL-10: 13,000 labelled images of 96x96 in 10 classes (Coates et al., 2011).

    The unlabelled images are not used and may be missing.
    """
    folder = find_folder(root, ["stl10_binary"], STL10_FILES)

    def read(split: Split) -> Labelled:
        data = _labelled_stl10()(root, split=split)
        return data.data.transpose(0, 2, 3, 1), [STL10_CLASSES[label] for label in data.labels]

    return _source(folder, STL10_FILES, read)


def download_stl10(root: Path) -> None:
    """Download and unpack the archive (2.6 GB, most of it the unlabelled images)."""
    _labelled_stl10()(root, download=True)


def _labelled_stl10() -> Any:
    from torchvision.datasets import STL10

    class LabelledSTL10(STL10):  # type: ignore[misc]
        """STL-10 whose files to be verified do not include the unlabelled images."""

        train_list = STL10.train_list[:2]

    return LabelledSTL10


def _source(folder: Path, files: Sequence[str], read: Callable[[Split], Labelled]) -> Source:
    identity = json.dumps([file_facts(folder / name) for name in files])
    return Source(identity, lambda: _list_images(folder, read))


def _list_images(folder: Path, read: Callable[[Split], Labelled]) -> list[ListedImage]:
    images = []
    for split in OFFICIAL_SPLITS:
        with _damage_reported(folder):
            images_NHWC, class_names = read(split)
        images += [
            ListedImage(f"{split}/{n:05}", class_name, split, pixels_HWC)
            for n, (pixels_HWC, class_name) in enumerate(zip(images_NHWC, class_names, strict=True))
        ]
    return images


@contextmanager
def _damage_reported(folder: Path) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torchvision found another checksum
        raise DataError(
            f"Files in {str(folder)!r} are damaged: their checksums are not those of the official "
            "files. Remove that folder and get the files again."
        ) from error


@contextmanager
def _without_numpy_warning() -> Iterator[None]:
    # NumPy 2.4.0 to 2.4.4 warn about dtypes that an old NumPy pickled, as in the official files.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"dtype\(\): align should be passed")
        yield
