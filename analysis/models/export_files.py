"""The names of the files in an export, which may be untrusted, and the size limit of each."""

from pathlib import Path

from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.trainables.files.untrusted_files import (
    MAX_TEXT_BYTES,
    MAX_WEIGHTS_BYTES,
    UntrustedFileError,
    inside,
)

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
TRIAL_FILE = "trial.yaml"
METRICS_FILE = "metrics.json"
ONNX_FILE = "model.onnx"
CARD_FILE = "README.md"
_MOST_BYTES = {
    WEIGHTS_FILE: MAX_WEIGHTS_BYTES,
    CONFIG_FILE: MAX_TEXT_BYTES,
    TRIAL_FILE: MAX_TEXT_BYTES,
    METRICS_FILE: MAX_TEXT_BYTES,
    ONNX_FILE: MAX_WEIGHTS_BYTES,
    CARD_FILE: MAX_TEXT_BYTES,
}


def check_export_files(folder: Path) -> None:
    """Check that no file of an export leads out of its folder, could block, or is too large.

    To be called before an export is read or overwritten.

    Raises:
        SweepFolderError: if one of the files does.
    """
    try:
        for name, most_bytes in _MOST_BYTES.items():
            inside(folder, folder / name, most_bytes=most_bytes)
    except UntrustedFileError as error:
        raise SweepFolderError(str(error)) from None
