"""What a source of images says about each of them before any is read."""

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
        class_name: Its label.
        split: None where the source leaves the split to us.
        content: The file, or the pixels themselves (uint8, HW or HWC).
    """

    name: str
    class_name: str
    split: Split | None
    content: Path | NDArray[np.uint8]


@dataclass(frozen=True)
class Source:
    """Where images come from.

    Attributes:
        identity: Text that differs whenever an image may differ; made without reading any image.
        list_images: All images, with their labels and, where the source has them, splits.
        class_order: The classes in the source's own order; None if it has no other than sorted.
    """

    identity: str
    list_images: Callable[[], list[ListedImage]]
    class_order: tuple[str, ...] | None = None


def source_of_files(
    images: Sequence[ListedImage], class_order: tuple[str, ...] | None = None
) -> Source:
    """The source of images that are files; their sizes and times are its identity."""
    in_order = sorted(images, key=lambda image: image.name)
    facts = [[image.name, image.class_name, image.split, *_file_facts(image)] for image in in_order]
    identity = "\n".join(json.dumps(line) for line in [*facts, class_order])
    return Source(identity, lambda: list(images), class_order)


def file_facts(file: Path) -> list[str | int | None]:
    """The file's path, size and time of change: another content nearly always differs in one."""
    try:
        status = file.stat()
    except (OSError, ValueError):
        return [str(file), None]  # reported as a bad image when it is read
    return [str(file), status.st_size, status.st_mtime_ns]


def _file_facts(image: ListedImage) -> list[str | int | None]:
    assert isinstance(image.content, Path)
    return file_facts(image.content)
