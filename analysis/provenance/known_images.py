"""The images that a model was made with, looked for among others."""

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
"""For each of some images, the splits that it is in."""


@dataclass(frozen=True)
class KnownImages:
    """What a sweep's folder, or an export, says of the images that its model was made with.

    Attributes:
        sweep: how the user names the sweep to a command.
        splits_of: the splits in which the sweep has each of some images.
        inherited: the images that the weights were made with which training started from.
    """

    sweep: str
    splits_of: Callable[[LabelledData], Splits]
    inherited: SplitImages


def images_of_sweep(folder: SweepFolder, config: TrialConfig) -> KnownImages | None:
    """What a sweep's folder says of its images; None if it was begun before hashes were written.

    Args:
        folder: the sweep's.
        config: of the trial whose model is asked about.

    Raises:
        SweepFolderError: if a file of the sweep cannot be read.
    """
    contents = splits_of_contents(folder.splits)
    if not contents:
        return None

    def splits_of(labelled: LabelledData) -> Splits:
        """Of the same file, or of the same picture in another file."""
        pairs = zip(labelled.hashes, labelled.pixel_hashes, strict=True)
        return [contents.get(f, set()) | contents.get(p, set()) for f, p in pairs]

    return KnownImages(folder.address, splits_of, inherited(folder, config))


def images_of_export(weights: Path) -> KnownImages | None:
    """What an export says of its images; None if it has no record of them.

    Args:
        weights: its file of weights.

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
    """The splits in which a record of images has each of some pictures."""
    splits: Splits = [set() for _ in labelled.names]
    for split in SPLITS:
        for index in np.flatnonzero(getattr(images, split).holds(labelled.pixel_hashes)):
            splits[index].add(split)
    return splits
