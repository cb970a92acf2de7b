"""Held-out images of a sweep that weights have seen: counted, and said in words."""

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from toprung.trainables.provenance.image_set import ImageSet, SplitImages
from toprung.trainables.provenance.overlap import Overlap, overlap


def test_against_counting_one_by_one() -> None:
    rng = np.random.default_rng(3)
    hashes = [hashlib.sha256(bytes([n])).hexdigest() for n in range(90)]
    splits = rng.choice(["train", "validation", "test"], 90).tolist()
    trained, validated = (set(rng.choice(90, 40, replace=False).tolist()) for _ in range(2))
    names = [f"{n}.png" for n in range(90)]
    seen = SplitImages(*(ImageSet.of(hashes[n] for n in some) for some in (trained, validated)))
    found = overlap(names, splits, hashes, seen)
    for split in ("test", "validation"):
        own = {n for n, name in enumerate(splits) if name == split}
        assert getattr(found, f"num_{split}") == len(own)
        assert getattr(found, f"{split}_in_train") == len(own & trained) > 0
        assert getattr(found, f"{split}_in_validation") == len(own & validated) > 0
    assert len(found.examples) == 3
    for name in found.examples:
        number = names.index(name)
        assert splits[number] == "test"
        assert number in trained | validated


def test_what_the_sweep_itself_trains_or_tests_on_may_have_been_so_before() -> None:
    hashes = [hashlib.sha256(bytes([n])).hexdigest() for n in range(3)]
    seen = SplitImages(train=ImageSet.of(hashes[:1]), test=ImageSet.of(hashes[2:]))
    found = overlap(["a", "b", "c"], ["train", "validation", "test"], hashes, seen)
    assert not found.is_found
    assert found == Overlap(num_test=1, num_validation=1, num_train=1)


def test_images_of_the_test_set_of_the_weights() -> None:
    hashes = [hashlib.sha256(bytes([n])).hexdigest() for n in range(5)]
    splits = ["test", "train", "train", "validation", "train"]
    seen = SplitImages(test=ImageSet.of(hashes[:4]))
    found = overlap(list("abcde"), splits, hashes, seen)
    assert found.is_found
    assert (found.num_train, found.train_in_test, found.validation_in_test) == (3, 2, 1)
    assert found.examples == ("b", "c", "d")
    assert found.all_in_words("these weights") == [
        "2 of 3 training images and 1 of 1 validation images were in the test split of these "
        "weights"
    ]
    assert replace(found, train_in_test=0).tested_in_words("w") == (
        "1 of 1 validation images were in the test split of w"
    )


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({}, ""),
        (
            {"test_in_train": 237},
            "237 of 359 test images were in the training split of the weights that it started from",
        ),
        (
            {"test_in_validation": 5},
            "5 of 359 test images were in the validation split of the weights that it started from",
        ),
        (
            {"test_in_train": 237, "test_in_validation": 5},
            "237 of 359 test images were in the training split of the weights that it started "
            "from, 5 in their validation split",
        ),
    ],
)
def test_in_words(counts: dict[str, Any], words: str) -> None:
    found = replace(Overlap(num_test=359, num_validation=287), **counts)
    assert found.in_words("test") == words
