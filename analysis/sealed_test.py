"""The sealed test set: opened once, for the winner, after selection; each opening is recorded."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch.nn import functional

from analysis.files import write_atomically
from analysis.folder import SweepFolderError
from analysis.model import TrainedModel
from trainables.data import open_test_data


@dataclass(frozen=True)
class TestResult:
    """One opening of the test set.

    `weights_sha256` is the digest of the model's `model.safetensors`; `forced` marks an opening
    for another model than the first.
    """

    __test__ = False  # not a test case, whatever pytest thinks of the name

    trial: int
    weights_sha256: str
    accuracy: float
    loss: float
    num_images: int
    test_data_sha256: str
    opened_at: str
    forced: bool


def read_openings(path: Path) -> list[TestResult]:
    """The openings so far, in order.

    Raises:
        SweepFolderError: if the record cannot be read.
    """
    if not path.exists():
        return []
    try:
        return [TestResult(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise SweepFolderError(f"{path}: is no record of test openings: {error}") from None


def open_test_set(
    path: Path, trial: int, model: TrainedModel, *, test_data_sha256: str | None, force: bool
) -> TestResult:
    """Test a model, and write the opening down; a model tested before is not tested again.

    Args:
        path: the record of openings.
        trial: the number of the model's trial.
        model: the model.
        test_data_sha256: the digest of the test images when the sweep began.
        force: open the test set even if it was opened for another model.

    Raises:
        SweepFolderError: if the test set was opened for another model and `force` is not given,
            if there is no test set, or if its images have changed.
        DataError: if the test images cannot be had any more.
    """
    openings = read_openings(path)
    for opening in openings:
        if opening.weights_sha256 == model.digest:
            return opening
    if openings and not force:
        first = openings[0]
        raise SweepFolderError(
            f"the test set was opened on {first.opened_at} for trial {first.trial}; opening it "
            f"for trial {trial} as well would make it a second validation set. Force it if you "
            "must: the opening will be marked"
        )
    result = _test(trial, model, forced=bool(openings))
    if result.test_data_sha256 != test_data_sha256:
        raise SweepFolderError(
            "the test images are not those that were set aside when the sweep began "
            f"(SHA-256 {result.test_data_sha256}, was {test_data_sha256})"
        )
    entries = [asdict(opening) for opening in [*openings, result]]
    write_atomically(path, json.dumps(entries, indent=2) + "\n")
    return result


def _test(trial: int, model: TrainedModel, *, forced: bool) -> TestResult:
    data = open_test_data(model.config.data)
    if data is None:
        raise SweepFolderError("the data have no test set (data/test_fraction = 0)")
    logits_NK = model.logits(data.images_NHWC)
    labels_N = torch.from_numpy(data.labels_N.copy())
    return TestResult(
        trial=trial,
        weights_sha256=model.digest,
        accuracy=(logits_NK.argmax(1) == labels_N).sum().item() / len(labels_N),
        loss=functional.cross_entropy(logits_NK, labels_N).item(),
        num_images=len(labels_N),
        test_data_sha256=data.digest,
        opened_at=datetime.now(UTC).isoformat(timespec="seconds"),
        forced=forced,
    )
