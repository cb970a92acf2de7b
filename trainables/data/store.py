"""A store: decoded images in a folder, memory-mapped by every trial on the machine.

    images.npy  (N, H, W, C) uint8      splits.npy   (N,) uint8, index into SPLITS
    labels.npy  (N,) int64              images.json  names, content and pixel hashes
    meta.json   class names, digest, mean, std, form

Shape letters: N images, H height, W width, C channels.
"""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toprung.trainables.data.listing.errors import DataError
from toprung.trainables.data.settings import DataSettings

FORMAT = 2  # to be increased when the same files would have other pixels or hashes


class Store:
    """A finished store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def exists(self) -> bool:
        """Whether the store exists; an existing store is complete."""
        return self.folder.is_dir()

    @cached_property
    def meta(self) -> dict[str, Any]:
        """The contents of meta.json."""
        meta: dict[str, Any] = self._json("meta.json")
        return meta

    def array(self, name: str) -> NDArray[Any]:
        """One of the arrays, as a read-only memory map.

        Raises:
            DataError: The store was damaged after it was built.
        """
        try:
            array: NDArray[Any] = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise self._damaged(error) from error
        return array

    def names(self) -> tuple[str, ...]:
        """The images' names, in the order of the arrays."""
        return tuple(self._json("images.json")["names"])

    def hashes(self) -> tuple[str, ...]:
        """The SHA-256 of each image's file, or of its pixels if it has no file of its own."""
        return tuple(self._json("images.json")["hashes"])

    def pixel_hashes(self) -> tuple[str, ...]:
        """Each image's `toprung.trainables.provenance.pixel_hash`, at full resolution."""
        return tuple(self._json("images.json")["pixel_hashes"])

    def _json(self, name: str) -> Any:
        try:
            return json.loads((self.folder / name).read_text())
        except (OSError, ValueError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> DataError:
        return DataError(
            f"The store {str(self.folder)!r} is damaged ({error}); remove that folder, and it will "
            "be built again."
        )


def find_store(stores: Path, digest: str, settings: DataSettings) -> Store:
    """The store of the images with this digest, in the form that `settings` describe."""
    height, width = settings.height_width
    how = f"{settings.resize}-{settings.crop_fraction}-{settings.interpolation}"
    form = f"{height}x{width}x{settings.channels}-{how}-v{FORMAT}"
    return Store(stores / f"{digest}-{form}")
