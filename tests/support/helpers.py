"""Tiny data and configs that the tests share."""

import shutil
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np
from click.testing import CliRunner

from toprung.analysis.sweep_folder.known_sweeps import remember
from toprung.analysis.sweep_folder.outside import Outside, places_of_config
from toprung.analysis.sweep_folder.user_state import state_dir
from toprung.cli.main import toprung
from toprung.trainables.config import TrialConfig
from toprung.trainables.data import TrainingData
from toprung.trainables.results.records import Record
from toprung.trainables.training.fit import fit


def tiny_data(
    num_train: int = 24,
    num_validation: int = 12,
    *,
    num_classes: int = 2,
    shape_HWC: tuple[int, int, int] = (6, 6, 1),
) -> TrainingData:
    """Images whose class is told by which column is bright, with noise; the same every time."""
    rng = np.random.default_rng(7)
    num_images = num_train + num_validation
    labels_N = np.arange(num_images) % num_classes
    images_NHWC = rng.integers(0, 120, (num_images, *shape_HWC)).astype(np.uint8)
    images_NHWC[np.arange(num_images), :, labels_N] += 90
    indices = rng.permutation(num_images)
    pixels = images_NHWC[indices[:num_train]].reshape(-1, shape_HWC[2]) / 255
    return TrainingData(
        images_NHWC=images_NHWC,
        labels_N=labels_N,
        train_indices=indices[:num_train],
        validation_indices=indices[num_train:],
        class_names=tuple(f"class_{n}" for n in range(num_classes)),
        mean=tuple(pixels.mean(0).tolist()),
        std=tuple(pixels.std(0).tolist()),
        digest="tiny",
    )


def tiny_config(**settings: Any) -> TrialConfig:
    """A config for `tiny_data`: settings by path, with __ for /, over small defaults."""
    values: dict[str, Any] = {
        "data": {"source": "tiny", "image_size": 6, "channels": 1},
        "model": {"num_blocks": 1, "filters": 4, "dense": 8},
        "optimizer": {"name": "sgd", "lr": 0.05},
        "training": {"epochs": 3, "batch_size": 8},
    }
    for path, value in settings.items():
        *parents, name = path.split("__")
        group = values
        for parent in parents:
            group = group.setdefault(parent, {})
        group[name] = value
    return TrialConfig.model_validate(values)


def figures(record: Record) -> dict[str, float]:
    """A record without its time."""
    return asdict(record) | {"seconds": 0.0}


def records(config: TrialConfig, data: TrainingData | None = None) -> list[dict[str, float]]:
    return [figures(validation.record) for validation in fit(config, data or tiny_data())]


TRUSTED = Outside("a sweep of the tests", None, trust=True)
"""May use whatever its files name."""


def remember_configs(sweep_id: str, configs: Iterable[TrialConfig]) -> None:
    """Record a sweep made by hand as the user's own, as `toprung run` does with its configs."""
    remember(sweep_id, [place for config in configs for place in places_of_config(config)])


def forget_openings() -> None:
    """Let the user's own ledger know of no opening, as if none had been."""
    shutil.rmtree(state_dir() / "openings", ignore_errors=True)


def printed(*arguments: str) -> str:
    """What a command prints that goes well; it runs in this process."""
    done = CliRunner().invoke(toprung, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout
