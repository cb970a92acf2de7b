"""Building a store: every image is read once, hashed, decoded and appended.

Shape letters: N images, H height, W width, C channels, V the 256 values of a pixel.
"""

import hashlib
import json
import shutil
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from toprung.trainables.data.decode import BadImageError, decode_and_hash, read_bytes
from toprung.trainables.data.listing.cache import CACHE_VARIABLE, digest_of
from toprung.trainables.data.listing.errors import BadImage, BadImagesError, DataError, bullets
from toprung.trainables.data.listing.files import sync
from toprung.trainables.data.listing.image_list import SPLITS, ListedImage
from toprung.trainables.data.progress import progress
from toprung.trainables.data.settings import DataSettings
from toprung.trainables.files.atomic_files import flush_folder
from toprung.trainables.system.machine import num_cpus

BATCH = 64  # images decoded ahead of the writing
FORM = {"image_size", "channels", "resize", "crop_fraction", "interpolation"}
"""The settings that decide the pixels of a stored image."""
MIN_STD = 1 / 255  # one grey level: images of one colour must not lead to a division by zero


@dataclass(frozen=True)
class _Decoded:
    image: ListedImage
    content_hash: str  # SHA-256 of the file
    pixel_hash: str
    pixels_HWC: NDArray[np.uint8]
    histogram_CV: NDArray[np.int64]  # how often each channel has each of the 256 values


@dataclass
class _Written:
    """The facts about the images that were written."""

    images: list[ListedImage] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    pixel_hashes: list[str] = field(default_factory=list)
    bad: list[BadImage] = field(default_factory=list)
    train_histogram_CV: NDArray[np.int64] | int = 0


def build_store(
    folder: Path,
    images: Sequence[ListedImage],
    class_names: list[str],
    settings: DataSettings,
    *,
    show_progress: bool,
) -> tuple[str, list[BadImage]]:
    """Write a store into the new folder `folder`.

    Returns:
        The store's digest, and the images left out.

    Raises:
        DataError: The disk is too full, or images cannot be decoded and were not to be skipped.
        OSError: The disk became full.
    """
    _check_disk(folder.parent, len(images), settings)
    folder.mkdir()
    with warnings.catch_warnings(), (folder / "images.npy").open("wb") as stream:
        warnings.simplefilter("ignore")  # Pillow's warnings about files that it can decode
        written = _write_images(stream, images, settings, show_progress)
        sync(stream)
    _check_bad(images, written, settings)
    digest = _write_tables(folder, written, class_names, settings)
    return digest, written.bad


def publish(folder: Path, target: Path) -> None:
    """Rename a finished folder to its final name, in one atomic step."""
    flush_folder(folder)
    try:
        folder.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(folder)  # the same images were stored under another source
    flush_folder(target.parent)


def _check_disk(folder: Path, num_images: int, settings: DataSettings) -> None:
    needed = num_images * _num_bytes(settings)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"The store of {num_images} images needs {needed:,} bytes, but {str(folder)!r} has "
            f"only {free:,} free. Make room, set {CACHE_VARIABLE} to a folder on another disk, or "
            f"choose a data/image_size smaller than {settings.image_size}."
        )


def _num_bytes(settings: DataSettings) -> int:
    height, width = settings.height_width
    return height * width * settings.channels


def _write_images(
    stream: BinaryIO, images: Sequence[ListedImage], settings: DataSettings, show_progress: bool
) -> _Written:
    written = _Written()
    _write_header(stream, len(images), settings)
    pixels_start = stream.tell()
    results = _decode_all(images, settings)
    title = f"Decoding {' + '.join(sorted({_split_name(image) for image in images}))} images"
    for result in progress(results, len(images), title, show=show_progress):
        if isinstance(result, BadImage):
            written.bad.append(result)
            continue
        stream.write(result.pixels_HWC.tobytes())
        written.images.append(result.image)
        written.hashes.append(result.content_hash)
        written.pixel_hashes.append(result.pixel_hash)
        if result.image.split == "train":
            written.train_histogram_CV = written.train_histogram_CV + result.histogram_CV
    stream.seek(0)
    _write_header(stream, len(written.images), settings)
    assert stream.tell() == pixels_start  # numpy reserves space in the header
    return written


def _write_header(stream: BinaryIO, num_images: int, settings: DataSettings) -> None:
    shape = (num_images, *settings.height_width, settings.channels)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)


def _decode_all(
    images: Sequence[ListedImage], settings: DataSettings
) -> Iterator[_Decoded | BadImage]:
    with ThreadPoolExecutor(num_cpus()) as pool:
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            yield from pool.map(lambda image: _decode_one(image, settings), batch)


def _decode_one(image: ListedImage, settings: DataSettings) -> _Decoded | BadImage:
    try:
        content = read_bytes(image.content) if isinstance(image.content, Path) else image.content
        pixels_HWC, picture_hash = decode_and_hash(content, settings)
    except BadImageError as error:
        return BadImage(image.name, str(error))
    file = content if isinstance(content, bytes) else content.tobytes()
    content_hash = hashlib.sha256(file).hexdigest()
    return _Decoded(image, content_hash, picture_hash, pixels_HWC, _histogram(pixels_HWC))


def _histogram(pixels_HWC: NDArray[np.uint8]) -> NDArray[np.int64]:
    channels = np.moveaxis(pixels_HWC, 2, 0)
    return np.stack([np.bincount(values.ravel(), minlength=256) for values in channels])


def _check_bad(images: Sequence[ListedImage], written: _Written, settings: DataSettings) -> None:
    if written.bad and not settings.skip_bad_images:
        raise BadImagesError(written.bad)
    left = {(_split_name(image), image.class_name) for image in written.images}
    lost = sorted({(_split_name(image), image.class_name) for image in images} - left)
    if lost:
        raise DataError(
            "Without the images that cannot be decoded, there are none left of:"
            f"{bullets(f'class {name!r} in the {split} set' for split, name in lost)}"
        )


def _split_name(image: ListedImage) -> str:
    return image.split or "labelled"


def _write_tables(
    folder: Path, written: _Written, class_names: list[str], settings: DataSettings
) -> str:
    names = [image.name for image in written.images]
    labels = [image.class_name for image in written.images]
    splits = [image.split or "train" for image in written.images]
    digest = digest_of([class_names, list(zip(names, written.hashes, labels, splits, strict=True))])
    mean, std = _mean_and_std(written.train_histogram_CV)
    meta = {"digest": digest, "class_names": class_names, "mean": mean, "std": std}
    form = settings.model_dump(include=FORM)
    _write_json(folder / "meta.json", meta | form)
    hashes = {"hashes": written.hashes, "pixel_hashes": written.pixel_hashes}
    _write_json(folder / "images.json", {"names": names} | hashes)
    index_of = {name: index for index, name in enumerate(class_names)}
    _write_array(folder / "labels.npy", np.array([index_of[label] for label in labels], np.int64))
    _write_array(folder / "splits.npy", np.array([SPLITS.index(s) for s in splits], np.uint8))
    return digest


def _mean_and_std(histogram_CV: NDArray[np.int64] | int) -> tuple[list[float], list[float]]:
    if isinstance(histogram_CV, int):
        return [], []  # no training images: the store of a test set
    values_V = np.arange(256) / 255
    shares_CV = histogram_CV / histogram_CV.sum(axis=1, keepdims=True)
    mean_C = shares_CV @ values_V
    std_C = np.sqrt((shares_CV * (values_V - mean_C[:, None]) ** 2).sum(axis=1))
    return mean_C.tolist(), np.maximum(std_C, MIN_STD).tolist()


def _write_json(path: Path, value: object) -> None:
    with path.open("wb") as stream:
        stream.write(json.dumps(value).encode())
        sync(stream)


def _write_array(path: Path, array: NDArray[np.generic]) -> None:
    with path.open("wb") as stream:
        np.save(stream, array)
        sync(stream)
