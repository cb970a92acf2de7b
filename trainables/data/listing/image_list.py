"""A source of images, and the list of its images before any of them is read."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
SPLIT_WORDS: dict[str, Split] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


@dataclass(frozen=True)
class ListedImage:
    """One image of a source.

    Attributes:
        name: Unique within the source; for a file, its path below the source's folder.
        class_name: The image's label.
        split: The image's split; None if the source has no splits.
        content: The file, or the pixels themselves (uint8, HW or HWC).
    """

    name: str
    class_name: str
    split: Split | None
    content: Path | NDArray[np.uint8]


@dataclass(frozen=True)
class Source:
    """A source of images.

    Attributes:
        identity: A text that differs whenever an image may differ; made without reading images.
        list_images: Returns all images, with their labels and, if the source has them, splits.
        class_order: The classes in the source's own order; None if they are sorted by name.
    """

    identity: str
    list_images: Callable[[], list[ListedImage]]
    class_order: tuple[str, ...] | None = None


def source_of_files(
    images: Sequence[ListedImage], class_order: tuple[str, ...] | None = None
) -> Source:
    """A source of image files, whose sizes and modification times are its identity."""
    in_order = sorted(images, key=lambda image: image.name)
    facts = [[image.name, image.class_name, image.split, *_file_facts(image)] for image in in_order]
    identity = "\n".join(json.dumps(line) for line in [*facts, class_order])
    return Source(identity, lambda: list(images), class_order)


def file_facts(file: Path) -> list[str | int | None]:
    """A file's path, size and modification time, one of which changes with nearly any change."""
    try:
        status = file.stat()
    except (OSError, ValueError):
        return [str(file), None]  # reported as a bad image when it is read
    return [str(file), status.st_size, status.st_mtime_ns]


def _file_facts(image: ListedImage) -> list[str | int | None]:
    assert isinstance(image.content, Path)
    return file_facts(image.content)
