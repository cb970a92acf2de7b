"""The cache of activations of frozen networks: computed once on a machine, shared by all trials.

<cache>/activations/<key>/            finished: <n>.bin for each value, layout.json
<cache>/activations/building-<key>/   unfinished, with a file done-<n> for each finished piece
<cache>/activations/locks/            one for each piece, and one for freeing space

Trials that need the same activations at the same time compute pieces of them side by side. If the
process that computes a piece dies, another one computes it; finished pieces are kept.

The folder has a size limit. The least recently used activations are removed first.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from torch import Tensor

from toprung.trainables.data import DataError
from toprung.trainables.data.listing.cache import CACHE_VARIABLE, LIMIT_VARIABLE, limit_bytes
from toprung.trainables.data.listing.files import sync
from toprung.trainables.files.atomic_files import flush_folder
from toprung.trainables.frozen_features.cache_folder import (
    BUILDING,
    DONE,
    IMAGES_PER_PIECE,
    LAYOUT,
    activation_folder,
)
from toprung.trainables.results.failures import DISK_IS_FULL

DISK_LEFT_FREE = 2**30
IMAGES_PER_BATCH = 32
"""How many images are computed and written at a time."""
SECONDS_UNTIL_ABANDONED = 3600.0
_LOCKS = "locks"

Compute = Callable[[NDArray[np.int64]], tuple[Tensor, ...]]


class TooLargeError(Exception):
    """Activations for which there is no space; the message says how much they need, and why."""


@dataclass(frozen=True)
class Layout:
    """The layout of stored activations.

    Attributes:
        num_images: the number of images.
        shapes: the shape of each value, without the dimension of the images.
        dtypes: the data type of each value.
        channels_last: whether each value is stored with its channels last, as torch computed it.
    """

    num_images: int
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    channels_last: tuple[bool, ...]

    @classmethod
    def like(cls, num_images: int, examples: tuple[Tensor, ...]) -> "Layout":
        """The layout of values like these examples, each of shape (B, ...)."""
        shapes = tuple(tuple(value.shape[1:]) for value in examples)
        dtypes = tuple(str(value.dtype).removeprefix("torch.") for value in examples)
        return cls(num_images, shapes, dtypes, tuple(map(_has_channels_last, examples)))

    @property
    def num_bytes(self) -> int:
        """The disk space of all values."""
        return sum(self.num_images * row for row in self.row_bytes)

    @property
    def row_bytes(self) -> tuple[int, ...]:
        """The size of one image's row in each file."""
        sizes = zip(self.shapes, self.dtypes, strict=True)
        return tuple(int(np.prod(shape)) * getattr(torch, name).itemsize for shape, name in sizes)


class Activations:
    """The finished values of all images of a split, memory-mapped."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        self._layout = layout
        self._arrays = [
            np.asarray(
                np.memmap(folder / f"{n}.bin", np.uint8, "r", shape=(layout.num_images, row_bytes))
            )
            for n, row_bytes in enumerate(layout.row_bytes)
        ]

    def __len__(self) -> int:
        return self._layout.num_images

    def rows(self, rows_B: NDArray[np.int64]) -> tuple[Tensor, ...]:
        """Copy the values of these images, each (B, ...), to the CPU's memory."""
        layout = self._layout
        values = zip(self._arrays, layout.shapes, layout.dtypes, layout.channels_last, strict=True)
        return tuple(
            _tensor(array[rows_B], shape, dtype, channels_last)
            for array, shape, dtype, channels_last in values
        )

    @property
    def num_bytes(self) -> int:
        """The disk space that they take."""
        return self._layout.num_bytes


def stored(key: str, layout: Layout, compute: Compute) -> Activations:
    """Open the activations with this key, computing those that are missing.

    Args:
        key: a digest of everything that the activations depend on.
        layout: their layout.
        compute: returns the values of the images with the given numbers, on the CPU. It is called
            for `IMAGES_PER_BATCH` images at a time, starting at a multiple of that number.

    Raises:
        TooLargeError: if there is no space for them.
        DataError: if the cache folder cannot be used.
    """
    folder = activation_folder()
    finished, building = folder / key, folder / f"{BUILDING}{key}"
    try:
        (folder / _LOCKS).mkdir(parents=True, exist_ok=True)
        while True:
            with _room_lock(folder):
                if finished.exists():
                    os.utime(finished)  # marks it as used now
                    return _open(finished, layout)
            _build(folder, key, layout, compute)
    except OSError as error:
        given_up = isinstance(error, FileNotFoundError) and not building.exists()
        if error.errno in DISK_IS_FULL or given_up:
            with _room_lock(folder):
                shutil.rmtree(building, ignore_errors=True)
            raise TooLargeError(f"{_gb(layout.num_bytes)}, and its disk became full") from error
        raise DataError(
            f"The cache folder {str(folder)!r} cannot be used: {error}. "
            f"Set {CACHE_VARIABLE} to a folder that can be written."
        ) from error


def _open(finished: Path, layout: Layout) -> Activations:
    try:
        return Activations(finished, layout)
    except (ValueError, FileNotFoundError) as error:
        raise DataError(
            f"The activations {str(finished)!r} are damaged ({error}); remove that folder, and "
            "they will be computed again."
        ) from error


def _build(folder: Path, key: str, layout: Layout, compute: Compute) -> None:
    """Compute the pieces that no other process is computing, then wait for the others."""
    finished, building, locks = folder / key, folder / f"{BUILDING}{key}", folder / _LOCKS
    with _room_lock(folder):
        if not finished.exists() and not building.exists():
            _make_room(folder, layout.num_bytes)
            _lay_out(building, layout)
    for timeout in (0, -1):
        for number, (start, end) in enumerate(_pieces(layout)):
            done = building / f"{DONE}{number}"
            if done.exists() or finished.exists():
                continue
            try:
                with FileLock(locks / f"{key}-{number}.lock", timeout=timeout):
                    if not (done.exists() or finished.exists()):
                        _write_piece(building, layout, np.arange(start, end), compute)
                        done.touch()
            except Timeout:
                continue  # another process is computing it
    with _room_lock(folder):
        if not finished.exists():
            _publish(building, finished)
    for lock in locks.glob(f"{key}-*.lock"):
        lock.unlink(missing_ok=True)


def _room_lock(folder: Path) -> FileLock:
    """The lock for freeing space, and for creating, publishing and opening activations."""
    return FileLock(folder / _LOCKS / "room.lock")


def _publish(building: Path, finished: Path) -> None:
    """Rename the folder to its final name, after flushing all of it to the disk."""
    for file in building.glob("*.bin"):
        with file.open("r+b") as stream:
            sync(stream)
    flush_folder(building)
    building.rename(finished)
    for done in finished.glob(f"{DONE}*"):
        done.unlink()


def _has_channels_last(value: Tensor) -> bool:
    in_order = value.dim() == 4 and value.is_contiguous(memory_format=torch.channels_last)
    return in_order and not value.is_contiguous()


def _tensor(
    bytes_BR: NDArray[np.uint8], shape: tuple[int, ...], dtype: str, channels_last: bool
) -> Tensor:
    """A batch of one value, built from the bytes of each image's row."""
    flat = torch.from_numpy(bytes_BR).view(getattr(torch, dtype))
    if not channels_last:
        return flat.view(-1, *shape)
    channels, height, width = shape
    return flat.view(-1, height, width, channels).permute(0, 3, 1, 2)


def _pieces(layout: Layout) -> Iterator[tuple[int, int]]:
    return pairwise([*range(0, layout.num_images, IMAGES_PER_PIECE), layout.num_images])


def _lay_out(building: Path, layout: Layout) -> None:
    """Create the files in their full size; they are sparse until they are written."""
    temp = building.with_name(f"tmp-{building.name}")
    shutil.rmtree(temp, ignore_errors=True)
    temp.mkdir()
    for number, row_bytes in enumerate(layout.row_bytes):
        with (temp / f"{number}.bin").open("wb") as stream:
            stream.truncate(layout.num_images * row_bytes)
    (temp / LAYOUT).write_text(json.dumps(vars(layout)))
    temp.rename(building)


def _write_piece(
    building: Path, layout: Layout, rows_N: NDArray[np.int64], compute: Compute
) -> None:
    for start in range(0, len(rows_N), IMAGES_PER_BATCH):
        rows_B = rows_N[start : start + IMAGES_PER_BATCH]
        _write(building, layout, int(rows_B[0]), compute(rows_B))


def _write(building: Path, layout: Layout, start: int, values: tuple[Tensor, ...]) -> None:
    rows = zip(values, layout.row_bytes, layout.channels_last, strict=True)
    for number, (value, row_bytes, channels_last) in enumerate(rows):
        if channels_last:
            value = value.permute(0, 2, 3, 1)
        with (building / f"{number}.bin").open("r+b") as stream:
            stream.seek(start * row_bytes)
            stream.write(value.contiguous().view(-1).view(torch.uint8).numpy().data)


def _make_room(folder: Path, num_bytes: int) -> None:
    """Remove the least recently used activations until there is space for `num_bytes`.

    Activations that are being computed stay, unless nothing was added to them for an hour. A
    process that has removed files open can read them until it closes them.
    """
    limit = limit_bytes()
    if num_bytes > limit:
        raise TooLargeError(f"{_gb(num_bytes)}, and {LIMIT_VARIABLE} is {limit / 1e9:g}")
    entries = [entry for entry in folder.iterdir() if (entry / LAYOUT).exists()]
    sizes = {entry: sum(file.stat().st_size for file in entry.iterdir()) for entry in entries}
    used, free = sum(sizes.values()), shutil.disk_usage(folder).free - DISK_LEFT_FREE
    for entry in sorted(filter(_is_at_rest, entries), key=_last_used):
        if used + num_bytes <= limit and num_bytes <= free:
            break
        shutil.rmtree(entry)
        used, free = used - sizes[entry], free + sizes[entry]
    if used + num_bytes > limit:
        raise TooLargeError(
            f"{_gb(num_bytes)}, and {_gb(limit - used)} are left of {LIMIT_VARIABLE}="
            f"{limit / 1e9:g} while others are being computed"
        )
    if num_bytes > free:
        raise TooLargeError(f"{_gb(num_bytes)}, and the disk of {folder} has {_gb(max(free, 0))}")


def _is_at_rest(entry: Path) -> bool:
    is_building = entry.name.startswith(BUILDING)
    return not is_building or time.time() - _last_used(entry) > SECONDS_UNTIL_ABANDONED


def _last_used(entry: Path) -> float:
    return entry.stat().st_mtime


def _gb(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.2g} GB"
