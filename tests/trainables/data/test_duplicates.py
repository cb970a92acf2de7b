"""Identical images: counted, listed, and warned about when a sweep begins."""

import csv
import hashlib
import io
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import yaml
from PIL import Image
from rich.console import Console

from toprung.planning.plan import plan_sweep
from toprung.planning.sweep_state import begun
from toprung.storage.retry import Patience
from toprung.trainables.data import DataSettings, prepare
from toprung.trainables.data.duplicates import Duplicates, SplitRow

SPLITS = {"train": 4, "val": 2, "test": 2}


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes with 4 training, 2 validation and 2 test images each, all different."""
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for split, count in SPLITS.items():
        for name in (f"{split}/{label}/{n}.png" for label in ("cat", "dog") for n in range(count)):
            path = tmp_path / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)).save(path)
    return tmp_path / "images"


def leak(images: Path) -> None:
    """Copy a training image over a test image, a validation image and one of another class."""
    for target in ("test/cat/0.png", "val/cat/1.png", "train/dog/3.png"):
        shutil.copy(images / "train/cat/0.png", images / target)


def duplicates(images: Path) -> Duplicates:
    return prepare(DataSettings(source=str(images), image_size=8)).duplicates


def test_there_are_none(images: Path) -> None:
    found = duplicates(images)
    assert not found.groups
    assert set(asdict(found.counts()).values()) == {0}
    assert found.counts().warning == ""


def test_across_splits_and_classes(images: Path) -> None:
    leak(images)
    found = duplicates(images)
    assert asdict(found.counts()) == {
        "contents": 1,
        "images": 4,
        "train": 2,
        "validation": 0,
        "test": 0,
        "validation_in_train": 1,
        "test_in_train": 1,
        "test_in_validation": 1,
        "with_other_labels": 4,
        "in_other_files": 0,
    }
    assert found.counts().warning == (
        "1 test images are also training images; 1 test images are also validation images; "
        "1 validation images are also training images: these figures will be too optimistic; "
        "4 images also occur with another label"
    )


def test_within_a_split_is_counted_and_not_warned_about(images: Path) -> None:
    shutil.copy(images / "train/cat/0.png", images / "train/cat/1.png")
    counts = duplicates(images).counts()
    assert (counts.contents, counts.images, counts.train) == (1, 2, 2)
    assert counts.warning == ""


def test_in_another_container(images: Path) -> None:
    with Image.open(images / "train/cat/0.png") as image:
        image.save(images / "test/cat/copy.bmp")
    counts = duplicates(images).counts()
    assert (counts.contents, counts.images, counts.test_in_train) == (1, 2, 1)
    assert counts.in_other_files == 2
    assert counts.warning == (
        "1 test images are also training images: these figures will be too optimistic; "
        "2 have their copies only in files of other bytes"
    )


def test_against_comparing_every_pair() -> None:
    rng = np.random.default_rng(4)
    splits = rng.choice(["train", "validation", "test"], 120)
    labels, contents = rng.choice(["a", "b"], 120), rng.integers(0, 90, 120).astype(str)
    rows: list[SplitRow] = [
        (str(n), str(label), split)
        for n, (label, split) in enumerate(zip(labels, splits, strict=True))
    ]
    files = [f"{content}-{rng.integers(2)}" for content in contents]
    counts = Duplicates(rows, files, contents.tolist()).counts()
    same = contents[:, None] == contents
    other = same & ~np.eye(120, dtype=bool)
    assert counts.images == other.any(1).sum()
    assert counts.with_other_labels == sum(
        len(set(labels[same[n]])) > 1 and bool(other[n].any()) for n in range(120)
    )
    same_file = np.array(files)[:, None] == np.array(files)
    assert counts.in_other_files == (other.any(1) & (same_file.sum(1) == 1)).sum()
    in_train = (same & (splits == "train")).any(1)
    assert counts.test_in_train == (in_train & (splits == "test")).sum()
    assert counts.validation_in_train == (in_train & (splits == "validation")).sum()
    within = (other & (splits == "train")).any(1)
    assert counts.train == (within & (splits == "train")).sum()


def _space(images: Path) -> Any:
    def space(trial: optuna.Trial) -> dict[str, Any]:
        lr = trial.suggest_float("optimizer/lr", 0.01, 0.1)
        data = {"source": str(images), "image_size": 8}
        return {"data": data, "model": {"num_blocks": 1}, "optimizer": {"name": "sgd", "lr": lr}}

    return space


def _begin(images: Path, out: Path) -> tuple[Path, str]:
    """The folder of a sweep that is about to start, and what its console showed."""
    shown = io.StringIO()
    plan = plan_sweep(
        space=_space(images),
        config=None,
        given={},
        overrides={},
        data=None,
        out=out,
        name="s",
        console=Console(file=shown),
    )
    with begun(plan, Patience(print)):
        kept = shutil.copytree(plan.folder.path, out / "kept")
    return kept, shown.getvalue()


class TestANewSweep:
    def test_lists_them_and_warns(self, images: Path, tmp_path: Path) -> None:
        leak(images)
        sweep, shown = _begin(images, tmp_path / "out")
        assert "warning: identical images: 1 test images are also training images" in shown
        said = yaml.safe_load((sweep / "sweep.yaml").read_text())
        assert said["data"]["duplicates"]["test_in_train"] == 1
        with (sweep / "duplicates.csv").open(newline="") as stream:
            header, *rows = csv.reader(stream)
        digest = hashlib.sha256((images / "train/cat/0.png").read_bytes()).hexdigest()
        assert header == ["pixel_sha256", "image", "label", "split", "sha256"]
        assert len({row[0] for row in rows}) == 1
        assert ["test/cat/0.png", "cat", "test", digest] in [row[1:] for row in rows]
        assert len(rows) == 4

    def test_has_no_list_without_any(self, images: Path, tmp_path: Path) -> None:
        sweep, shown = _begin(images, tmp_path / "out")
        assert "warning" not in shown
        assert not (sweep / "duplicates.csv").exists()
        said = yaml.safe_load((sweep / "sweep.yaml").read_text())
        assert said["data"]["duplicates"]["images"] == 0
