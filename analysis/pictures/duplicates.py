"""Identical images in the data, and whether they leak from one split into another."""

from typing import Any

from toprung.analysis.drawing.picture import Cell, Rows, table
from toprung.analysis.findings.results import Results
from toprung.trainables.data import DuplicateCounts


@table(
    title="Identical images",
    caption=(
        "Images that are the same pixel for pixel, in whatever files, counted when the sweep began "
        "(without the last row, files that are the same byte for byte); duplicates.csv lists them "
        "all, if there are any. A test image that was trained on makes the test figures too "
        "optimistic, a validation image that was trained on the selection. Pictures that only look "
        "the same, such as one saved at two sizes, are not found."
    ),
    sources=("sweep.yaml", "duplicates.csv"),
)
def duplicates(results: Results) -> Rows | None:
    """How many images are there twice; None for a sweep that did not count them."""
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
    of = data.get(f"num_{split}")
    return count / of if of else None
