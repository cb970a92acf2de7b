"""The overlap of a sweep's images with the images that its pretrained weights were made with."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from toprung.trainables.provenance.image_set import SplitImages

HeldOut = Literal["test", "validation"]
"""The splits whose figures are too optimistic if the weights have seen their images."""
HELD_OUT: tuple[HeldOut, ...] = ("test", "validation")
MAX_EXAMPLES = 3
_Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class Overlap:
    """How many images of a sweep are among those that weights were made with.

    Two kinds count: held-out images that the weights were trained or selected on, and images of the
    other splits that are in the weights' test set, which models of the sweep then have seen.

    Attributes:
        num_test: the number of the sweep's test images.
        num_validation: the number of the sweep's validation images.
        test_in_train: the test images that the weights were trained on.
        test_in_validation: the test images that the weights were selected on.
        validation_in_train: the validation images that the weights were trained on.
        validation_in_validation: the validation images that the weights were selected on.
        num_train: the number of the sweep's training images; 0 in records of earlier versions.
        train_in_test: the training images that are in the weights' test set.
        validation_in_test: the validation images that are in the weights' test set.
        examples: the names of some of the overlapping images.
    """

    num_test: _Count
    num_validation: _Count
    test_in_train: _Count = 0
    test_in_validation: _Count = 0
    validation_in_train: _Count = 0
    validation_in_validation: _Count = 0
    num_train: _Count = 0
    train_in_test: _Count = 0
    validation_in_test: _Count = 0
    examples: tuple[str, ...] = ()

    @property
    def is_found(self) -> bool:
        """Whether any image overlaps."""
        return bool(self.all_in_words())

    def counts(self, split: HeldOut) -> tuple[int, int]:
        """How many of a split's images the weights were trained on, and selected on."""
        return getattr(self, f"{split}_in_train"), getattr(self, f"{split}_in_validation")

    def in_words(self, split: HeldOut, weights: str = "the weights that it started from") -> str:
        """A description of a split's images that the weights have seen; empty if there are none."""
        trained, validated = self.counts(split)
        of = f"{getattr(self, f'num_{split}')} {split} images"
        if trained:
            also = f", {validated} in their validation split" if validated else ""
            return f"{trained} of {of} were in the training split of {weights}{also}"
        return f"{validated} of {of} were in the validation split of {weights}" if validated else ""

    def tested_in_words(self, weights: str = "the weights that it started from") -> str:
        """A description of the images of the weights' test set that the sweep uses, or empty."""
        used = {
            f"{self.train_in_test} of {self.num_train} training images": self.train_in_test,
            f"{self.validation_in_test} of {self.num_validation} validation images": (
                self.validation_in_test
            ),
        }
        images = " and ".join(words for words, count in used.items() if count)
        return f"{images} were in the test split of {weights}" if images else ""

    def all_in_words(self, weights: str = "the weights that it started from") -> list[str]:
        """One description for each kind of overlap."""
        held_out = [*(self.in_words(split, weights) for split in HELD_OUT)]
        return [words for words in (*held_out, self.tested_in_words(weights)) if words]

    def as_plain(self) -> dict[str, object]:
        """The overlap as a plain value for `sweep.yaml`."""
        return asdict(self) | {"examples": list(self.examples)}


def overlap(
    names: Sequence[str], splits: Sequence[str], pixel_hashes: Sequence[str], seen: SplitImages
) -> Overlap:
    """Look for a sweep's images among those that weights were made with.

    Args:
        names: the names of the sweep's images.
        splits: the split of each image.
        pixel_hashes: the pixel hash of each image.
        seen: the images that the weights were made with.
    """
    splits_N = np.array(splits, dtype=str)
    in_train_N, in_validation_N = (s.holds(pixel_hashes) for s in (seen.train, seen.validation))
    counts = {
        f"{split}_in_{name}": int((in_N & (splits_N == split)).sum())
        for split in HELD_OUT
        for name, in_N in (("train", in_train_N), ("validation", in_validation_N))
    }
    in_test_N = seen.test.holds(pixel_hashes)
    return Overlap(
        num_train=int((splits_N == "train").sum()),
        train_in_test=int((in_test_N & (splits_N == "train")).sum()),
        validation_in_test=int((in_test_N & (splits_N == "validation")).sum()),
        num_test=int((splits_N == "test").sum()),
        num_validation=int((splits_N == "validation").sum()),
        examples=tuple(_examples(names, splits_N, in_train_N | in_validation_N, in_test_N)),
        **counts,
    )


def _examples(
    names: Sequence[str],
    splits_N: NDArray[np.str_],
    seen_N: NDArray[np.bool_],
    tested_N: NDArray[np.bool_],
) -> list[str]:
    """Names of overlapping images: test images first, those of the weights' test set last."""
    found = [seen_N & (splits_N == split) for split in HELD_OUT]
    found.append(tested_N & (splits_N != "test") & ~found[-1])
    numbers = np.concatenate([np.flatnonzero(one) for one in found])
    return [names[index] for index in numbers[:MAX_EXAMPLES].tolist()]
