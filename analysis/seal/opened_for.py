"""Whether a test set was opened for a model, according to all available records."""

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
    """Remarks on the opening of the test set for a model; None if it was not opened for it.

    Inside a sweep, the sweep's own records decide. An export may have been moved to a machine whose
    ledgers do not know it, so there its figures are accepted, with a remark if no ledger confirms
    them.

    Args:
        weights_sha256: the digest of the model (`TrainedModel.digest`).
        folder: the folder of the sweep that contains the model; None for an export elsewhere.
        metrics: the file with the figures of the export.
        history: the openings in the user's ledgers.

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
        "openings on this machine confirms it"
    ]


def _is_claimed(weights_sha256: str, metrics: Path) -> bool:
    """Whether the figures of an export claim that the test set was opened for the model."""
    try:
        test = typed(TestResult, json.loads(read_text(metrics))["test"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    return test.weights_sha256 == weights_sha256
