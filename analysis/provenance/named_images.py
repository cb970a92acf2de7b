"""Finding images that a user names one by one among those that an export was made with."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from toprung.analysis.provenance.splits_file import split_images
from toprung.analysis.sweep_folder.folder import SweepFolder, SweepFolderError
from toprung.trainables.data import hash_image
from toprung.trainables.provenance.image_set import ProvenanceError, SplitImages
from toprung.trainables.provenance.record import read_provenance

_MAX_NAMES = 3


def of_sealed_test(model: Path, weights: str, images: Sequence[Path]) -> str:
    """A sentence on the images that are in the test set of a model's sweep; empty if none is.

    Args:
        model: the folder of an export or of a sweep.
        weights: the name of the weights file in an export.
        images: image files.

    Raises:
        DataError: if an image cannot be decoded.
    """
    try:
        own = _images_of(model, weights)
    except (ProvenanceError, SweepFolderError) as error:
        return f"{model}: whether images are in the sealed test set is not known: {error}"
    if own is None:
        return ""
    found = np.flatnonzero(own.test.holds([hash_image(image) for image in images])).tolist()
    if not found:
        return ""
    named = ", ".join(str(images[index]) for index in found[:_MAX_NAMES])
    more = f" and {len(found) - _MAX_NAMES} more" if len(found) > _MAX_NAMES else ""
    return (
        f"{len(found)} of the {len(images)} images are in the sealed test set of the model's "
        f"sweep: {named}{more}"
    )


def _images_of(model: Path, weights: str) -> SplitImages | None:
    """The images of the sweep that made a model; None if there is no record of them."""
    folder = SweepFolder(model)
    if folder.settings.is_file():
        return split_images(folder.splits) if folder.splits.exists() else None
    record = read_provenance(model / weights)
    return record.own if record else None
