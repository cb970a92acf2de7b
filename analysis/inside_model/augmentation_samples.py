"""Samples of augmented training images.

Shape letters: N images, H height, W width, C channels.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from toprung.analysis.study.trials import TrialResult, rank
from toprung.trainables.data import TrainingData
from toprung.trainables.recipe.augmentation_settings import AugmentationSettings
from toprung.trainables.recipe.augmenter import Augmenter

NUM_IMAGES = 6


def some_images(data: TrainingData, seed: int) -> NDArray[np.float32]:
    """Training images_NHWC (0..1), drawn by a seed."""
    number = min(NUM_IMAGES, len(data.train_indices))
    drawn = np.random.default_rng(seed).choice(data.train_indices, number, replace=False)
    images: NDArray[np.float32] = data.images_NHWC[drawn].astype(np.float32) / 255
    return images


def augmented(
    settings: AugmentationSettings, images_NHWC: NDArray[np.float32], seed: int
) -> NDArray[np.float32]:
    """The images (0..1) after an augmentation as in training, with random draws from a seed."""
    images_BCHW = torch.from_numpy(images_NHWC.transpose(0, 3, 1, 2).copy())
    targets_B = torch.arange(len(images_BCHW))
    augmenter = Augmenter(settings, tuple(images_BCHW.shape[1:]), len(targets_B))  # type: ignore[arg-type]
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        changed_BCHW, _ = augmenter(images_BCHW, targets_B)
    changed: NDArray[np.float32] = changed_BCHW.numpy().transpose(0, 2, 3, 1).clip(0, 1)
    return changed


def steps(settings: AugmentationSettings) -> Iterator[tuple[str, AugmentationSettings]]:
    """Each transform of an augmentation alone, on every image; its mixing alone; then all."""
    alone: list[tuple[str, AugmentationSettings]] = [
        (step.name, AugmentationSettings(transforms=(step.model_copy(update={"p": 1.0}),)))
        for step in settings.transforms
    ]
    if settings.mix != "none":
        mixing = {"transforms": (), "probability": 1.0, "stored_views": None}
        alone.append((settings.mix, settings.model_copy(update=mixing)))
    yield from alone
    if len(alone) > 1 or settings.probability < 1 or any(t.p < 1 for t in settings.transforms):
        yield "all, as in training", settings


def kinds(settings: AugmentationSettings) -> tuple[str, ...]:
    """The names of the transforms of an augmentation, in order, without their strengths."""
    mix = () if settings.mix == "none" else (settings.mix,)
    return (*(step.name for step in settings.transforms), *mix)


def compared(
    trials: Sequence[TrialResult], metric: str
) -> list[tuple[tuple[str, ...], AugmentationSettings]]:
    """The kinds of augmentation of the scored trials, each with the settings of its best trial.

    The best kind comes first; trials without augmentation are left out.
    """
    of_kind: dict[tuple[str, ...], AugmentationSettings] = {}
    for trial in sorted(trials, key=lambda trial: rank(trial, metric), reverse=True):
        if trial.config is not None and kinds(trial.config.augmentation):
            of_kind.setdefault(kinds(trial.config.augmentation), trial.config.augmentation)
    return list(of_kind.items())
