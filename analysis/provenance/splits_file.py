"""The hashes in a sweep's `splits.csv`, which identify its images."""

import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.trainables.data.listing.image_list import SPLITS
from toprung.trainables.files.untrusted_files import read_table
from toprung.trainables.provenance.image_set import ImageSet, ProvenanceError, SplitImages

FILE_HASH = "sha256"
PIXEL_HASH = "pixel_sha256"


def has_pixel_hashes(path: Path) -> bool:
    """Whether the file can be read, and has the hashes of the images' pixels."""
    try:
        return PIXEL_HASH in next(read_table(path), {})
    except (OSError, csv.Error):
        return False


def splits_of_contents(path: Path) -> dict[str, set[str]]:
    """The splits that contain a file, or pixels, with a hash, by hashes of both kinds.

    Sweeps of older versions have only hashes of files, or none.

    Raises:
        SweepFolderError: if the file cannot be read.
    """
    splits: dict[str, set[str]] = defaultdict(set)
    for row in _rows(path):
        for column in (FILE_HASH, PIXEL_HASH):
            if row.get(column):
                splits[row[column]].add(row["split"])
    return dict(splits)


def split_images(path: Path) -> SplitImages | None:
    """The images of each split; None if the hashes of their pixels were not recorded.

    Raises:
        SweepFolderError: if the file cannot be read.
    """
    hashes: dict[str, list[str]] = defaultdict(list)
    for row in _rows(path):
        if not row.get(PIXEL_HASH):
            return None
        hashes[row["split"]].append(row[PIXEL_HASH])
    if not hashes:
        return None
    try:
        return SplitImages(**{split: ImageSet.of(hashes[split]) for split in SPLITS})
    except ProvenanceError as error:
        raise SweepFolderError(f"{path}: cannot be read: {error}") from None


def _rows(path: Path) -> Iterator[dict[str, str]]:
    try:
        for row in read_table(path):
            row["split"]
            yield row
    except (OSError, KeyError, csv.Error) as error:
        raise SweepFolderError(f"{path}: cannot be read: {error}") from None
