"""What a source of images says about each of them before any is read."""

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
