"""Images of a sweep that the weights which its training starts from have seen before."""

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
    """How many images of a sweep were among those that weights were made with.

    Held-out images count that the weights were trained on or selected by, and images of any other
    split that are in the test set of the weights: it is no longer unseen by models of the sweep.

    Attributes:
        num_test: images of the sweep's test set; likewise `num_validation`.
        test_in_train: of these, the images that the weights were trained on.
        test_in_validation: those that the weights were selected by.
        validation_in_train: likewise of the sweep's validation images.
        validation_in_validation: likewise.
        num_train: training images of the sweep; 0 in a record of an earlier Toprung.
        train_in_test: of these, the images that the weights were to be tested on.
        validation_in_test: likewise of the sweep's validation images.
        examples: names of some of these images.
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
        """Whether there is any such image."""
        return bool(self.all_in_words())

    def counts(self, split: HeldOut) -> tuple[int, int]:
        """Of a split's images, those that the weights were trained on, and selected by."""
        return getattr(self, f"{split}_in_train"), getattr(self, f"{split}_in_validation")

    def in_words(self, split: HeldOut, weights: str = "the weights that it started from") -> str:
        """The images of a split that the weights have seen; empty if there are none."""
        trained, validated = self.counts(split)
        of = f"{getattr(self, f'num_{split}')} {split} images"
        if trained:
            also = f", {validated} in their validation split" if validated else ""
            return f"{trained} of {of} were in the training split of {weights}{also}"
        return f"{validated} of {of} were in the validation split of {weights}" if validated else ""

    def tested_in_words(self, weights: str = "the weights that it started from") -> str:
        """The images of the weights' test set that the sweep uses; empty if there are none."""
        used = {
            f"{self.train_in_test} of {self.num_train} training images": self.train_in_test,
            f"{self.validation_in_test} of {self.num_validation} validation images": (
                self.validation_in_test
            ),
        }
        told = " and ".join(words for words, count in used.items() if count)
        return f"{told} were in the test split of {weights}" if told else ""

    def all_in_words(self, weights: str = "the weights that it started from") -> list[str]:
        """All of it, in one piece for each kind of images."""
        told = [*(self.in_words(split, weights) for split in HELD_OUT)]
        return [words for words in (*told, self.tested_in_words(weights)) if words]

    def as_plain(self) -> dict[str, object]:
        """For `sweep.yaml`."""
        return asdict(self) | {"examples": list(self.examples)}


def overlap(
    names: Sequence[str], splits: Sequence[str], pixel_hashes: Sequence[str], seen: SplitImages
) -> Overlap:
    """Look for a sweep's images among those that weights were made with.

    Args:
        names: of the sweep's images.
        splits: that each of them is in.
        pixel_hashes: of each of them.
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
    """Test images first, those of the weights' test set last."""
    found = [seen_N & (splits_N == split) for split in HELD_OUT]
    found.append(tested_N & (splits_N != "test") & ~found[-1])
    numbers = np.concatenate([np.flatnonzero(one) for one in found])
    return [names[index] for index in numbers[:MAX_EXAMPLES].tolist()]
