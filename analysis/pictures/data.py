"""The data as the trials saw them: numbers of images, normalisation, augmentation.

Shape letters: N images, H height, W width, C channels.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import islice

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from toprung.analysis.drawing.picture import Cell, Rows, picture, table
from toprung.analysis.drawing.style import MUTED, new_figure, short
from toprung.analysis.drawing.tiles import show, tiled
from toprung.analysis.findings.results import Results
from toprung.analysis.sweep_folder.outside import images_to_look_at
from toprung.trainables.data import DataError, TrainingData
from toprung.trainables.data.settings import IMAGENET_MEAN, IMAGENET_STD
from toprung.trainables.files.untrusted_files import read_table

_SPLITS = ("train", "validation", "test")
IMAGE_STORE = "the images (outside the folder; their digest is in sweep.yaml)"
_MAX_COMPARED = 6
_CHANNELS = {1: ("grey",), 3: ("red", "green", "blue")}


@table(
    title="Images of each class",
    caption="The number of images of each class in the training, validation and test sets.",
    sources=["splits.csv"],
)
def images_of_each_class(results: Results) -> Rows | None:
    """A row for each class, and one for all; None for a sweep without a list of its images."""
    try:
        images = read_table(results.sweep.folder.splits)
        counts = Counter((image["label"], image["split"]) for image in images)
    except FileNotFoundError:
        return None
    names = sorted({name for name, _ in counts})
    rows: list[tuple[Cell, ...]] = [
        (name, *(counts[name, split] for split in _SPLITS)) for name in names
    ]
    totals = [sum(counts[name, split] for name in names) for split in _SPLITS]
    columns = ("class", "training", "validation", "test")
    return Rows(columns, (*rows, ("all classes", *totals)))


@table(
    title="Normalisation",
    caption=(
        "Mean and standard deviation of each channel, with pixel values from 0 to 1: those of the "
        "training images and those of ImageNet (whose images are in colour), and which of the two "
        "normalised the winner's images."
    ),
    sources=["study.db", IMAGE_STORE],
)
def normalisation(results: Results) -> Rows | None:
    """Statistics of the training images and of ImageNet; None if the images are unavailable."""
    data = training_data_of(results)
    if data is None:
        return None
    used = results.model.config.data.normalisation
    own = _own_statistics(results)
    rows: list[tuple[Cell, ...]] = [("training images", *own, used == "training_set")]
    if len(data.mean) == len(IMAGENET_MEAN):
        rows.append(("ImageNet", *IMAGENET_MEAN, *IMAGENET_STD, used == "imagenet"))
    channels = _CHANNELS[len(data.mean)]
    columns = [f"{what} {channel}" for what in ("mean", "std") for channel in channels]
    return Rows(("statistics of", *columns, "used"), tuple(rows))


@picture(
    title="Augmentation of the winner",
    caption=(
        "Training images; then each transform of the winner's augmentation, applied to every "
        "image; last the whole augmentation, with its probabilities. The trial's seed determines "
        "the images and all random draws."
    ),
    sources=["study.db", IMAGE_STORE],
)
def augmentation_samples(results: Results) -> Figure | None:
    """A row for each transform; None without augmentation, or if the images are unavailable."""
    from toprung.analysis.inside_model.augmentation_samples import (
        augmented,
        kinds,
        some_images,
        steps,
    )

    data = training_data_of(results)
    if data is None or not kinds(results.model.config.augmentation):
        return None
    config = results.model.config
    images_NHWC = some_images(data, config.seed)
    rows = [("originals", images_NHWC)]
    for name, settings in steps(config.augmentation):
        rows.append((name, augmented(settings, images_NHWC, config.seed)))
    return _rows_of_images(rows)


@picture(
    title="Augmentations compared",
    caption=(
        "The same training images under each kind of augmentation that the search tried, applied "
        "as in training, with the strengths of the best trial of that kind; the best kind first, "
        "at most six."
    ),
    sources=["study.db", IMAGE_STORE],
)
def compared_augmentations(results: Results) -> Figure | None:
    """A row for each kind; None if only the winner's was tried, or the images are unavailable."""
    from toprung.analysis.inside_model.augmentation_samples import (
        augmented,
        compared,
        kinds,
        some_images,
    )

    data, tried = training_data_of(results), compared(results.scored, results.metric)
    if data is None or {names for names, _ in tried} <= {kinds(results.model.config.augmentation)}:
        return None
    seed = results.model.config.seed
    images_NHWC = some_images(data, seed)
    rows = [("originals", images_NHWC)]
    for names, settings in islice(tried, _MAX_COMPARED):
        rows.append((" + ".join(names), augmented(settings, images_NHWC, seed)))
    return _rows_of_images(rows)


def training_data_of(results: Results) -> TrainingData | None:
    """The images that trials see; None without a winner, or if they are not on this machine."""
    try:
        return results.training_data if results.winner else None
    except DataError:
        return None


def _own_statistics(results: Results) -> tuple[float, ...]:
    """Means and standard deviations of the training images, whatever their normalisation."""
    settings = results.model.config.data.model_copy(update={"normalisation": "training_set"})
    data = images_to_look_at(results.sweep.outside, settings)
    return (*data.mean, *data.std)


def _rows_of_images(rows: Iterable[tuple[str, NDArray[np.float32]]]) -> Figure:
    rows = list(rows)
    count, height, width, _ = rows[0][1].shape
    figure = new_figure(height=0.2 + len(rows) * 6.2 / count * height / width)
    for axes, (name, images_NHWC) in zip(
        figure.subplots(len(rows), squeeze=False).flat, rows, strict=True
    ):
        show(axes, tiled(images_NHWC, count))
        label = "\n".join(short(part) for part in name.split(" + "))
        axes.text(
            -0.01,
            0.5,
            label,
            ha="right",
            va="center",
            fontsize=8,
            color=MUTED,
            transform=axes.transAxes,
        )
    return figure
