"""Every study on small data in its real format.

By default, two trials of each kind are planned and trained in this process, and one study runs
through Ray, with one command and its comparison table. `pytest -m every_study` runs all of them so,
in some minutes.

The pretrained weights are random ones in a file, since none can be downloaded here; where a study
has large networks, a ResNet-18 stands in for them.
"""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from rich.console import Console

from tests.support import named_data
from tests.support.helpers import TRUSTED, printed
from toprung.analysis.models.model import model_from_checkpoint
from toprung.planning.plan import plan_sweep
from toprung.search_spaces import shipped
from toprung.trainables.data import open_training_data
from toprung.trainables.inference.predict import score
from toprung.trainables.training.any_fit import fit_any


@dataclass(frozen=True)
class DryRun:
    """How a study is started here: its data, what is made smaller, and its comparison."""

    write_data: Callable[..., Any]
    by: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    trials: int = 2
    weights: bool = False
    stages: set[str] = field(default_factory=set)


SMALL = {"data/image_size": 32}
RESNET = {"model/architecture": "resnet18"}
CIFAR10 = named_data.write_cifar10
DRY_RUNS = {
    "study_a_full": DryRun(named_data.write_pacs, ("model/freeze_policy",), SMALL, 2, True),
    "study_a_few_shot": DryRun(
        named_data.write_pacs,
        ("model/freeze_policy", "labels/augmentation"),
        {"labels/augmentation": "study_a", "data/image_size": 208},
        weights=True,
    ),
    "study_b_from_scratch": DryRun(
        named_data.write_caltech101,
        ("labels/setting",),
        SMALL | RESNET | {"training/epochs": 1},
    ),
    "study_b_pretrained": DryRun(
        named_data.write_caltech101,
        ("labels/setting",),
        SMALL | RESNET | {"training/epochs": 1},
        weights=True,
    ),
    "study_b_policies": DryRun(
        named_data.write_caltech101,
        ("model/freeze_policy",),
        SMALL | RESNET | {"training/epochs": 1},
        weights=True,
    ),
    "study_b_augmentation": DryRun(
        named_data.write_caltech101,
        ("labels/augmentation",),
        SMALL | RESNET | {"training/epochs": 1},
        trials=4,
        weights=True,
    ),
    "study_c_networks": DryRun(CIFAR10, ("labels/network",), {"labels/network": "good"}, 1),
    "study_c_transfer": DryRun(CIFAR10, ("model/freeze_policy",), SMALL, weights=True),
    "study_c_variations": DryRun(CIFAR10, ("model/downsampling",), {"data/image_size": 16}),
    "study_d_cnn_sweep": DryRun(
        named_data.write_inaturalist12k,
        ("labels/stage",),
        {"training/epochs": 1, "data/image_size": 180},
        trials=3,
        stages={"network", "regularisation", "schedule"},
    ),
    "study_d_fine_tuning": DryRun(
        named_data.write_inaturalist12k,
        ("model/freeze_policy", "model/head_hidden"),
        SMALL | RESNET,
        weights=True,
    ),
    "study_e_losses": DryRun(
        named_data.write_tiny_imagenet, ("loss/name",), {"data/image_size": 32}, 3
    ),
    "study_e_optimizers": DryRun(
        named_data.write_dogs_vs_cats, ("labels/method", "training/shuffle"), SMALL, 3
    ),
    "study_e_policies": DryRun(
        named_data.write_stl10, ("model/freeze_policy",), SMALL | RESNET, weights=True
    ),
    "study_e_svm": DryRun(
        named_data.write_stl10,
        ("model/kernel", "model/scaling"),
        SMALL | {"model/backbone": "resnet18"},
        weights=True,
    ),
}

KIND = "study_c_networks"
LIKE_ANOTHER = {
    "study_a_full",
    "study_b_pretrained",
    "study_b_policies",
    "study_c_transfer",
    "study_d_fine_tuning",
    "study_e_policies",
}
"""These train as others do: a ResNet-18 with a freeze policy, on data that others have as well."""
ALIKE_ONCE = [
    pytest.param(name, marks=[pytest.mark.every_study] if name in LIKE_ANOTHER else [])
    for name in DRY_RUNS
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as torchvision's for ResNet-18, with random weights."""
    from torchvision.models import resnet18

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(resnet18().state_dict(), path)
    return path


def test_every_study_is_here() -> None:
    assert set(DRY_RUNS) == {name for name in shipped() if name.startswith("study_")}


@pytest.fixture
def overrides(
    name: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """What is set for a study's dry run; its data are written."""
    study, root = DRY_RUNS[name], tmp_path / "data"
    has_checksums = study.write_data in (named_data.write_cifar10, named_data.write_stl10)
    study.write_data(root, *([monkeypatch] if has_checksums else []))
    pretrained = {"model/weights": str(weights)} if study.weights else {}
    return {"data/root": str(root), **study.settings, **pretrained}


@pytest.mark.parametrize("name", ALIKE_ONCE)
def test_two_trials(
    name: str, overrides: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path / "cache"))
    plan = plan_sweep(
        name,
        None,
        {"trials": 3, "max_epochs": 1},
        overrides=overrides,
        data=None,
        out=tmp_path,
        name=name,
        console=Console(file=io.StringIO()),
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for parameters in plan.grid:
        study.enqueue_trial(parameters)
    for _ in range(2):
        config = plan.data(plan.proposals.config(study.ask()))
        (last,) = islice(fit_any(config, open_training_data(config.data)), 1)
        last.save_checkpoint(tmp_path)
        model = model_from_checkpoint(tmp_path, TRUSTED)
        data = open_training_data(config.data)
        logits_NK = model.logits(data.images_NHWC[data.validation_indices])
        targets_N = torch.from_numpy(data.labels_N[data.validation_indices])
        assert score(logits_NK, targets_N).loss == pytest.approx(last.record.val_loss, rel=1e-4)


EVERY = [
    pytest.param(name, marks=[] if name == KIND else [pytest.mark.every_study]) for name in DRY_RUNS
]


@pytest.mark.parametrize("name", EVERY)
def test_one_command(name: str, local_ray: None, overrides: dict[str, Any], tmp_path: Path) -> None:
    study = DRY_RUNS[name]
    sets = [word for path, value in overrides.items() for word in ("--set", f"{path}={value}")]
    budget = ["--trials", str(study.trials), "--max-epochs", "1", "--concurrency", "1"]
    place = ["--name", name, "--out", str(tmp_path / "sweeps")]
    said = printed("run", name, *sets, *budget, *place)
    assert f"sweep {name}: {study.trials} trial" in said
    assert "test accuracy" in said
    by = [word for path in study.by for word in ("--by", path)]
    folder = tmp_path / "sweeps" / name
    rows = json.loads(printed("compare", str(folder), *by, "--json"))
    assert sum(row["trials"] for row in rows) == study.trials
    assert sum("test acc" in row for row in rows) == 1
    assert all(path in row for row in rows for path in study.by)
    if study.stages:
        assert {row["labels/stage"] for row in rows} == study.stages
    assert printed("compare", str(folder), *by).count("\n") == 1 + len(rows)
