"""What trials and the analyzer see, and above all what trials do not."""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from toprung.trainables.data import (
    DataError,
    DataSettings,
    decode_image,
    open_test_data,
    open_training_data,
    prepare,
)

pytestmark = pytest.mark.usefixtures("cache")


def settings(source: Path | str, **changes: Any) -> DataSettings:
    return DataSettings(source=str(source), **{"image_size": (4, 6)} | changes)


def test_every_image_is_where_its_name_says(split_folder: Path) -> None:
    prepared = prepare(settings(split_folder))
    training, test = open_training_data(prepared.settings), open_test_data(prepared.settings)
    assert test is not None
    assert training.images_NHWC.shape == (12, 4, 6, 3)
    assert training.image_shape == (3, 4, 6)
    assert training.digest == prepared.settings.digest
    assert test.digest == prepared.test_digest
    images = [*training.images_NHWC, *test.images_NHWC]
    labels = [*training.labels_N, *test.labels_N]
    for pixels, label, (name, class_name, _) in zip(images, labels, prepared.splits, strict=True):
        np.testing.assert_array_equal(pixels, decode_image(split_folder / name, prepared.settings))
        assert training.class_names[label] == class_name
    names = [name for name, _, split in prepared.splits if split == "test"]
    assert test.names == tuple(names)


def test_indices_are_the_splits(flat_folder: Path) -> None:
    prepared = prepare(settings(flat_folder))
    data = open_training_data(prepared.settings)
    splits = [split for _, _, split in prepared.splits]
    assert {splits[index] for index in data.train_indices} == {"train"}
    assert {splits[index] for index in data.validation_indices} == {"validation"}
    assert len(data.train_indices) + len(data.validation_indices) == len(data.images_NHWC)


def test_images_are_a_read_only_memory_map(flat_folder: Path) -> None:
    images_NHWC = open_training_data(settings(flat_folder)).images_NHWC
    assert isinstance(images_NHWC, np.memmap)
    assert images_NHWC.dtype == np.uint8
    with pytest.raises(ValueError, match="read-only"):
        images_NHWC[0] = 0


def test_mean_and_std_are_of_the_training_images_only(flat_folder: Path) -> None:
    data = open_training_data(settings(flat_folder))
    pixels = data.images_NHWC[data.train_indices] / 255
    np.testing.assert_allclose(data.mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-12)
    expected_std = np.maximum(pixels.std(axis=(0, 1, 2)), 1 / 255)
    np.testing.assert_allclose(data.std, expected_std, rtol=1e-9)


def test_imagenet_s_mean_and_std(flat_folder: Path) -> None:
    own = prepare(settings(flat_folder)).settings
    data = open_training_data(own.model_copy(update={"normalisation": "imagenet"}))
    assert (data.mean, data.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_one_channel(flat_folder: Path) -> None:
    data = open_training_data(settings(flat_folder, channels=1))
    assert data.image_shape == (1, 4, 6)
    assert len(data.mean) == len(data.std) == 1


def test_digits() -> None:
    prepared = prepare(settings("digits", image_size=8))
    data = open_training_data(prepared.settings)
    assert (prepared.num_train, prepared.num_validation, prepared.num_test) == (1151, 287, 359)
    assert prepared.class_names == tuple("0123456789")
    assert data.image_shape == (3, 8, 8)
    assert (data.images_NHWC[..., 0] == data.images_NHWC[..., 2]).all()
    resized = open_training_data(settings("digits", image_size=(12, 16), channels=1))
    assert resized.image_shape == (1, 12, 16)


def test_a_warm_start_with_digits_does_not_load_them(monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(settings("digits", image_size=8))
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)  # no import
    assert prepare(settings("digits", image_size=8)) == first
    assert open_test_data(first.settings) is not None


def test_a_pinned_store_is_opened_without_its_source(flat_folder: Path) -> None:
    pinned = prepare(settings(flat_folder)).settings
    shutil.rmtree(flat_folder)
    assert len(open_training_data(pinned).images_NHWC) == 16


def test_nothing_is_written_to_open_a_pinned_store(flat_folder: Path, cache: Path) -> None:
    pinned = prepare(settings(flat_folder)).settings
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    open_training_data(pinned)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == before


@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize("cold", [True, False])
def test_a_trial_reads_no_test_image(
    pinned: bool, cold: bool, flat_folder: Path, cache: Path, files_read: list[Path]
) -> None:
    prepared = prepare(settings(flat_folder))
    tests = {flat_folder / name for name, _, split in prepared.splits if split == "test"}
    if cold:
        shutil.rmtree(cache)
    files_read.clear()
    digest = prepared.settings.digest if pinned else None
    open_training_data(prepared.settings.model_copy(update={"digest": digest}))
    assert len(files_read) == (16 if cold else 0)
    assert not tests & set(files_read)


def test_a_trial_does_not_build_the_test_store(flat_folder: Path, cache: Path) -> None:
    open_training_data(settings(flat_folder))
    assert len(list((cache / "stores").iterdir())) == 1


@pytest.mark.parametrize("opener", [open_training_data, open_test_data])
def test_other_data_than_the_pinned_ones_are_refused(
    opener: Any, flat_folder: Path, cache: Path
) -> None:
    pinned = prepare(settings(flat_folder)).settings
    for n in range(10):
        Image.new("L", (6, 4), n).save(flat_folder / f"cat/{n}.png")
    shutil.rmtree(cache)
    with pytest.raises(DataError, match="have changed since data/digest was pinned"):
        opener(pinned)


def test_no_test_set(flat_folder: Path) -> None:
    assert open_test_data(settings(flat_folder, test_fraction=0)) is None


def test_a_damaged_store_is_named(flat_folder: Path, cache: Path) -> None:
    pinned = prepare(settings(flat_folder)).settings
    (store,) = (cache / "stores").glob(f"{pinned.digest}-*")
    (store / "images.npy").write_bytes(b"")
    with pytest.raises(DataError, match=f"{store.name}.* is damaged .* remove that folder"):
        open_training_data(pinned)
    (store / "meta.json").unlink()
    with pytest.raises(DataError, match="is damaged"):
        open_training_data(pinned)
