"""The record of images that is stored in a file of weights."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from toprung.trainables.files.tensor_files import check_header
from toprung.trainables.provenance.image_set import ImageSet, ProvenanceError, SplitImages
from toprung.trainables.provenance.pixel_hash import FORM

METADATA_KEY = "toprung_images"
"""The key of the record in a safetensors file's metadata."""
MAX_CHARACTERS = 90_000_000
"""Characters of a record, some 8 million images: safetensors refuses headers over 100 MB."""


@dataclass(frozen=True, eq=False)
class Provenance:
    """The images on which weights were trained, selected and tested.

    Attributes:
        own: the images of the sweep that made the weights.
        inherited: the images of the weights that its training started from, and of the weights
            that these had started from.
    """

    own: SplitImages
    inherited: SplitImages = field(default_factory=SplitImages)

    @property
    def all(self) -> SplitImages:
        """The images of every training that led to the weights."""
        return self.own | self.inherited

    def as_text(self) -> str:
        """The record as JSON, in one line."""
        sets = {"own": _as_plain(self.own), "inherited": _as_plain(self.inherited)}
        return json.dumps({"version": 1, "hash": FORM} | sets)

    @classmethod
    def from_text(cls, text: str) -> "Provenance":
        """The record from the text that `as_text` returned.

        Raises:
            ProvenanceError: if it is anything else, or from a version with other hashes.
        """
        try:
            plain = _Plain.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = "/".join(map(str, first["loc"]))
            raise ProvenanceError(
                f"the record of images cannot be read: {where}: {first['msg']}"
            ) from None
        if plain.hash != FORM:
            raise ProvenanceError(
                f"the record of images has other hashes: {plain.hash[:20]!r}, not {FORM!r}"
            )
        return cls(_from_plain(plain.own), _from_plain(plain.inherited))


class _PlainSets(BaseModel):
    train: str
    validation: str
    test: str


class _Plain(BaseModel):
    version: Literal[1]
    hash: str
    own: _PlainSets
    inherited: _PlainSets


def _as_plain(images: SplitImages) -> dict[str, str]:
    return {name: getattr(images, name).as_text() for name in _PlainSets.model_fields}


def _from_plain(sets: _PlainSets) -> SplitImages:
    return SplitImages(**{name: ImageSet.from_text(text) for name, text in sets})


def read_provenance(file: Path) -> Provenance | None:
    """Read the record in a safetensors file, without reading its weights.

    Returns:
        The record; None for a file of another kind, of other software, or of a version of Toprung
        that wrote no record.

    Raises:
        ProvenanceError: if the file or its record cannot be read.
    """
    if file.suffix != ".safetensors":
        return None
    text = _metadata(file).get(METADATA_KEY)
    return None if text is None else Provenance.from_text(text)


def _metadata(file: Path) -> dict[str, str]:
    from safetensors import SafetensorError, safe_open

    try:
        check_header(file.resolve())  # the user may have named it by a link
        with safe_open(file, framework="numpy") as opened:
            metadata: dict[str, Any] | None = opened.metadata()
    except (OSError, ValueError, SafetensorError) as error:
        raise ProvenanceError(f"{file}: cannot be read: {error}") from None
    return metadata or {}
