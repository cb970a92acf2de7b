"""Toprung's training loop against a bare one written by hand, in images per second.

Command:  uv run python -m benchmarks.train_loop [--rounds 7] [--images FOLDER]
All train the same network on the same images (random ones), on one thread, as a trial with one
CPU does. The peer, `benchmarks/peers/bare_loop.py`, has its images in memory as it needs them, as
normalised float32; it is there plain, and tuned (channels last, fused Adam). Toprung trains through
`fit`, from stored uint8 images, with all that a trial has: its record, its best weights, a (very
small) validation. A round is one epoch of each, in turn, each timed from outside, all of it; the
first round is not counted. They share one process, so none of them changes how glibc keeps memory
(`toprung.trainables.system.memory.keep_freed_memory` is not called here).

Then the same trials are trained in both precisions to see whether accuracy suffers: the digits
CNN, and with `--images` (a folder of class folders, such as CIFAR-10's) study C's `good` CNN too.
"""

import argparse
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers.bare_loop import BareLoop
from benchmarks.tables import print_table, ratios
from toprung.search_spaces.study_c_networks import GOOD
from toprung.trainables.config import TrialConfig
from toprung.trainables.data import TrainingData, open_training_data
from toprung.trainables.networks.build import build_network
from toprung.trainables.results.records import Validation
from toprung.trainables.training.fit import fit

BATCH_SIZE = 64
NUM_CLASSES = 10
NUM_VALIDATION = 2
DIFFERENCE = "auto - fp32, same seed"
DIGITS_MODEL = {"num_blocks": 2, "filters": 32, "batch_norm": "before", "dense": 64}


@dataclass(frozen=True)
class Case:
    """A network, the shape (H, W, C) of its images, and how many of them make an epoch."""

    name: str
    model: dict[str, Any]
    shape_HWC: tuple[int, int, int]
    num_images: int

    def config(self, precision: str) -> TrialConfig:
        """The trial, which never ends by itself."""
        height, _, channels = self.shape_HWC
        return TrialConfig.model_validate(
            {
                "data": {"source": "random", "image_size": height, "channels": channels},
                "model": self.model,
                "optimizer": {"name": "adam", "lr": 1e-3},
                "training": {
                    "batch_size": BATCH_SIZE,
                    "precision": precision,
                    "epochs": 10**6,
                },
            }
        )


def from_scratch(architecture: str) -> dict[str, str]:
    """The settings of one of torchvision's networks, all of it trained."""
    return {"architecture": architecture, "weights": "none", "freeze_policy": "from_scratch"}


CASES = (
    Case("digits CNN, 8x8", DIGITS_MODEL, (8, 8, 1), 100 * BATCH_SIZE),
    Case("study C's good CNN, 32x32", GOOD["model"], (32, 32, 3), 10 * BATCH_SIZE),
    Case("resnet18, 64x64", from_scratch("resnet18"), (64, 64, 3), 4 * BATCH_SIZE),
    Case("squeezenet1_0, 112x112", from_scratch("squeezenet1_0"), (112, 112, 3), 4 * BATCH_SIZE),
)


def random_data(case: Case) -> TrainingData:
    """Random images of random classes."""
    rng = np.random.default_rng(0)
    num_images = case.num_images + NUM_VALIDATION
    return TrainingData(
        images_NHWC=rng.integers(0, 256, (num_images, *case.shape_HWC), dtype=np.uint8),
        labels_N=rng.integers(0, NUM_CLASSES, num_images),
        train_indices=np.arange(case.num_images),
        validation_indices=np.arange(case.num_images, num_images),
        class_names=tuple(map(str, range(NUM_CLASSES))),
        mean=(0.5,) * case.shape_HWC[2],
        std=(0.25,) * case.shape_HWC[2],
        digest="random",
    )


def bare_loop(case: Case, data: TrainingData, *, tuned: bool) -> BareLoop:
    """The peer, on the training images as it wants them."""
    network = build_network(case.config("fp32").model, data.image_shape, NUM_CLASSES).network
    mean, std = torch.tensor(data.mean), torch.tensor(data.std)
    images_NHWC = (torch.from_numpy(data.images_NHWC[data.train_indices]) / 255 - mean) / std
    labels_N = torch.from_numpy(data.labels_N[data.train_indices])
    images_NCHW = images_NHWC.permute(0, 3, 1, 2)
    return BareLoop(network, images_NCHW, labels_N, BATCH_SIZE, tuned=tuned)


class Fit:
    """A trial of a case; each next epoch's speed, and its precision."""

    def __init__(self, case: Case, data: TrainingData, precision: str) -> None:
        self._num_images = case.num_images
        self._validations: Iterator[Validation] = fit(case.config(precision), data)
        self.precision = ""

    def images_per_second(self) -> float:
        """Train for one epoch and validate."""
        started = time.perf_counter()
        validation = next(self._validations)
        seconds = time.perf_counter() - started
        self.precision = validation.precision
        return self._num_images / seconds


def speeds(case: Case, num_rounds: int) -> dict[str, list[float]]:
    """The rows of the table for a case."""
    data = random_data(case)
    exact, auto = Fit(case, data, "fp32"), Fit(case, data, "auto")
    loops = bare_loop(case, data, tuned=False), bare_loop(case, data, tuned=True), exact, auto
    for loop in loops:
        loop.images_per_second()  # a first epoch, to get warm
    rounds = [[loop.images_per_second() for loop in loops] for _ in range(num_rounds)]
    plain, tuned, ours_exact, ours_auto = (list(column) for column in zip(*rounds, strict=True))
    auto_name = f"auto ({auto.precision})"
    return {
        "bare loop, plain, images/s": plain,
        "bare loop, tuned (channels last, fused), images/s": tuned,
        "Toprung fp32, images/s": ours_exact,
        f"Toprung {auto_name}, images/s": ours_auto,
        "ratio: fp32 / plain": ratios(ours_exact, plain),
        "ratio: fp32 / tuned": ratios(ours_exact, tuned),
        f"ratio: {auto_name} / plain": ratios(ours_auto, plain),
        f"ratio: {auto_name} / tuned": ratios(ours_auto, tuned),
    }


def accuracies(settings: dict[str, Any], num_seeds: int) -> dict[str, list[float]]:
    """The best validation accuracy of the same trials in both precisions, a figure per seed."""
    found: dict[str, list[float]] = {"fp32": [], "auto": []}
    for seed in range(num_seeds):
        for precision, figures in found.items():
            training = settings["training"] | {"precision": precision}
            config = TrialConfig.model_validate(settings | {"training": training, "seed": seed})
            *_, last = fit(config, open_training_data(config.data))
            figures.append(last.best.val_accuracy)
    differences = [b - a for a, b in zip(found["fp32"], found["auto"], strict=True)]
    return {**found, DIFFERENCE: differences}


def print_accuracies(title: str, rows: dict[str, list[float]]) -> None:
    """The table, and from several seeds the mean difference with its standard error."""
    print_table(title, rows)
    differences = rows[DIFFERENCE]
    if len(differences) > 1:
        error = statistics.stdev(differences) / math.sqrt(len(differences))
        print(f"{DIFFERENCE}: mean {statistics.mean(differences):+.4f} ± {error:.4f}")


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="epochs of each loop, in turn")
    parser.add_argument("--images", type=Path, help="a folder of class folders")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for case in CASES:
        print_table(f"Training, {case.name}", speeds(case, options.rounds))
    digits = {
        "data": {"source": "digits", "image_size": 8, "channels": 1},
        "model": DIGITS_MODEL,
        "training": {"epochs": 8},
    }
    print_accuracies("Validation accuracy, digits CNN, 8 epochs", accuracies(digits, num_seeds=10))
    if options.images:
        images = {
            "data": {"source": str(options.images.resolve()), "image_size": 32},
            **GOOD,
            "training": {"epochs": 3},
        }
        title = f"Validation accuracy, study C's good CNN on {options.images.name}, 3 epochs"
        print_accuracies(title, accuracies(images, num_seeds=1))


if __name__ == "__main__":
    main()
