"""Labelled images for a trained model: decoded with its data settings, not split.

Shape letters: N images, H height, W width, C channels.
"""

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toprung.trainables.data.build import build_store
from toprung.trainables.data.listing.cache import Cache, digest_of
from toprung.trainables.data.listing.errors import BadImage, DataError, bullets
from toprung.trainables.data.listing.image_list import ListedImage
from toprung.trainables.data.settings import DataSettings
from toprung.trainables.data.sources import find_source
from toprung.trainables.data.store import Store
from toprung.trainables.system.typed_settings import nearest


@dataclass(frozen=True)
class LabelledData:
    """All labelled images of a source.

    Attributes:
        images_NHWC: uint8, a read-only memory map.
        labels_N: Their classes, int64, as indices into the model's class names.
        names: The images' names.
        hashes: The SHA-256 of each image's file, or of its pixels if it has no file of its own.
        pixel_hashes: Each image's `toprung.trainables.provenance.pixel_hash`.
        splits: How many images the source has in each of its own splits; empty if it has none.
        bad_images: Files left out because they cannot be decoded.
    """

    images_NHWC: NDArray[np.uint8]
    labels_N: NDArray[np.int64]
    names: tuple[str, ...]
    hashes: tuple[str, ...]
    pixel_hashes: tuple[str, ...]
    splits: dict[str, int]
    bad_images: tuple[BadImage, ...]


@contextmanager
def open_labelled(
    settings: DataSettings,
    class_names: Sequence[str],
    *,
    cache_dir: Path | None = None,
    show_progress: bool = False,
) -> Iterator[LabelledData]:
    """A context in which all images of `settings.source` are open, whatever their splits.

    Args:
        settings: The data settings of the model, with the source of these images.
        class_names: The classes of the model, in its order.
        cache_dir: The cache folder; by default, the result of the function `cache_dir`.
        show_progress: Report the progress of the decoding on stderr.

    Raises:
        DataError: The source does not exist, cannot be decoded, or has classes that the model does
            not know.
    """
    cache = Cache(cache_dir)
    source = find_source(settings, cache)
    listed = sorted(source.list_images(), key=lambda image: image.name)
    _check_classes(listed, class_names, settings.source)
    key = digest_of(["labelled", source.identity, settings.model_dump(mode="json")])
    with cache.locked(key):
        folder = cache.temp_folder(key)
        try:
            images = [replace(image, split=None) for image in listed]
            _, bad_images = build_store(
                folder, images, list(class_names), settings, show_progress=show_progress
            )
            splits = Counter(str(image.split) for image in listed if image.split)
            yield _labelled(Store(folder), dict(splits), tuple(bad_images))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _labelled(
    store: Store, splits: dict[str, int], bad_images: tuple[BadImage, ...]
) -> LabelledData:
    return LabelledData(
        images_NHWC=store.array("images"),
        labels_N=store.array("labels"),
        names=store.names(),
        hashes=store.hashes(),
        pixel_hashes=store.pixel_hashes(),
        splits=splits,
        bad_images=bad_images,
    )


def _check_classes(images: Sequence[ListedImage], known: Sequence[str], source: str) -> None:
    unknown = sorted({image.class_name for image in images} - set(known))
    if unknown:
        lines = (f"{name!r}{nearest(name, list(known))}" for name in unknown)
        raise DataError(
            f"The model does not know {len(unknown)} of the classes of {source!r}:{bullets(lines)}"
            f"\nIt knows {len(known)}: {', '.join(known[:20])}{', ...' if len(known) > 20 else ''}"
        )
