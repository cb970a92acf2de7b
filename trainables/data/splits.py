"""Assigning images to the training, validation and test sets."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from toprung.trainables.data.listing.errors import DataError, NoSuchDrawError, bullets
from toprung.trainables.data.listing.image_list import SPLITS, ListedImage, Split
from toprung.trainables.data.settings import DataSettings
from toprung.trainables.system.typed_settings import has_surrogates

Members = dict[str, list[int]]


def assign_splits(images: Sequence[ListedImage], settings: DataSettings) -> list[ListedImage]:
    """Assign a split to every image; the result is sorted by name.

    The validation and test sets that the source lacks are drawn at random from its training images,
    in equal shares of every class. The order of `images` does not matter. With `settings.test_draw`
    above 0 the test set is drawn from the training images in any case, and the images of the
    source's own test split are left out.

    Raises:
        NoSuchDrawError: There are too few images for this draw.
        DataError: There are too few classes or images, the splits differ in their classes, or
            there is no test set to swap with.
    """
    images = sorted(images, key=lambda image: image.name)
    given = {image.split for image in images}
    splits: list[Split] = [image.split or "train" for image in images]
    _check_classes(images, splits)
    makes_validation, draw = "validation" not in given, settings.test_draw
    if draw and "test" in given:
        images = [image for image in images if image.split != "test"]
        splits = [image.split or "train" for image in images]
        given, draw = given - {"test"}, draw - 1  # the source's own was number 0
    # The test set is drawn first, so that it does not depend on the validation set.
    if "test" not in given and settings.test_fraction > 0:
        _take(images, splits, "test", settings, draw, makes_validation=makes_validation)
    if settings.swap_train_and_test:
        _swap(splits)
    if makes_validation:
        _take(images, splits, "validation", settings, makes_validation=False)
    return [replace(image, split=split) for image, split in zip(images, splits, strict=True)]


def _take(
    images: Sequence[ListedImage],
    splits: list[Split],
    split: Literal["test", "validation"],
    settings: DataSettings,
    draw: int = 0,
    *,
    makes_validation: bool,
) -> None:
    """Move a share of each class's training images into `split`.

    All draws divide the same permutation of a class into shares of equal size, so they are
    disjoint. With `makes_validation`, enough training images (the rest, or the drawn ones if they
    are swapped) remain to draw a validation set from.
    """
    classes = _members(images, splits, "train")
    _check_counts(classes, [split, "validation"] if makes_validation else [split])
    fraction = settings.test_fraction if split == "test" else settings.validation_fraction
    swapped = makes_validation and settings.swap_train_and_test
    rng = np.random.default_rng([settings.split_seed, SPLITS.index(split)])
    too_few = []
    for name, members in classes.items():
        fewest = 1 + swapped
        most = len(members) - 1 - (makes_validation and not swapped)
        num_taken = min(max(fewest, round(len(members) * fraction)), most)
        if num_taken * (draw + 1) > len(members):
            too_few.append(f"class {name!r} has {len(members)}, {num_taken} for each")
        for index in rng.permutation(members)[draw * num_taken :][:num_taken]:
            splits[index] = split
    if too_few:
        raise NoSuchDrawError(
            f"data/test_draw = {settings.test_draw}: there are too few images for "
            f"{draw + 1} disjoint test sets of {fraction:g} of each class:{bullets(too_few)}"
        )


def _swap(splits: list[Split]) -> None:
    if "test" not in splits:
        raise DataError(
            "data/swap_train_and_test is true, but there is no test set to swap with: the data "
            "have none, and data/test_fraction is 0."
        )
    swapped: dict[Split, Split] = {"train": "test", "test": "train"}
    splits[:] = [swapped.get(split, split) for split in splits]


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
    if odd := sorted(name for name in training if has_surrogates(name)):
        raise DataError(f"These class names are not Unicode text:{bullets(odd)}")
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
