"""What a module gives is computed once for the same images and weights, and never mixed up."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.helpers import tiny_config, tiny_data
from toprung.trainables.config import TrialConfig
from toprung.trainables.data import TrainingData
from toprung.trainables.frozen_features.values import (
    augmented_rows,
    frozen_values,
    identity,
    rows_of,
    run_frozen,
)
from toprung.trainables.inference.precision import Precision
from toprung.trainables.inference.predict import Normaliser
from toprung.trainables.recipe.augmenter import Augmenter

DATA = tiny_data(100, 50)
FLIPS = [{"name": "horizontal_flip"}, {"name": "rotation", "degrees": 40}]
VIEWS = {
    "augmentation__transforms": FLIPS,
    "augmentation__stored_views": 3,
    "model__freeze_policy": "head_only",
}


class Backbone(nn.Module):
    """Counts the images that it is given."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(36, 5), nn.BatchNorm1d(5), nn.Dropout(0.5)
        )
        self.seen = 0

    def forward(self, images_BCHW: Tensor) -> Tensor:
        self.seen += len(images_BCHW)
        features_BF: Tensor = self.layers(images_BCHW)
        return features_BF


def normaliser(data: TrainingData) -> Normaliser:
    return Normaliser(data.mean, data.std, torch.device("cpu"))


def features(
    backbone: nn.Module | None = None,
    code: str = "flatten, linear",
    config: TrialConfig | None = None,
    data: TrainingData = DATA,
    split: Any = "train",
) -> Tensor:
    backbone = backbone or Backbone()
    rows = rows_of(config or tiny_config(), data, split, normaliser(data))
    values = frozen_values(
        backbone, identity(backbone, code), rows, run_frozen(Backbone(), rows, np.arange(1))
    )
    return values.rows(np.arange(len(values)))[0]


def views(**settings: Any) -> tuple[Tensor, Backbone]:
    config, backbone = tiny_config(**VIEWS | settings), Backbone()
    augment = Augmenter(config.augmentation, DATA.image_shape, 2)
    rows = augmented_rows(config, DATA, normaliser(DATA), augment)
    examples = run_frozen(Backbone(), rows, np.arange(1))
    state = torch.get_rng_state()
    values = frozen_values(backbone, identity(backbone, ""), rows, examples)
    assert torch.equal(torch.get_rng_state(), state)
    return values.rows(np.arange(len(values)))[0], backbone


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "activations"


def num_stored(folder: Path) -> int:
    return len([path for path in folder.iterdir() if path.name != "locks"])


@pytest.mark.parametrize("split", ["train", "validation"])
def test_are_the_module_s_in_evaluation_mode(split: str) -> None:
    backbone = Backbone().train()
    indices = getattr(DATA, f"{split}_indices")
    got_NF = features(backbone, split=split)
    assert backbone.layers[2].training
    with torch.no_grad():
        wanted_NF = backbone.eval()(normaliser(DATA)(DATA.images_NHWC[indices]))
    torch.testing.assert_close(got_NF, wanted_NF)


def test_are_computed_once() -> None:
    first, second = Backbone(), Backbone()
    assert torch.equal(features(first), features(second))
    assert (first.seen, second.seen) == (100, 0)


@pytest.mark.parametrize(
    "other",
    [
        {"backbone": Backbone(seed=1)},
        {"code": "something else"},
        {"config": tiny_config(data__resize="letterbox")},
        {"data": replace(DATA, digest="another")},
        {"data": replace(DATA, mean=(0.5,))},
        {"data": replace(DATA, std=(0.5,))},
        {"data": replace(DATA, train_indices=DATA.train_indices[::-1])},
        {"split": "validation"},
    ],
    ids=["weights", "code", "form", "images", "mean", "std", "split", "validation"],
)
def test_are_computed_anew_for_other(other: dict[str, Any], folder: Path) -> None:
    features()
    features(**other)
    assert num_stored(folder) == 2


@pytest.mark.parametrize(
    "same",
    [
        {"data__source": "/elsewhere"},
        {"data__source": "cifar10", "data__root": "/elsewhere", "data__download": True},
        {"optimizer__lr": 0.5, "seed": 9},
    ],
    ids=["source", "root", "trial"],
)
def test_are_shared_by_all_that_give_the_same(same: dict[str, Any], folder: Path) -> None:
    features()
    features(config=tiny_config(**same))
    assert num_stored(folder) == 1


def test_each_view_of_an_image_is_another_one() -> None:
    (values_NF, backbone) = views()
    assert values_NF.shape == (3 * 100, 5)
    assert backbone.seen == 300
    one, two, three = torch.tensor_split(values_NF, 3)
    plain = features()
    for some, other in ((one, two), (two, three), (one, three), (one, plain)):
        assert (some != other).any(1).float().mean() > 0.9


def test_views_are_drawn_by_the_seed_of_the_split_alone() -> None:
    first, _ = views()
    again, backbone = views(seed=5)
    assert backbone.seen == 0
    other, backbone = views(data__split_seed=3)
    assert backbone.seen == 300
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augmentation__stored_views": 3}, "stored_views = 3 has no effect: transforms is empty"),
        ({**VIEWS, "augmentation__mix": "mixup"}, "cannot be combined with mix = 'mixup'"),
        ({**VIEWS, "training__store_frozen": False}, "training/store_frozen = false"),
        (
            {**VIEWS, "model__freeze_policy": "nothing_frozen"},
            "with model/freeze_policy = 'nothing_frozen' nothing is frozen",
        ),
    ],
)
def test_views_without_effect_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_config(**settings)


def test_views_are_augmented_in_fp32_whatever_the_module_computes_in() -> None:
    config = tiny_config(**VIEWS)
    augment = Augmenter(config.augmentation, DATA.image_shape, 2)
    rows = augmented_rows(config, DATA, normaliser(DATA), augment)
    backbone = nn.Flatten()
    exact, in_bf16 = (
        run_frozen(backbone, rows, np.arange(32), precision)[0]
        for precision in (None, Precision("bf16", torch.device("cpu")))
    )
    assert torch.equal(exact, in_bf16)


def test_rows_that_follow_others_are_theirs() -> None:
    train, validation = (
        rows_of(tiny_config(), DATA, split, normaliser(DATA)) for split in ("train", "validation")
    )
    both = train.followed_by(validation)
    assert both.num_images == 150
    wanted = torch.cat([train.images(np.arange(96, 100)), validation.images(np.arange(28))])
    assert torch.equal(both.images(np.arange(96, 128)), wanted)
