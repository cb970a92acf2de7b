"""The files of weights that a sweep's trials start from, and what these have seen of its images.

What is known of each is kept in the sweep's folder (`starting_weights.json`), for the files may be
replaced or removed while exports of the sweep still have to say what went into them.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from analysis.folder import SweepFolder, SweepFolderError
from analysis.provenance.splits_file import split_images
from analysis.typed import typed
from trainables.config import TrialConfig
from trainables.provenance.image_set import ProvenanceError, SplitImages
from trainables.provenance.overlap import HeldOut, Overlap
from trainables.provenance.record import Provenance


@dataclass(frozen=True)
class StartingWeights:
    """A file of weights that trials start from.

    Attributes:
        weights: its path, as in the trials' configs (`model/weights`).
        images: the record of images that it carries, as text; None if it carries none.
        overlap: the sweep's held-out images that are in this record; None without one.
    """

    weights: str
    images: str | None
    overlap: Overlap | None


def read_starting_weights(path: Path) -> list[StartingWeights]:
    """Those of a sweep; none if its trials start from random weights or from torchvision's.

    Raises:
        SweepFolderError: if the file cannot be read.
    """
    if not path.exists():
        return []
    try:
        return typed(list[StartingWeights], json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise SweepFolderError(f"{path}: cannot be read: {error}") from None


def as_json(weights: Sequence[StartingWeights]) -> str:
    """As `read_starting_weights` reads them."""
    return json.dumps([asdict(one) for one in weights]) + "\n"


def starting_weights_of(folder: SweepFolder, config: TrialConfig | None) -> list[StartingWeights]:
    """What is known of the weights of one trial; several if the file has changed meanwhile.

    Raises:
        SweepFolderError: if the sweep's record of them cannot be read.
    """
    if config is None or config.model.weights_file is None:
        return []
    known = read_starting_weights(folder.starting_weights)
    return [one for one in known if one.weights == config.model.weights]


def seen_before(folder: SweepFolder, config: TrialConfig | None, split: HeldOut) -> list[str]:
    """The sweep's held-out images that a trial's starting weights were made with, in words.

    Raises:
        SweepFolderError: if the sweep's record of the weights cannot be read.
    """
    found = [one.overlap for one in starting_weights_of(folder, config) if one.overlap]
    return [told for overlap in found if (told := overlap.in_words(split))]


def provenance_of(folder: SweepFolder, config: TrialConfig) -> Provenance | None:
    """The images that the model of a sweep's trial was made with.

    Returns:
        None if the sweep was begun by a Toprung that did not hash pixels.

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
    texts = [one.images for one in starting_weights_of(folder, config) if one.images]
    try:
        return Provenance.inherited_from(map(Provenance.from_text, texts))
    except ProvenanceError as error:
        raise SweepFolderError(f"{folder.starting_weights}: cannot be read: {error}") from None
