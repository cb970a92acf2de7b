"""The hashes in a sweep's `splits.csv`, by which its images are known again."""

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
    """The splits in which there is a file, or a picture, with a hash; of both kinds of hashes.

    Sweeps begun by an older Toprung have hashes of files only, or none.

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
    """The pictures of each split; None if their hashes were not written.

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
