"""What the name of a source means."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from toprung.trainables.data import DataError, DataSettings
from toprung.trainables.data.listing.cache import Cache
from toprung.trainables.data.listing.image_list import Source
from toprung.trainables.data.sources import find_source, located


def source(name: str) -> Source:
    return find_source(DataSettings(source=name), Cache(None))


def test_digits() -> None:
    images = source("digits").list_images()
    assert len(images) == 1797
    assert {image.class_name for image in images} == set("0123456789")
    pixels = images[0].content
    assert isinstance(pixels, np.ndarray)
    assert pixels.shape == (8, 8)
    assert pixels.dtype == np.uint8
    # The first digit's first row is 0 0 5 13 9 1 0 0, out of 16.
    assert pixels[0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]


def test_built_ins_have_no_path() -> None:
    assert located(DataSettings(source="digits")).source == "digits"
    assert located(DataSettings(source="./digits")).source == str(Path.cwd() / "digits")


def test_a_root_becomes_absolute() -> None:
    settings = DataSettings(source="cifar10", root="sets")
    assert located(settings).source == "cifar10"
    assert located(settings).root == str(Path.cwd() / "sets")
    assert located(DataSettings(source="cifar10")).root is None


def test_an_unknown_name() -> None:
    message = r"'digit' is neither a data set known by name \(digits, .*; nearest: digits"
    with pytest.raises(DataError, match=message):
        source("digit")


@pytest.mark.parametrize("name", ["", "\0", "a" * 5000, "~nobody-of-that-name/images"])
def test_odd_names(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError):
        source(name)


def test_a_file_that_is_no_csv(tmp_path: Path) -> None:
    (tmp_path / "images.zip").touch()
    with pytest.raises(DataError, match=r"neither a folder nor a \.csv file"):
        source(str(tmp_path / "images.zip"))


def test_the_identity_changes_with_any_file(flat_folder: Path) -> None:
    before = source(str(flat_folder)).identity
    assert source(str(flat_folder)).identity == before
    os.utime(flat_folder / "cat/0.png", ns=(0, 0))
    touched = source(str(flat_folder)).identity
    (flat_folder / "cat/1.png").unlink()
    assert len({before, touched, source(str(flat_folder)).identity}) == 3


def test_the_package_is_light() -> None:
    heavy = {"ray", "optuna", "torch", "torchvision", "sklearn", "rich"}
    above = {"toprung.search_spaces", "toprung.analysis", "toprung.api"}
    code = f"import sys, toprung.trainables.data; print(*({heavy | above} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == []
