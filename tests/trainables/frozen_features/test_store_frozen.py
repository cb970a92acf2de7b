"""Training on stored activations is training, only sooner."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import models

from tests.support.helpers import TRUSTED, figures, tiny_config, tiny_data
from toprung.analysis.models.model import model_from_checkpoint
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.trainables.config import TrialConfig
from toprung.trainables.data import TrainingData
from toprung.trainables.results.columns import CHECKPOINT_FILE
from toprung.trainables.results.records import Validation
from toprung.trainables.system.typed_settings import ConfigError
from toprung.trainables.training.fit import fit
from toprung.trainables.training.state import read_checkpoint

DATA = tiny_data(24, 12, shape_HWC=(32, 32, 3))
FLIPS = {"transforms": [{"name": "horizontal_flip"}]}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict as torchvision writes it."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    for name in ("squeezenet1_1", "resnet18"):
        torch.save(models.get_model(name).state_dict(), folder / f"{name}.pth")
    return folder


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "activations"


def config(weights: Path, policy: str, name: str = "resnet18", **settings: Any) -> TrialConfig:
    model = {"architecture": name, "weights": str(weights / f"{name}.pth"), "freeze_policy": policy}
    return tiny_config(
        model=model,
        data={"source": "tiny", "image_size": 32},
        **{"training__epochs": 2, "optimizer__lr": 0.01} | settings,
    )


def losses(
    config: TrialConfig, data: TrainingData = DATA, resume_from: Path | None = None
) -> list[float]:
    validations = fit(config, data, resume_from=resume_from)
    return [loss for v in validations for loss in (v.record.train_loss, v.record.val_loss)]


def message(config: TrialConfig) -> str:
    first: Validation = next(fit(config, DATA))
    return first.frozen_part


@pytest.mark.parametrize(
    ("name", "policy", "precision"),
    [
        ("squeezenet1_1", "head_only", "fp32"),
        ("squeezenet1_1", "head_only", "auto"),
        ("resnet18", "head_only", "fp32"),
        ("resnet18", "head_and_stage:layer4", "auto"),
        ("resnet18", "first_stages_frozen:3", "fp32"),
    ],
)
def test_the_losses_are_those_without_it(
    weights: Path, name: str, policy: str, precision: str
) -> None:
    settings = config(weights, policy, name, training__precision=precision)
    assert "computed once and stored" in message(settings)
    stored = losses(settings)
    without = losses(
        config(weights, policy, name, training__store_frozen=False, training__precision=precision)
    )
    assert stored == pytest.approx(without, rel=1e-4 if precision == "fp32" else 2e-2)


def test_trials_share_what_is_stored(weights: Path) -> None:
    losses(config(weights, "head_only"))
    expected = losses(config(weights, "head_only", optimizer__lr=0.002, seed=3))
    others = replace(DATA, images_NHWC=np.zeros_like(DATA.images_NHWC))  # would give others
    assert losses(config(weights, "head_only", optimizer__lr=0.002, seed=3), others) == expected
    assert losses(config(weights, "head_only", training__store_frozen=False), others) != expected


@pytest.mark.parametrize("views", [None, 3])
def test_it_resumes_exactly(weights: Path, views: int | None, tmp_path: Path) -> None:
    augmentation = {} if views is None else {**FLIPS, "stored_views": views}
    settings = config(weights, "head_only", training__epochs=4, augmentation=augmentation)
    whole = []
    for validation in fit(settings, DATA):
        whole.append(figures(validation.record))
        if validation.record.epoch == 2:
            (tmp_path / "checkpoint").mkdir()
            validation.save_checkpoint(tmp_path / "checkpoint")
    rest = fit(settings, DATA, resume_from=tmp_path / "checkpoint")
    assert [figures(v.record) for v in rest] == whole[1:]


def test_an_epoch_draws_from_the_stored_views(weights: Path) -> None:
    views = {**FLIPS, "stored_views": 8}
    seeds = [
        losses(config(weights, "head_only", augmentation=views, seed=seed, training__epochs=1))
        for seed in (1, 1, 2)
    ]
    plain = losses(config(weights, "head_only", seed=1, training__epochs=1))
    assert seeds[0] == seeds[1] != seeds[2]
    assert seeds[0] != plain
    assert "8 augmented views of each image" in message(
        config(weights, "head_only", augmentation=views)
    )


@pytest.mark.parametrize(
    ("policy", "settings", "reason"),
    [
        ("nothing_frozen", {}, ""),
        ("head_only", {"training__store_frozen": False}, ""),
        (
            "train_pattern:^conv1|^fc",
            {},
            "the network begins with a layer that trains or is random",
        ),
        (
            "freeze_pattern:^conv1",
            {},
            "that is little work, but its outputs take .* MB for each image",
        ),
        ("head_only", {"augmentation": FLIPS}, "images are augmented anew each time"),
        ("head_only", {"augmentation": {"mix": "cutmix"}}, "mix = 'cutmix' mixes new images"),
        ("head_only", {"model__weights": "none"}, "its weights are random"),
        ("train_pattern:layer4", {}, "the network's head is frozen"),
    ],
)
def test_why_it_is_not_stored_is_reported(
    weights: Path, policy: str, settings: dict[str, Any], reason: str, folder: Path
) -> None:
    line = message(config(weights, policy, **settings))
    assert re.search(reason, line)
    assert line.startswith("the frozen part is computed in every epoch: ") == bool(reason)
    assert not folder.exists()


def test_without_room_it_trains_without(
    weights: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setenv("TOPRUNG_CACHE_LIMIT_GB", "0.00001")
    settings = config(weights, "head_only")
    assert "would take" in message(settings)
    assert losses(settings) == losses(config(weights, "head_only", training__store_frozen=False))
    assert [path.name for path in folder.iterdir()] == ["locks"]


@pytest.mark.parametrize("policy", ["head_only", "fully_connected_frozen"])
def test_a_checkpoint_is_the_same_model(weights: Path, policy: str, tmp_path: Path) -> None:
    saved = []
    for store in (True, False):
        *_, last = fit(config(weights, policy, training__store_frozen=store), DATA)
        folder = tmp_path / str(store)
        folder.mkdir()
        last.save_checkpoint(folder)
        saved.append(model_from_checkpoint(folder, TRUSTED).network.state_dict())
    for name, tensor in saved[0].items():
        torch.testing.assert_close(tensor, saved[1][name], rtol=1e-4, atol=1e-5)


def test_a_checkpoint_holds_no_pretrained_weights_that_never_train(
    weights: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "resnet18.pth").write_bytes((weights / "resnet18.pth").read_bytes())
    settings = config(own, "head_only")
    next(fit(settings, DATA)).save_checkpoint(tmp_path)
    assert (tmp_path / CHECKPOINT_FILE).stat().st_size < 500_000  # the whole network: 45 MB
    torch.manual_seed(1)
    torch.save(models.resnet18().state_dict(), own / "resnet18.pth")
    with pytest.raises(ConfigError, match="no longer the weights that the trial started from"):
        read_checkpoint(tmp_path)
    (own / "resnet18.pth").unlink()
    with pytest.raises(SweepFolderError, match=r"resnet18\.pth: there is no such file"):
        model_from_checkpoint(tmp_path, TRUSTED)
