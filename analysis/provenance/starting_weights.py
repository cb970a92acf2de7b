"""The weights files that a sweep's trials start from, and their overlap with the sweep's images.

A record of each file is kept in the sweep's folder, because the files may be replaced or removed
while exports of the sweep still need to state their origin. `starting_weights.safetensors` has the
hashes of the images that the n-th file was made with as the tensors `n/train`, `n/validation` and
`n/test`, and the rest as JSON in its metadata.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from toprung.analysis.provenance.splits_file import split_images
from toprung.analysis.sweep_folder.folder import SweepFolder, SweepFolderError
from toprung.analysis.sweep_folder.typed import typed
from toprung.trainables.config import TrialConfig
from toprung.trainables.data.listing.image_list import SPLITS
from toprung.trainables.files.tensor_files import check_header
from toprung.trainables.provenance.image_set import ImageSet, SplitImages, union
from toprung.trainables.provenance.overlap import HeldOut, Overlap
from toprung.trainables.provenance.record import Provenance

_METADATA_KEY = "starting_weights"


@dataclass(frozen=True)
class StartingWeights:
    """A weights file that trials start from.

    Attributes:
        weights: the path of the file, as in the trials' configs (`model/weights`).
        images: the images of every training that led to it; None if it has no record of them.
        overlap: the sweep's images among them; None without a record.
    """

    weights: str
    images: SplitImages | None
    overlap: Overlap | None


@dataclass(frozen=True)
class _Stored:
    """The entry of a weights file in the metadata."""

    weights: str
    overlap: Overlap | None


def read_starting_weights(path: Path) -> list[StartingWeights]:
    """The starting weights of a sweep; empty if these are random or torchvision's.

    Raises:
        SweepFolderError: if the file cannot be read.
    """
    if not path.exists():
        return []
    from safetensors import SafetensorError, safe_open

    try:
        check_header(path)
        with safe_open(path, framework="numpy") as file:
            stored = typed(list[_Stored], json.loads((file.metadata() or {})[_METADATA_KEY]))
            names = set(file.keys())
            sets = {name: file.get_tensor(name) for name in names}
        found = [_images(sets, number) for number in range(len(stored))]
    except (OSError, ValueError, KeyError, SafetensorError, RecursionError) as error:
        raise SweepFolderError(f"{path}: cannot be read: {error}") from None
    pairs = zip(stored, found, strict=True)
    return [StartingWeights(one.weights, images, one.overlap) for one, images in pairs]


def as_bytes(weights: Sequence[StartingWeights]) -> bytes:
    """The content of a file that `read_starting_weights` reads."""
    from safetensors.numpy import save

    sets = {
        f"{number}/{split}": getattr(one.images, split).keys_N.astype(np.uint64)
        for number, one in enumerate(weights)
        for split in (SPLITS if one.images else ())
    }
    stored = [asdict(_Stored(one.weights, one.overlap)) for one in weights]
    return save(sets, {_METADATA_KEY: json.dumps(stored)})


def _images(sets: dict[str, np.ndarray], number: int) -> SplitImages | None:
    names = {split: f"{number}/{split}" for split in SPLITS}
    if not names.values() & sets.keys():
        return None
    for name in names.values():
        if sets[name].dtype != np.uint64 or sets[name].ndim != 1:
            raise ValueError(f"{name} does not hold hashes of images")
    return SplitImages(**{split: ImageSet(np.unique(sets[n])) for split, n in names.items()})


def starting_weights_of(folder: SweepFolder, config: TrialConfig | None) -> list[StartingWeights]:
    """The records of the starting weights of a trial; several if the file has changed meanwhile.

    Raises:
        SweepFolderError: if the sweep's record of them cannot be read.
    """
    if config is None or config.model.weights_file is None:
        return []
    known = read_starting_weights(folder.starting_weights)
    return [one for one in known if one.weights == config.model.weights]


def seen_before(folder: SweepFolder, config: TrialConfig | None, split: HeldOut) -> list[str]:
    """Sentences on the sweep's held-out images that a trial's starting weights were made with.

    Raises:
        SweepFolderError: if the sweep's record of the weights cannot be read.
    """
    found = [one.overlap for one in starting_weights_of(folder, config) if one.overlap]
    return [sentence for overlap in found if (sentence := overlap.in_words(split))]


def tested_before(folder: SweepFolder, config: TrialConfig | None) -> list[str]:
    """Sentences on test images of a trial's starting weights that the sweep uses.

    Raises:
        SweepFolderError: if the sweep's record of the weights cannot be read.
    """
    found = [one.overlap for one in starting_weights_of(folder, config) if one.overlap]
    return [sentence for overlap in found if (sentence := overlap.tested_in_words())]


def provenance_of(folder: SweepFolder, config: TrialConfig) -> Provenance | None:
    """The images that the model of a sweep's trial was made with.

    Returns:
        The images; None if the sweep was started by a version that did not hash pixels.

    Raises:
        SweepFolderError: if a file of the sweep cannot be read.
    """
    own = split_images(folder.splits) if folder.splits.exists() else None
    if own is None:
        return None
    return Provenance(own, inherited(folder, config))


def inherited(folder: SweepFolder, config: TrialConfig) -> SplitImages:
    """The images that a trial's starting weights were made with.

    Raises:
        SweepFolderError: if the sweep's record of the weights cannot be read.
    """
    known = starting_weights_of(folder, config)
    return union(one.images for one in known if one.images)
