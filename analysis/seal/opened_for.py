"""Whether a test set was opened for a model, by what the records at hand say together."""

import json
from pathlib import Path

from toprung.analysis.seal.evidence import predictions_of, results_of
from toprung.analysis.seal.ledger import History
from toprung.analysis.seal.openings import TestResult
from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.analysis.sweep_folder.typed import typed
from toprung.trainables.files.untrusted_files import read_text


def opened_for(
    weights_sha256: str, folder: SweepFolder | None, metrics: Path, history: History
) -> list[str] | None:
    """What to say of the opening of a model's test set; None if it was not opened for the model.

    Inside a sweep its own records decide. An export may have been taken to a machine whose ledgers
    know nothing of it, so there its figures are believed, and the user is told if they stand alone.

    Args:
        weights_sha256: of the model (`TrainedModel.digest`).
        folder: of the sweep that the model lies in; None for an export elsewhere.
        metrics: the figures of the export.
        history: the openings that the user's ledgers know.

    Raises:
        SweepFolderError: if the sweep's record of openings cannot be read.
    """
    if folder is None:
        if not _is_claimed(weights_sha256, metrics):
            return None
        claimed_by, is_supported = metrics.name, False
    else:
        found = [one for one in results_of(folder) if one.weights_sha256 == weights_sha256]
        if not found:
            return None
        claimed_by = folder.sealed_test.name
        is_supported = any(predictions_of(folder, one).exists() for one in found)
    known = {intent.weights_sha256 for intent in history.intents}
    if is_supported or weights_sha256 in known:
        return []
    return [
        f"only {claimed_by} says that the test set was opened for this model: no record of "
        "openings on this machine has it"
    ]


def _is_claimed(weights_sha256: str, metrics: Path) -> bool:
    """Whether an export's figures say that the test set was opened for the model."""
    try:
        test = typed(TestResult, json.loads(read_text(metrics))["test"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    return test.weights_sha256 == weights_sha256
