"""Finding the images that a model was made with among other images."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toprung.analysis.provenance.splits_file import splits_of_contents
from toprung.analysis.provenance.starting_weights import inherited
from toprung.analysis.sweep_folder.folder import SweepFolder, SweepFolderError
from toprung.trainables.config import TrialConfig
from toprung.trainables.data import LabelledData
from toprung.trainables.data.listing.image_list import SPLITS
from toprung.trainables.provenance.image_set import ProvenanceError, SplitImages
from toprung.trainables.provenance.record import read_provenance

Splits = list[set[str]]
"""For each image, the splits that contain it."""


@dataclass(frozen=True)
class KnownImages:
    """The images that a model was made with, as recorded by a sweep's folder or an export.

    Attributes:
        sweep: the sweep, as the user names it in a command.
        splits_of: returns the splits of the sweep that contain each of some images.
        inherited: the images that the starting weights were made with.
    """

    sweep: str
    splits_of: Callable[[LabelledData], Splits]
    inherited: SplitImages


def images_of_sweep(folder: SweepFolder, config: TrialConfig) -> KnownImages | None:
    """The images recorded in a sweep's folder; None if an older version recorded no hashes.

    Args:
        folder: the folder of the sweep.
        config: the config of the model's trial.

    Raises:
        SweepFolderError: if a file of the sweep cannot be read.
    """
    contents = splits_of_contents(folder.splits)
    if not contents:
        return None

    def splits_of(labelled: LabelledData) -> Splits:
        """The splits that contain the same file, or the same pixels in another file."""
        pairs = zip(labelled.hashes, labelled.pixel_hashes, strict=True)
        return [contents.get(f, set()) | contents.get(p, set()) for f, p in pairs]

    return KnownImages(folder.address, splits_of, inherited(folder, config))


def images_of_export(weights: Path) -> KnownImages | None:
    """The images recorded in an export; None if it has no record of them.

    Args:
        weights: the weights file of the export.

    Raises:
        SweepFolderError: if its record cannot be read.
    """
    try:
        found = read_provenance(weights) if weights.exists() else None
    except ProvenanceError as error:
        raise SweepFolderError(f"{weights}: {error}") from None
    if found is None:
        return None
    own = found.own
    return KnownImages("SWEEP", lambda labelled: splits_in(own, labelled), found.inherited)


def splits_in(images: SplitImages, labelled: LabelledData) -> Splits:
    """The splits of a record of images that contain each of some labelled images."""
    splits: Splits = [set() for _ in labelled.names]
    for split in SPLITS:
        for index in np.flatnonzero(getattr(images, split).holds(labelled.pixel_hashes)):
            splits[index].add(split)
    return splits
