"""Identical images in the data, and whether they leak from one split into another."""

from typing import Any

from toprung.analysis.drawing.picture import Cell, Rows, table
from toprung.analysis.findings.results import Results
from toprung.trainables.data import DuplicateCounts


@table(
    title="Identical images",
    caption=(
        "Images that are identical pixel for pixel, whatever their files, counted when the sweep "
        "began (if the last row is missing, files that are identical byte for byte); "
        "`duplicates.csv` lists them all, if there are any. A test image that is also a training "
        "image makes the test figures too optimistic; a validation image that is also a training "
        "image makes the selection too optimistic. Images that merely look alike, such as one "
        "image saved at two sizes, are not found."
    ),
    sources=("sweep.yaml", "duplicates.csv"),
)
def duplicates(results: Results) -> Rows | None:
    """How many images occur more than once; None for a sweep that did not count them."""
    data = results.sweep.description.get("data", {})
    if "duplicates" not in data:
        return None
    counts = DuplicateCounts(**data["duplicates"])
    lines = [
        ("test images that are also training images", counts.test_in_train, "test"),
        ("test images that are also validation images", counts.test_in_validation, "test"),
        (
            "validation images that are also training images",
            counts.validation_in_train,
            "validation",
        ),
        ("training images that are also another training image", counts.train, "train"),
        (
            "validation images that are also another validation image",
            counts.validation,
            "validation",
        ),
        ("test images that are also another test image", counts.test, "test"),
        ("images that are also there with another label", counts.with_other_labels, None),
    ]
    if "in_other_files" in data["duplicates"]:
        lines.append(
            ("images whose copies are all in files of other bytes", counts.in_other_files, None)
        )
    rows = tuple((what, count, _share(count, split, data)) for what, count, split in lines)
    return Rows(("", "images", "share of the split"), rows)


def _share(count: int, split: str | None, data: dict[str, Any]) -> Cell:
    num_images = data.get(f"num_{split}")
    return count / num_images if num_images else None
