"""Images that a user names one by one, looked for among those that an export was made with."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from toprung.trainables.data import hash_image
from toprung.trainables.provenance.image_set import ProvenanceError
from toprung.trainables.provenance.record import read_provenance

_MAX_NAMES = 3


def of_sealed_test(weights: Path, images: Sequence[Path]) -> str:
    """A sentence on the images that are in the test set of a model's sweep; empty if none is.

    Args:
        weights: the file of weights of the model's export.
        images: files of images.

    Raises:
        DataError: if an image cannot be decoded.
    """
    try:
        record = read_provenance(weights)
    except ProvenanceError as error:
        return f"{weights}: whether images are of the sealed test set is not known: {error}"
    if record is None:
        return ""
    found = np.flatnonzero(record.own.test.holds([hash_image(image) for image in images])).tolist()
    if not found:
        return ""
    named = ", ".join(str(images[index]) for index in found[:_MAX_NAMES])
    more = f" and {len(found) - _MAX_NAMES} more" if len(found) > _MAX_NAMES else ""
    return (
        f"{len(found)} of the {len(images)} images are of the sealed test set of the model's "
        f"sweep: {named}{more}"
    )
