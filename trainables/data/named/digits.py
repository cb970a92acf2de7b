"""Data sets of installed packages. To add one, write a function like `digits`, and an entry."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from toprung.trainables.data.listing.image_list import ListedImage


@dataclass(frozen=True)
class BuiltIn:
    """A data set that comes with an installed package.

    Attributes:
        package: The package; the images may change with its version.
        list_images: Imports the package, so it is called only if there is no store yet.
    """

    package: str
    list_images: Callable[[], list[ListedImage]]


def digits() -> list[ListedImage]:
    """The 1797 handwritten digits of scikit-learn: 8x8 pixels, greyscale, 10 classes."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels_NHW = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    pairs = enumerate(zip(pixels_NHW, bunch.target, strict=True))
    return [ListedImage(f"digits/{n:04}", str(label), None, pixels) for n, (pixels, label) in pairs]


BUILT_INS = {"digits": BuiltIn("scikit-learn", digits)}
