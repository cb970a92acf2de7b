"""Activations are computed once, by whoever is there, and kept within a size limit."""

import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from toprung.trainables.data import DataError
from toprung.trainables.frozen_features.cache import Activations, Layout, TooLargeError, stored
from toprung.trainables.frozen_features.cache_folder import IMAGES_PER_PIECE, num_images_building

NUM_IMAGES = 2 * IMAGES_PER_PIECE + 44
LAYOUT = Layout(NUM_IMAGES, ((2, 3, 4), ()), ("float32", "bfloat16"), (True, False))
EVERY = np.arange(NUM_IMAGES)
NUM_BYTES = NUM_IMAGES * (2 * 3 * 4 * 4 + 2)


def values(rows_B: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    maps_BCHW = torch.arange(24.0).view(2, 3, 4) + torch.from_numpy(rows_B).view(-1, 1, 1, 1)
    return maps_BCHW.to(memory_format=torch.channels_last), torch.from_numpy(rows_B).bfloat16()


class Counting:
    """Computes the values, and counts for how many images."""

    def __init__(self, fails_after: int = NUM_IMAGES) -> None:
        self.seen = 0
        self.fails_after = fails_after

    def __call__(self, rows_B: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        if self.seen >= self.fails_after:
            raise RuntimeError("out of memory")
        self.seen += len(rows_B)
        return values(rows_B)


def get(key: str = "key", compute: Any = values) -> Activations:
    return stored(key, LAYOUT, compute)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "activations"


def test_are_what_was_computed() -> None:
    rows_B = np.array([NUM_IMAGES - 1, 0, 0, 300])
    for got, wanted in zip(get().rows(rows_B), values(rows_B), strict=True):
        assert got.dtype == wanted.dtype
        assert got.stride() == wanted.stride()
        assert torch.equal(got, wanted)
    assert len(get().rows(EVERY)[0]) == len(get()) == NUM_IMAGES
    assert LAYOUT.num_bytes == NUM_BYTES
    assert Layout.like(NUM_IMAGES, values(rows_B)) == LAYOUT


def test_are_computed_once() -> None:
    first, second = Counting(), Counting()
    get(compute=first)
    get(compute=second)
    assert (first.seen, second.seen) == (NUM_IMAGES, 0)


def test_two_who_want_them_at_the_same_time_share_the_work(folder: Path) -> None:
    both_are_at_it = threading.Barrier(2, timeout=20)

    class Meeting(Counting):
        def __call__(self, rows_B: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
            if self.seen == 0:
                both_are_at_it.wait()
            return super().__call__(rows_B)

    computing = [Meeting(), Meeting()]
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda compute: get(compute=compute), computing)
    assert sum(compute.seen for compute in computing) == NUM_IMAGES
    for activations in (one, other):
        assert torch.equal(activations.rows(EVERY)[0], values(EVERY)[0])
    assert not list((folder / "locks").glob("key-*"))


def test_what_a_process_that_died_had_finished_is_kept() -> None:
    with pytest.raises(RuntimeError, match="out of memory"):
        get(compute=Counting(fails_after=IMAGES_PER_PIECE))
    assert num_images_building() == (IMAGES_PER_PIECE, NUM_IMAGES)
    other = Counting()
    activations = get(compute=other)
    assert other.seen == NUM_IMAGES - IMAGES_PER_PIECE
    assert num_images_building() == (0, 0)
    assert torch.equal(activations.rows(EVERY)[0], values(EVERY)[0])


def test_those_used_longest_ago_make_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for age, key in enumerate(["used last", "old", "oldest"]):
        get(key)
        os.utime(folder / key, (0, 1e9 - age))
    get("oldest")  # is now the one used last
    monkeypatch.setenv("TOPRUNG_CACHE_LIMIT_GB", str(3.2 * NUM_BYTES / 1e9))
    get("new")
    kept = {path.name for path in folder.iterdir()} - {"locks"}
    assert kept == {"oldest", "used last", "new"}


def test_those_that_were_removed_stay_readable_where_they_are_open(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    opened = get("opened")
    monkeypatch.setenv("TOPRUNG_CACHE_LIMIT_GB", str(1.1 * NUM_BYTES / 1e9))
    get("new")
    assert not (folder / "opened").exists()
    assert torch.equal(opened.rows(np.arange(5))[0], values(np.arange(5))[0])


def test_what_is_being_computed_makes_no_room(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    with pytest.raises(RuntimeError, match="out of memory"):
        get("building", Counting(fails_after=IMAGES_PER_PIECE))
    monkeypatch.setenv("TOPRUNG_CACHE_LIMIT_GB", str(1.5 * NUM_BYTES / 1e9))
    with pytest.raises(TooLargeError, match="while others are being computed"):
        get("new")
    os.utime(folder / "building-building", (0, 1e9))  # abandoned long ago
    get("new")
    assert {path.name for path in folder.iterdir()} == {"new", "locks"}


def test_too_large_ones_are_refused(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    get("small")
    monkeypatch.setenv("TOPRUNG_CACHE_LIMIT_GB", "0.00002")
    with pytest.raises(TooLargeError, match=r"5\.4e-05 GB, and TOPRUNG_CACHE_LIMIT_GB is 2e-05"):
        get("large")
    assert (folder / "small").exists()


def test_a_full_disk_is_no_reason_to_fail(folder: Path) -> None:
    def compute(rows_B: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        if rows_B[0] > 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return values(rows_B)

    with pytest.raises(TooLargeError, match="its disk became full"):
        get(compute=compute)
    assert [path.name for path in folder.iterdir()] == ["locks"]


@pytest.mark.parametrize("limit", ["much", "-1", "inf"])
def test_a_limit_that_is_not_a_number_is_reported(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOPRUNG_CACHE_LIMIT_GB", limit)
    with pytest.raises(DataError, match=f"TOPRUNG_CACHE_LIMIT_GB={limit}: must be a number"):
        get()


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _cut_short(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


@pytest.mark.parametrize("damage", [_empty, _cut_short, Path.unlink])
def test_damaged_ones_are_reported(damage: Callable[[Path], None], folder: Path) -> None:
    get()
    damage(folder / "key" / "1.bin")
    with pytest.raises(DataError, match=r"activations .* are damaged .*; remove that folder"):
        get()


def test_a_cache_that_cannot_be_used_is_reported(folder: Path) -> None:
    folder.parent.touch()
    with pytest.raises(DataError, match=r"cannot be used: .*Set TOPRUNG_CACHE_DIR"):
        get()
