"""Data sets known by name. To add one: a function that lists its images, and its entry below."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from toprung.trainables.data.listing.image_list import ListedImage


@dataclass(frozen=True)
class BuiltIn:
    """A data set that an installed package brings along.

    Attributes:
        package: The package; its version says whether the images may have changed.
        list_images: Imports the package, so it is called only when no store is there yet.
    """

    package: str
    list_images: Callable[[], list[ListedImage]]


def digits() -> list[ListedImage]:
    """The 1797 handwritten digits of scikit-learn: 8x8 pixels, grey, 10 classes."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels_NHW = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    pairs = enumerate(zip(pixels_NHW, bunch.target, strict=True))
    return [ListedImage(f"digits/{n:04}", str(label), None, pixels) for n, (pixels, label) in pairs]


BUILT_INS = {"digits": BuiltIn("scikit-learn", digits)}
