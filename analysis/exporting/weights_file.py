"""The weights file of an export, with the record of the images that the model was made with."""

import hashlib
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from toprung.analysis.models.model import TrainedModel
from toprung.trainables.files.tensor_files import check_header, load_safetensors
from toprung.trainables.files.untrusted_files import (
    MAX_WEIGHTS_BYTES,
    UntrustedFileError,
    digest_of,
)
from toprung.trainables.provenance.record import MAX_CHARACTERS, METADATA_KEY, Provenance


def weights_file(model: TrainedModel, provenance: Provenance | None) -> bytes:
    """A model's weights as a safetensors file, with the record of its images.

    The file has no record if none is given, or if the record is too long for the file's header.
    """
    text = record_text(provenance)
    if text is None:
        return model.weights_bytes
    # Only one entry: the order of several is not fixed, so the digest of the file would vary.
    return save(model.stored_weights, metadata={METADATA_KEY: text})


def record_text(provenance: Provenance | None) -> str | None:
    """The record as text for a weights file; None if the file does not carry it."""
    text = None if provenance is None else provenance.as_text()
    return None if text is None or len(text) > MAX_CHARACTERS else text


def digest_in_file(file: Path) -> str:
    """The digest of the weights in a safetensors file, as `TrainedModel.digest` defines it.

    A record of images in the file does not change the digest.

    Returns:
        The digest; "unreadable" if it is not a safetensors file.

    Raises:
        OSError: if it cannot be read.
    """
    try:
        check_header(file)
        with safe_open(file, framework="numpy") as opened:
            has_metadata = bool(opened.metadata())
        if not has_metadata:
            return digest_of(file, MAX_WEIGHTS_BYTES)
        return hashlib.sha256(save(load_safetensors(file))).hexdigest()
    except UntrustedFileError:
        raise
    except (SafetensorError, ValueError, KeyError, RuntimeError):
        return "unreadable"
