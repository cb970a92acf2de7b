"""What frozen parts of networks give for images: computed once on a machine, shared by all trials.

<cache>/activations/<key>/            finished: <n>.bin for each value, layout.json
<cache>/activations/building-<key>/   half-finished, with a file done-<n> for each finished piece
<cache>/activations/locks/            one for each piece, and one for making room

Trials that need the same activations at the same time compute pieces of them side by side. A piece
whose process dies is computed by another; what was finished before is kept.

The folder has a size limit. What was used last stays longest.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from torch import Tensor

from trainables.data import DataError, cache_dir
from trainables.data.cache import CACHE_VARIABLE

LIMIT_VARIABLE = "TOPRUNG_CACHE_LIMIT_GB"
DEFAULT_LIMIT_GB = 20.0
DISK_LEFT_FREE = 2**30
IMAGES_PER_PIECE = 256
_BUILDING = "building-"
_DONE = "done-"
_LAYOUT = "layout.json"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.ENOENT)
"""The disk or the user's share of it is full; or another process found so, and gave up first."""

Compute = Callable[[NDArray[np.int64]], tuple[Tensor, ...]]


class TooLargeError(Exception):
    """Activations for which there is no room; the message says how much they need, and why not."""


@dataclass(frozen=True)
class Layout:
    """How many images there are; each value's shape (without the images), type and memory order.

    Maps whose channels come last in memory are stored so.
    """

    num_images: int
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    channels_last: tuple[bool, ...]

    @classmethod
    def like(cls, num_images: int, examples: tuple[Tensor, ...]) -> "Layout":
        """That of values like these, each of shape (B, ...)."""
        shapes = tuple(tuple(value.shape[1:]) for value in examples)
        dtypes = tuple(str(value.dtype).removeprefix("torch.") for value in examples)
        return cls(num_images, shapes, dtypes, tuple(map(_has_channels_last, examples)))

    @property
    def num_bytes(self) -> int:
        """What all of it takes on the disk."""
        return sum(self.num_images * row for row in self.row_bytes)

    @property
    def row_bytes(self) -> tuple[int, ...]:
        """What one image takes in each file."""
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
        """A copy of the values of these images, each (B, ...), on the CPU."""
        layout = self._layout
        values = zip(self._arrays, layout.shapes, layout.dtypes, layout.channels_last, strict=True)
        return tuple(
            _tensor(array[rows_B], shape, dtype, channels_last)
            for array, shape, dtype, channels_last in values
        )

    @property
    def num_bytes(self) -> int:
        """What they take on the disk."""
        return self._layout.num_bytes


def stored(key: str, layout: Layout, compute: Compute) -> Activations:
    """The activations of this key; what of them is not there is computed.

    Args:
        key: a digest of everything that decides them.
        layout: what they look like.
        compute: gives the values of the images with these numbers, on the CPU.

    Raises:
        TooLargeError: if there is no room for them.
        DataError: if the cache folder cannot be used.
    """
    folder = cache_dir() / "activations"
    finished = folder / key
    try:
        if not finished.exists():
            _build(folder, key, layout, compute)
        os.utime(finished)  # it was used now
        return _open(finished, layout)
    except OSError as error:
        if error.errno in _NO_ROOM:
            shutil.rmtree(folder / f"{_BUILDING}{key}", ignore_errors=True)
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


def num_images_building() -> tuple[int, int]:
    """How many images of the activations that are being computed on this machine are done."""
    done = total = 0
    for building in (cache_dir() / "activations").glob(f"{_BUILDING}*"):
        try:
            num_images: int = json.loads((building / _LAYOUT).read_text())["num_images"]
        except OSError:
            continue  # just finished
        total += num_images
        num_pieces = sum(1 for _ in building.glob(f"{_DONE}*"))
        done += min(num_pieces * IMAGES_PER_PIECE, num_images)
    return done, total


def _build(folder: Path, key: str, layout: Layout, compute: Compute) -> None:
    """Compute, piece by piece, what no other process computes; then wait for what others do."""
    finished, building, locks = folder / key, folder / f"{_BUILDING}{key}", folder / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / "room.lock"):
        if not finished.exists() and not building.exists():
            _make_room(folder, layout.num_bytes)
            _lay_out(building, layout)
    for timeout in (0, -1):
        for number, (start, end) in enumerate(_pieces(layout)):
            done = building / f"{_DONE}{number}"
            if finished.exists() or done.exists():
                continue
            try:
                with FileLock(locks / f"{key}-{number}.lock", timeout=timeout):
                    if not (finished.exists() or done.exists()):
                        _write(building, layout, start, compute(np.arange(start, end)))
                        done.touch()
            except Timeout:
                continue  # another process computes it
    with FileLock(locks / "room.lock"):
        if not finished.exists():
            for done in building.glob(f"{_DONE}*"):
                done.unlink()
            building.rename(finished)
    for lock in locks.glob(f"{key}-*.lock"):
        lock.unlink(missing_ok=True)


def _has_channels_last(value: Tensor) -> bool:
    in_order = value.dim() == 4 and value.is_contiguous(memory_format=torch.channels_last)
    return in_order and not value.is_contiguous()


def _tensor(
    bytes_BR: NDArray[np.uint8], shape: tuple[int, ...], dtype: str, channels_last: bool
) -> Tensor:
    """A batch of one value, from the bytes of each image's row."""
    flat = torch.from_numpy(bytes_BR).view(getattr(torch, dtype))
    if not channels_last:
        return flat.view(-1, *shape)
    channels, height, width = shape
    return flat.view(-1, height, width, channels).permute(0, 3, 1, 2)


def _pieces(layout: Layout) -> Iterator[tuple[int, int]]:
    return pairwise([*range(0, layout.num_images, IMAGES_PER_PIECE), layout.num_images])


def _lay_out(building: Path, layout: Layout) -> None:
    """Make the files in their full size; the disk gives the room as they are written."""
    temp = building.with_name(f"tmp-{building.name}")
    shutil.rmtree(temp, ignore_errors=True)
    temp.mkdir()
    for number, row_bytes in enumerate(layout.row_bytes):
        with (temp / f"{number}.bin").open("wb") as stream:
            stream.truncate(layout.num_images * row_bytes)
    (temp / _LAYOUT).write_text(json.dumps(vars(layout)))
    temp.rename(building)


def _write(building: Path, layout: Layout, start: int, values: tuple[Tensor, ...]) -> None:
    rows = zip(values, layout.row_bytes, layout.channels_last, strict=True)
    for number, (value, row_bytes, channels_last) in enumerate(rows):
        if channels_last:
            value = value.permute(0, 2, 3, 1)
        with (building / f"{number}.bin").open("r+b") as stream:
            stream.seek(start * row_bytes)
            stream.write(value.contiguous().view(-1).view(torch.uint8).numpy().data)


def _make_room(folder: Path, num_bytes: int) -> None:
    """Remove what was used longest ago, until there is room for so much.

    A process that has files open which are removed keeps them until it closes them.
    """
    limit = limit_bytes()
    if num_bytes > limit:
        raise TooLargeError(f"{_gb(num_bytes)}, and {LIMIT_VARIABLE} is {limit / 1e9:g}")
    entries = sorted(
        (entry for entry in folder.iterdir() if (entry / _LAYOUT).exists()),
        key=lambda entry: entry.stat().st_mtime,
    )
    sizes = [sum(file.stat().st_size for file in entry.iterdir()) for entry in entries]
    used, free = sum(sizes), shutil.disk_usage(folder).free - DISK_LEFT_FREE
    for entry, size in zip(entries, sizes, strict=True):
        if used + num_bytes <= limit and num_bytes <= free:
            break
        shutil.rmtree(entry)
        used, free = used - size, free + size
    if num_bytes > free:
        raise TooLargeError(f"{_gb(num_bytes)}, and the disk of {folder} has {_gb(max(free, 0))}")


def limit_bytes() -> int:
    """The size limit of the folder, in bytes.

    Raises:
        DataError: if the user set it to something that is no size.
    """
    text = os.environ.get(LIMIT_VARIABLE, str(DEFAULT_LIMIT_GB))
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not 0 <= limit < float("inf"):
        raise DataError(f"{LIMIT_VARIABLE}={text}: must be a number of gigabytes, 0 or above")
    return int(limit * 1e9)


def _gb(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.2g} GB"
