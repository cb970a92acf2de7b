"""Who trains, who validates, who tests."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from toprung.trainables.data import DataError, DataSettings
from toprung.trainables.data.classes import first_classes
from toprung.trainables.data.draws import drawn_test_sets
from toprung.trainables.data.listing.errors import NoSuchDrawError
from toprung.trainables.data.listing.image_list import ListedImage, Split
from toprung.trainables.data.splits import assign_splits


def settings(**changes: Any) -> DataSettings:
    return DataSettings(source="unused", **changes)


def listed(counts: dict[str, int], split: Split | None = None) -> list[ListedImage]:
    return [
        ListedImage(f"{split}/{class_name}/{n}", class_name, split, Path("unused"))
        for class_name, count in counts.items()
        for n in range(count)
    ]


def split_of(images: list[ListedImage], **changes: Any) -> dict[str, str | None]:
    return {image.name: image.split for image in assign_splits(images, settings(**changes))}


def error(images: list[ListedImage], **changes: Any) -> str:
    with pytest.raises(DataError) as caught:
        assign_splits(images, settings(**changes))
    return str(caught.value)


def test_every_class_is_split_in_the_same_shares() -> None:
    images = assign_splits(listed({"cat": 50, "dog": 10}), settings())
    assert Counter((image.class_name, image.split) for image in images) == {
        ("cat", "test"): 10,
        ("cat", "validation"): 8,
        ("cat", "train"): 32,
        ("dog", "test"): 2,
        ("dog", "validation"): 2,
        ("dog", "train"): 6,
    }


def test_the_order_of_the_list_makes_no_difference() -> None:
    images = listed({"cat": 20, "dog": 30})
    shuffled = random.Random(0).sample(images, len(images))
    assert assign_splits(images, settings()) == assign_splits(shuffled, settings())


def test_the_seed_decides() -> None:
    images = listed({"cat": 50, "dog": 50})
    assert split_of(images) == split_of(images, split_seed=0)
    assert split_of(images) != split_of(images, split_seed=1)


def test_the_test_set_stays_whatever_the_validation_set_is() -> None:
    images = listed({"cat": 50, "dog": 50})
    small, large = (split_of(images, validation_fraction=share) for share in (0.1, 0.5))
    in_test = [{name for name, split in s.items() if split == "test"} for s in (small, large)]
    assert in_test[0] == in_test[1]


def test_a_missing_validation_split_comes_from_the_training_images() -> None:
    images = listed({"cat": 10, "dog": 10}, "train") + listed({"cat": 5, "dog": 5}, "test")
    splits = split_of(images)
    assert all(splits[name] == "test" for name in splits if name.startswith("test/"))
    assert Counter(splits.values()) == {"train": 16, "validation": 4, "test": 10}


def test_a_missing_test_split_comes_from_the_training_images() -> None:
    images = listed({"cat": 10, "dog": 10}, "train") + listed({"cat": 5, "dog": 5}, "validation")
    splits = split_of(images)
    assert all(splits[name] == "validation" for name in splits if name.startswith("validation/"))
    assert Counter(splits.values()) == {"train": 16, "validation": 10, "test": 4}


def test_no_test_set() -> None:
    splits = split_of(listed({"cat": 10, "dog": 10}), test_fraction=0)
    assert Counter(splits.values()) == {"train": 16, "validation": 4}


@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("count", [3, 4, 7])
def test_every_class_is_in_every_split(count: int, fraction: float) -> None:
    images = listed({"cat": count, "dog": 50})
    fractions = {"test_fraction": fraction, "validation_fraction": fraction}
    found = {(i.class_name, i.split) for i in assign_splits(images, settings(**fractions))}
    assert len(found) == 6


def test_all_classes_too_small_are_named() -> None:
    message = error(listed({"cat": 2, "dog": 9, "emu": 1}))
    assert "at least 3 training images, one for each of train, test, validation" in message
    assert "class 'cat' has 2" in message
    assert "class 'emu' has 1" in message
    assert "dog" not in message


def test_one_class() -> None:
    assert "only the class 'cat'" in error(listed({"cat": 9}))


def test_no_training_images() -> None:
    assert "None of the images is a training image" in error(listed({"cat": 9, "dog": 9}, "test"))


def test_classes_that_differ_between_splits_are_named() -> None:
    images = listed({"cat": 9, "dog": 9}, "train") + listed({"cat": 9, "emu": 9}, "test")
    message = error(images)
    assert "class 'dog' has no test images" in message
    assert "class 'emu' has test images but no training images" in message


def test_a_given_test_set_is_swapped_before_validation_is_taken() -> None:
    images = listed({"cat": 30, "dog": 30}, "train") + listed({"cat": 10, "dog": 10}, "test")
    splits = split_of(images, swap_train_and_test=True)
    assert all(splits[name] == "test" for name in splits if name.startswith("train/"))
    assert Counter(splits.values()) == {"train": 16, "validation": 4, "test": 60}


def test_a_made_test_set_is_swapped() -> None:
    images = listed({"cat": 100, "dog": 100})
    straight = split_of(images, test_fraction=0.1)
    swapped = split_of(images, test_fraction=0.1, swap_train_and_test=True)
    assert Counter(swapped.values()) == {"train": 16, "validation": 4, "test": 180}
    for name, split in straight.items():
        assert (split == "test") == (swapped[name] != "test")


def test_a_given_validation_set_stays_when_the_others_are_swapped() -> None:
    splits: list[tuple[Split, int]] = [("train", 6), ("validation", 4), ("test", 2)]
    images = [image for split, n in splits for image in listed({"cat": n, "dog": n}, split)]
    swapped = split_of(images, swap_train_and_test=True)
    assert Counter(swapped.values()) == {"train": 4, "validation": 8, "test": 12}


@pytest.mark.parametrize("fraction", [0.01, 0.99])
def test_every_class_is_in_every_swapped_split(fraction: float) -> None:
    images = listed({"cat": 3, "dog": 50})
    changes = {"test_fraction": fraction, "swap_train_and_test": True}
    found = {(i.class_name, i.split) for i in assign_splits(images, settings(**changes))}
    assert len(found) == 6


def test_nothing_to_swap_with() -> None:
    message = error(listed({"cat": 9, "dog": 9}), test_fraction=0, swap_train_and_test=True)
    assert "no test set to swap with" in message


def test_a_test_set_too_small_to_train_on() -> None:
    images = listed({"cat": 9, "dog": 9}, "train") + listed({"cat": 1, "dog": 9}, "test")
    message = error(images, swap_train_and_test=True)
    assert "at least 2 training images, one for each of train, validation" in message
    assert "class 'cat' has 1" in message


class TestFirstClasses:
    def test_sorted(self) -> None:
        used = first_classes(listed({"dog": 1, "cat": 2, "emu": 3}), None, 2)
        assert Counter(image.class_name for image in used) == {"dog": 1, "cat": 2}

    def test_in_the_source_s_order(self) -> None:
        used = first_classes(listed({"dog": 1, "cat": 2, "emu": 3}), ("emu", "dog", "cat"), 2)
        assert {image.class_name for image in used} == {"emu", "dog"}

    def test_all(self) -> None:
        images = listed({"dog": 1, "cat": 2})
        assert first_classes(images, None, None) == first_classes(images, None, 2) == images

    def test_more_than_there_are(self) -> None:
        with pytest.raises(DataError, match="num_classes is 3, but the data have only 2 classes"):
            first_classes(listed({"dog": 1, "cat": 2}), None, 3)


class TestDraws:
    """`data/test_draw`: the disjoint test sets that one seed deals out."""

    def test_are_disjoint_and_stratified(self) -> None:
        images = listed({"a": 50, "b": 20})
        draws = [
            {name for name, split in split_of(images, test_draw=draw).items() if split == "test"}
            for draw in range(5)
        ]
        assert [len(draw) for draw in draws] == [14] * 5
        assert len(set.union(*draws)) == 70
        for draw in draws:
            assert Counter(name.split("/")[1] for name in draw) == {"a": 10, "b": 4}

    def test_the_first_is_the_test_set_as_ever(self) -> None:
        images = listed({"a": 50, "b": 20})
        assert split_of(images, test_draw=0) == split_of(images)

    def test_too_few_images_for_another(self) -> None:
        images = listed({"a": 50, "b": 20})
        with pytest.raises(NoSuchDrawError) as raised:
            assign_splits(images, settings(test_draw=5))
        assert "too few images for 6 disjoint test sets of 0.2 of each class" in str(raised.value)
        assert "class 'b' has 20, 4 for each" in str(raised.value)

    def test_the_images_of_a_given_test_set_are_left_out(self) -> None:
        given = listed({"a": 5, "b": 5}, "test")
        images = listed({"a": 20, "b": 20}, "train") + given
        first, second = (split_of(images, test_draw=draw) for draw in (1, 2))
        names = {image.name for image in given}
        assert not names & first.keys()
        tests = [{n for n, split in of.items() if split == "test"} for of in (first, second)]
        assert [len(test) for test in tests] == [8, 8]
        assert not tests[0] & tests[1]
        assert split_of(images, test_draw=0)[given[0].name] == "test"

    @pytest.mark.parametrize("other", [{"test_fraction": 0.0}, {"swap_train_and_test": True}])
    def test_what_it_does_not_go_with(self, other: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="test_draw is 1, but"):
            settings(test_draw=1, **other)

    def test_are_listed_without_reading_an_image(self) -> None:
        draws = dict(drawn_test_sets(DataSettings(source="digits", test_fraction=0.3)))
        assert list(draws) == [0, 1, 2]
        names = [name for of_draw in draws.values() for name in of_draw]
        assert len(set(names)) == len(names) > 1500
