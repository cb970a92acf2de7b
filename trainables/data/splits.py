"""Which images train, which validate and which test."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from trainables.data.errors import DataError, bullets
from trainables.data.image_list import SPLITS, ListedImage, Split
from trainables.data.settings import DataSettings

Members = dict[str, list[int]]


def assign_splits(images: Sequence[ListedImage], settings: DataSettings) -> list[ListedImage]:
    """Every image with a split, in the order of the names.

    The validation and test sets that the source lacks are taken out of its training images, by
    chance and in equal shares of every class. The order of `images` makes no difference.

    Raises:
        DataError: There are too few classes or images, or the splits differ in their classes.
    """
    images = sorted(images, key=lambda image: image.name)
    given = {image.split for image in images} - {None}
    splits: list[Split] = [image.split or "train" for image in images]
    _check_classes(images, splits)
    fractions = _fractions_to_make(given, settings)
    training = _members(images, splits, "train")
    _check_counts(training, list(fractions))
    for num_made, (split, fraction) in enumerate(fractions.items(), start=1):
        rng = np.random.default_rng([settings.split_seed, SPLITS.index(split)])
        for members in _members(images, splits, "train").values():
            num_to_keep = 1 + len(fractions) - num_made
            num_taken = min(max(1, round(len(members) * fraction)), len(members) - num_to_keep)
            for index in rng.permutation(members)[:num_taken]:
                splits[index] = split
    return [replace(image, split=split) for image, split in zip(images, splits, strict=True)]


def _fractions_to_make(given: set[Split | None], settings: DataSettings) -> dict[Split, float]:
    # The test set comes first, so that it stays the same whatever the validation set is.
    fractions: dict[Split, float] = {}
    if "test" not in given and settings.test_fraction > 0:
        fractions["test"] = settings.test_fraction
    if "validation" not in given:
        fractions["validation"] = settings.validation_fraction
    return fractions


def _members(images: Sequence[ListedImage], splits: Sequence[Split], split: Split) -> Members:
    members = defaultdict(list)
    for index, image in enumerate(images):
        if splits[index] == split:
            members[image.class_name].append(index)
    return dict(sorted(members.items()))


def _check_classes(images: Sequence[ListedImage], splits: Sequence[Split]) -> None:
    training = set(_members(images, splits, "train"))
    if not training:
        raise DataError("None of the images is a training image; at least 2 classes need some.")
    if len(training) < 2:
        raise DataError(
            f"The training images have only the class {training.pop()!r}; at least 2 are needed."
        )
    mistakes = []
    for split in sorted(set(splits) - {"train"}):
        found = set(_members(images, splits, split))
        mistakes += [f"class {name!r} has no {split} images" for name in sorted(training - found)]
        mistakes += [
            f"class {name!r} has {split} images but no training images"
            for name in sorted(found - training)
        ]
    if mistakes:
        raise DataError(f"All splits must have the same classes, but:{bullets(mistakes)}")


def _check_counts(training: Members, made: Sequence[Split]) -> None:
    num_needed = 1 + len(made)
    small = [
        f"class {name!r} has {len(members)}"
        for name, members in training.items()
        if len(members) < num_needed
    ]
    if small:
        raise DataError(
            f"Each class needs at least {num_needed} training images, one for each of "
            f"{', '.join(['train', *made])}, but:{bullets(small)}"
        )
