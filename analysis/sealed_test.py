"""The sealed test set: opened once, for the winner, after selection; each opening is recorded."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial

import torch
from filelock import FileLock

from analysis.folder import SweepFolder, SweepFolderError
from analysis.model import TrainedModel
from analysis.openings import TestResult, read_openings
from analysis.predictions import Predictions, save_predictions
from trainables.data import TestData, open_test_data
from trainables.evaluate import score


def open_test_set(
    folder: SweepFolder,
    trial: int,
    model: TrainedModel,
    *,
    test_data_sha256: str | None,
    is_winner: bool,
    force: bool,
) -> TestResult:
    """Test a model, and write the opening down; a model tested before is not tested again.

    What the model said of the images is kept, so that nobody needs the test set to explain it.

    Args:
        folder: the sweep's, with the record of openings.
        trial: the number of the model's trial.
        model: the model.
        test_data_sha256: the digest of the test images when the sweep began.
        is_winner: whether the trial is the sweep's winner.
        force: open the test set even so for another model than the winner, or a second one.

    Raises:
        SweepFolderError: if the model is not the winner's, or the test set was opened for another
            model, and `force` is not given; if there is no test set, if its images have changed,
            or if the record cannot be written.
        DataError: if the test images cannot be had any more.
    """
    path = folder.sealed_test
    with FileLock(path.with_name(f".{path.name}.lock")):
        allowed = partial(_openings_if_allowed, folder, trial, is_winner=is_winner, force=force)
        if opening := _of_model(model, allowed(model)):
            return opening
        data = _test_data(model, test_data_sha256)
        predictions = model.predict_all(data.images_NHWC, data.labels_N, data.names)
        openings = allowed(model)  # another machine knows nothing of the lock
        if opening := _of_model(model, openings):
            return opening
        forced = bool(openings) or not is_winner
        result = _result(trial, model, data, predictions, forced=forced)
        entries = [asdict(opening) for opening in [*openings, result]]
        kept = folder.test_predictions(trial)
        try:
            save_predictions(kept, predictions)
            folder.write(path, json.dumps(entries, indent=2) + "\n")
        except OSError as error:
            kept.unlink(missing_ok=True)  # without the record nothing may be known
            reason = error.strerror or error
            raise SweepFolderError(f"{path}: cannot be written: {reason}") from None
        folder.publish(kept)
    return result


def _openings_if_allowed(
    folder: SweepFolder, trial: int, model: TrainedModel, *, is_winner: bool, force: bool
) -> list[TestResult]:
    """All openings so far, those of other machines too if the sweep lies in a store.

    Raises:
        SweepFolderError: if the model may not be tested after these.
    """
    folder.refresh(folder.sealed_test)
    openings = read_openings(folder.sealed_test)
    if not force and _of_model(model, openings) is None:
        _check_allowed(trial, openings, is_winner=is_winner)
    return openings


def _of_model(model: TrainedModel, openings: list[TestResult]) -> TestResult | None:
    return next((known for known in openings if known.weights_sha256 == model.digest), None)


def _check_allowed(trial: int, openings: list[TestResult], *, is_winner: bool) -> None:
    if openings:
        first = openings[0]
        raise SweepFolderError(
            f"the test set was opened on {first.opened_at} for trial {first.trial}, as it "
            f"was then; opening it for trial {trial}, as it is now, would make it a second "
            "validation set. Force it "
            "(--force) if you must: the opening will be marked"
        )
    if not is_winner:
        raise SweepFolderError(
            f"trial {trial} is not the sweep's winner; the test set is for the winner alone. "
            "Force it (--force) if you must: the opening will be marked"
        )


def _test_data(model: TrainedModel, test_data_sha256: str | None) -> TestData:
    data = open_test_data(model.config.data)
    if data is None:
        raise SweepFolderError("the data have no test set (data/test_fraction = 0)")
    if data.digest != test_data_sha256:
        raise SweepFolderError(
            "the test images are not those that were set aside when the sweep began "
            f"(SHA-256 {data.digest}, was {test_data_sha256})"
        )
    return data


def _result(
    trial: int, model: TrainedModel, data: TestData, predictions: Predictions, *, forced: bool
) -> TestResult:
    logits_NK = torch.from_numpy(predictions.logits_NK)
    labels_N = torch.from_numpy(predictions.labels_N)
    scored = score(logits_NK, labels_N)
    return TestResult(
        trial=trial,
        weights_sha256=model.digest,
        accuracy=scored.accuracy,
        loss=scored.loss,
        num_images=len(labels_N),
        test_data_sha256=data.digest,
        opened_at=datetime.now(UTC).isoformat(timespec="seconds"),
        forced=forced,
    )
