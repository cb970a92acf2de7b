"""Duplicates: images that a source contains more than once, pixel for pixel."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from toprung.trainables.data.listing.files import write_csv
from toprung.trainables.data.listing.image_list import SPLITS, Split

SplitRow = tuple[str, str, Split]
"""Name, class and split of an image."""


@dataclass(frozen=True)
class DuplicateCounts:
    """How many images of the splits are duplicates.

    Attributes:
        contents: the number of distinct contents that several images share, pixel for pixel.
        images: the number of images with such a content.
        train: training images that equal another training image.
        validation: validation images that equal another validation image.
        test: test images that equal another test image.
        validation_in_train: validation images that equal a training image.
        test_in_train: test images that equal a training image.
        test_in_validation: test images that equal a validation image.
        with_other_labels: images that equal an image of another class.
        in_other_files: images whose duplicates are all in files with other bytes, such as a PNG
            file's copy as BMP; 0 for sweeps of versions that did not find these.
    """

    contents: int
    images: int
    train: int
    validation: int
    test: int
    validation_in_train: int
    test_in_train: int
    test_in_validation: int
    with_other_labels: int
    in_other_files: int = 0

    @property
    def warning(self) -> str:
        """What the splits share, and how that affects the figures; empty if they share nothing."""
        shared = [
            (self.test_in_train, "test images are also training images"),
            (self.test_in_validation, "test images are also validation images"),
            (self.validation_in_train, "validation images are also training images"),
        ]
        parts = [f"{count} {what}" for count, what in shared if count]
        if parts:
            parts[-1] += ": these figures will be too optimistic"
        if self.with_other_labels:
            parts.append(f"{self.with_other_labels} images also occur with another label")
        if parts and self.in_other_files:
            parts.append(f"{self.in_other_files} have their copies only in files of other bytes")
        return "; ".join(parts)


class Duplicates:
    """The duplicate images of a source, in groups of equal images.

    Args:
        images: every image of the source.
        file_hashes: the SHA-256 of each image's file, in the same order.
        pixel_hashes: each image's `toprung.trainables.provenance.pixel_hash`, in the same order.
    """

    def __init__(
        self, images: Sequence[SplitRow], file_hashes: Sequence[str], pixel_hashes: Sequence[str]
    ) -> None:
        members: dict[str, list[SplitRow]] = defaultdict(list)
        files: dict[str, list[str]] = defaultdict(list)
        for image, file, pixels in zip(images, file_hashes, pixel_hashes, strict=True):
            members[pixels].append(image)
            files[pixels].append(file)
        self.groups = {key: group for key, group in members.items() if len(group) > 1}
        self._files = {key: files[key] for key in self.groups}

    def counts(self) -> DuplicateCounts:
        """The numbers of duplicates."""
        return DuplicateCounts(
            contents=len(self.groups),
            images=sum(map(len, self.groups.values())),
            **{split: self._within(split) for split in SPLITS},
            validation_in_train=self._shared("validation", "train"),
            test_in_train=self._shared("test", "train"),
            test_in_validation=self._shared("test", "validation"),
            with_other_labels=sum(
                len(group) for group in self.groups.values() if len({row[1] for row in group}) > 1
            ),
            in_other_files=sum(
                number == 1 for files in self._files.values() for number in Counter(files).values()
            ),
        )

    def write(self, path: Path) -> None:
        """Write all duplicates as CSV: pixel_sha256, image, label, split, sha256 (of the file)."""
        rows = (
            (key, *row, file)
            for key, group in self.groups.items()
            for row, file in zip(group, self._files[key], strict=True)
        )
        write_csv(path, ("pixel_sha256", "image", "label", "split", "sha256"), rows)

    def _within(self, split: Split) -> int:
        return sum(count for count in self._in_each_group(split) if count > 1)

    def _shared(self, split: Split, other: Split) -> int:
        pairs = zip(self._in_each_group(split), self._in_each_group(other), strict=True)
        return sum(count for count, others in pairs if others)

    def _in_each_group(self, split: Split) -> Iterator[int]:
        for group in self.groups.values():
            yield sum(row[2] == split for row in group)
