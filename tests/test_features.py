"""Features are computed once for the same images and weights, and never shared with others."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import nn

from tests.helpers import tiny_data
from trainables.cnn import CnnSettings
from trainables.data import DataError, DataSettings, TrainingData
from trainables.evaluate import Normaliser
from trainables.features import stored_features
from trainables.network import NetworkSettings

DATA = tiny_data(100, 50)
SETTINGS = DataSettings(source="tiny", image_size=6, channels=1)


class Backbone(nn.Module):
    """Counts the images that it is given."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(36, 5), nn.BatchNorm1d(5), nn.Dropout(0.5)
        )
        self.seen = 0

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        self.seen += len(images_BCHW)
        features_BF: torch.Tensor = self.layers(images_BCHW)
        return features_BF


def features(
    backbone: nn.Module | None = None,
    built_from: NetworkSettings = CnnSettings(),  # noqa: B008  (a frozen value)
    settings: DataSettings = SETTINGS,
    data: TrainingData = DATA,
) -> NDArray[np.float32]:
    device = torch.device("cpu")
    return stored_features(backbone or Backbone(), built_from, settings, data, device)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


def test_are_the_backbone_s_in_evaluation_mode() -> None:
    backbone = Backbone().train()
    features_NF = features(backbone)
    normalise = Normaliser(DATA.mean, DATA.std, torch.device("cpu"))
    with torch.no_grad():
        expected_NF = backbone.eval()(normalise(DATA.images_NHWC)).numpy()
    assert features_NF.dtype == np.float32
    np.testing.assert_allclose(features_NF, expected_NF, atol=1e-6)


def test_are_computed_once() -> None:
    first, second = Backbone(), Backbone()
    assert np.array_equal(features(first), features(second))
    assert (first.seen, second.seen) == (150, 0)


def test_are_computed_once_by_two_at_the_same_time() -> None:
    backbones = [Backbone(), Backbone()]
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(features, backbones)
    assert np.array_equal(one, other)
    assert sorted(backbone.seen for backbone in backbones) == [0, 150]


@pytest.mark.parametrize(
    "other",
    [
        {"backbone": Backbone(seed=1)},
        {"built_from": CnnSettings(filters=16)},
        {"settings": SETTINGS.model_copy(update={"resize": "letterbox"})},
        {"data": replace(DATA, digest="another")},
        {"data": replace(DATA, mean=(0.5,))},
        {"data": replace(DATA, std=(0.5,))},
    ],
    ids=["weights", "settings", "form", "images", "mean", "std"],
)
def test_are_computed_anew_for_other(other: dict[str, Any], folder: Path) -> None:
    features()
    features(**other)
    assert len(list(folder.glob("*.npy"))) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"source": "/elsewhere", "digest": "tiny"},
        {"source": "cifar10", "root": "/elsewhere", "download": True},
        {"validation_fraction": 0.3, "test_fraction": 0.1, "split_seed": 7},
    ],
    ids=["source", "root", "split"],
)
def test_are_the_same_however_the_same_images_were_got(other: dict[str, Any], folder: Path) -> None:
    features()
    features(settings=SETTINGS.model_copy(update=other))
    assert len(list(folder.glob("*.npy"))) == 1


def test_half_written_ones_are_removed_unless_they_are_being_written(folder: Path) -> None:
    folder.mkdir(parents=True)
    abandoned, in_writing = folder / "tmp-1-abandoned.npy", folder / "tmp-2-busy.npy"
    abandoned.touch()
    in_writing.touch()
    with FileLock(folder / "busy.lock"):
        features()
    assert not abandoned.exists()
    assert in_writing.exists()
    assert len([path for path in folder.glob("*.npy") if path != in_writing]) == 1


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _cut_short(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


@pytest.mark.parametrize("damage", [_empty, _cut_short])
def test_damaged_ones_are_told(damage: Callable[[Path], None], folder: Path) -> None:
    features()
    (file,) = folder.glob("*.npy")
    damage(file)
    with pytest.raises(DataError, match=r"features .* are damaged .*; remove that file"):
        features()


def test_a_cache_that_cannot_be_used_is_told(folder: Path) -> None:
    folder.parent.touch()
    with pytest.raises(DataError, match=r"cannot be used: .*Set TOPRUNG_CACHE_DIR"):
        features()
