"""The sealed test set: opened once, for the winner, after selection; each opening is recorded.

The steps, each durable before the next begins, so that a kill at any point loses no opening:

1. write the intent to the sweep (to its store first, if it has one);
2. find the images, and add the opening to the ledgers of test sets;
3. run the model on the images, and save its predictions;
4. add the result to the record.

An intent without a result counts as an opening in every later decision. The same model may complete
it. If only a ledger or predictions show an opening, another opening is a second one and needs
`force`.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from filelock import FileLock

from toprung.analysis.models.model import TrainedModel
from toprung.analysis.models.predictions import (
    Origin,
    Predictions,
    load_predictions,
    save_predictions,
)
from toprung.analysis.seal.evidence import Seal, UnknownResult, read_seal
from toprung.analysis.seal.intent import (
    Intent,
    new_intent,
    refresh_intents,
    withdraw_intent,
    write_intent,
)
from toprung.analysis.seal.ledger import Earlier, images_of_splits
from toprung.analysis.seal.openings import TestResult, read_openings
from toprung.analysis.sweep_folder.folder import SweepFolder, SweepFolderError
from toprung.analysis.sweep_folder.outside import images_of
from toprung.trainables.data import TestData, open_test_data
from toprung.trainables.files.untrusted_files import MAX_PREDICTIONS_BYTES, digest_of
from toprung.trainables.inference.predict import score
from toprung.trainables.provenance.image_set import ImageSet

if TYPE_CHECKING:
    from toprung.analysis.study.sweep_record import SweepRecord


@dataclass(frozen=True)
class _Candidate:
    """A model to be tested.

    Attributes:
        sweep: the sweep that found it.
        trial: the number of its trial.
        model: the model, with its best weights.
        digest: the digest of these weights.
        is_winner: whether it is the winner of a sweep that has ended.
        force: whether to open the test set in any case.
    """

    sweep: "SweepRecord"
    trial: int
    model: TrainedModel
    digest: str
    is_winner: bool
    force: bool

    @property
    def folder(self) -> SweepFolder:
        """The folder of the sweep."""
        return self.sweep.folder


def open_test_set(
    sweep: "SweepRecord", trial: int, model: TrainedModel, *, is_winner: bool, force: bool
) -> TestResult:
    """Test a model, and record the opening; a model tested before is not tested again.

    The predictions are kept, so that the test set is not needed to explain the result.

    Args:
        sweep: the sweep, whose folder has the record of openings.
        trial: the number of the model's trial.
        model: the model.
        is_winner: whether the trial is the sweep's winner.
        force: whether to open the test set even for a model that is not the winner, or for a
            second model.

    Raises:
        SweepFolderError: if the model is not the winner's, or the test set was or may have been
            opened for another model, and `force` is not given; if the records of the model's own
            opening contradict each other; if there is no test set, if its images have changed, or
            if a record cannot be written.
        DataError: if the test images are no longer available.
    """
    candidate = _Candidate(sweep, trial, model, model.digest, is_winner, force)
    record = sweep.folder.sealed_test
    with FileLock(record.with_name(f".{record.name}.lock")):
        seal = _allowed(candidate)
        if known := seal.result_of(candidate.digest):
            return known
        try:
            return _opened(candidate, seal)
        except OSError as error:
            raise SweepFolderError(
                f"{record}: the opening cannot be recorded: {error.strerror or error}"
            ) from None


def _opened(candidate: _Candidate, seal: Seal) -> TestResult:
    """Open the test set for a model, or complete its interrupted opening."""
    begun = _interrupted(candidate, seal)
    if begun is None or _kept_predictions(candidate, begun) is None:
        candidate.sweep.outside.confirm(images_of(candidate.model.config.data))
    intent = begun or _intent(candidate, seal)
    if begun is None:
        write_intent(candidate.folder, intent)
    try:
        # Another machine does not see the lock, so check again with the intent written.
        seal = _allowed(candidate, but="" if begun else intent.id)
        predictions = _kept_predictions(candidate, intent)
        data = _test_data(candidate) if predictions is None else None
    except Exception:
        if begun is None:  # the model has not seen any image
            withdraw_intent(candidate.folder, intent)
        raise
    images = _images(candidate.folder, data)
    earlier = _enter(candidate, seal, intent, images)
    if data is not None:
        predictions = candidate.model.predict_all(data.images_NHWC, data.labels_N, data.names)
        # An earlier version writes no intents, so check again after the predictions.
        _allowed(candidate, but="" if begun else intent.id)
    assert predictions is not None
    digest = _keep(candidate.folder, intent, predictions)
    result = replace(
        _result(intent, predictions),
        predictions_sha256=digest,
        images=images.id if images else None,
        earlier=earlier,
    )
    entries = [asdict(entry) for entry in [*read_openings(candidate.folder.sealed_test), result]]
    candidate.folder.write(candidate.folder.sealed_test, json.dumps(entries, indent=2) + "\n")
    return result


def _allowed(candidate: _Candidate, but: str = "") -> Seal:
    """All known openings, including those by other machines if the sweep is in a store.

    Args:
        candidate: the model.
        but: the id of its own intent, which does not count.

    Raises:
        SweepFolderError: if these openings do not allow the model to be tested.
    """
    folder = candidate.folder
    folder.refresh(folder.sealed_test)
    refresh_intents(folder)
    seal = read_seal(candidate.sweep)
    own = [one for one in seal.unknown if one.intent is not None and one.intent.id == but]
    seal = replace(seal, unknown=tuple(one for one in seal.unknown if one not in own))
    if not candidate.force and seal.result_of(candidate.digest) is None:
        _check_allowed(candidate, seal)
    return seal


def _check_allowed(candidate: _Candidate, seal: Seal) -> None:
    mine = seal.unknown_of(candidate.digest)
    if contradiction := next((one for one in mine if not one.may_complete), None):
        raise SweepFolderError(
            f"{candidate.folder.sealed_test}: the test set was {contradiction}. If you must open "
            "it again, use --force: the opening will be marked as forced"
        )
    if mine:
        return  # its own opening, which it may complete
    others: list[TestResult | UnknownResult] = [*seal.results, *seal.unknown]
    if others:
        raise SweepFolderError(
            f"the test set was {_in_words(others[0])}; opening it for trial {candidate.trial}, as "
            "it is now, would make it a second validation set. If you must, use --force: the "
            "opening will be marked as forced"
        )
    if not candidate.is_winner:
        raise SweepFolderError(
            f"trial {candidate.trial} is not the sweep's winner; the test set is reserved for the "
            "winner. If you must, use --force: the opening will be marked as forced"
        )


def _in_words(opening: TestResult | UnknownResult) -> str:
    if isinstance(opening, UnknownResult):
        return str(opening)
    return f"opened on {opening.opened_at} for trial {opening.trial}, as it was then"


def _interrupted(candidate: _Candidate, seal: Seal) -> Intent | None:
    """The intent of an opening for this model that has no result yet."""
    mine = [one for one in seal.unknown_of(candidate.digest) if one.may_complete]
    intents = [one.intent for one in mine if one.intent is not None]
    of_this_sweep = (None, candidate.sweep.id)
    fitting = (one for one in intents if one.sweep_id in of_this_sweep)
    return next((one for one in fitting if one.trial == candidate.trial), None)


def _intent(candidate: _Candidate, seal: Seal) -> Intent:
    sweep, data = candidate.sweep, candidate.model.config.data
    digest = sweep.description["data"]["test_sha256"]
    if digest is None:
        raise SweepFolderError("the data have no test set (data/test_fraction = 0)")
    images = images_of_splits(sweep.folder)
    contradicts = any(not one.may_complete for one in seal.unknown_of(candidate.digest))
    is_second = seal.is_opened_for_others(candidate.digest) or contradicts
    return new_intent(
        trial=candidate.trial,
        weights_sha256=candidate.digest,
        test_data_sha256=digest,
        images=images.id if images else None,
        forced=is_second or not candidate.is_winner,
        sweep=sweep.name,
        sweep_id=sweep.id,
        split_seed=data.split_seed,
    )


def _test_data(candidate: _Candidate) -> TestData:
    expected = candidate.sweep.description["data"]["test_sha256"]
    data = open_test_data(candidate.model.config.data)
    if data is None:
        raise SweepFolderError("the data have no test set (data/test_fraction = 0)")
    if data.digest != expected:
        raise SweepFolderError(
            "the test images are not those that were set aside when the sweep began "
            f"(SHA-256 {data.digest}, was {expected})"
        )
    return data


def _images(folder: SweepFolder, data: TestData | None) -> ImageSet | None:
    """The test images; None if an earlier version recorded no hashes of their pixels."""
    return images_of_splits(folder) if data is None else ImageSet.of(data.pixel_hashes)


def _enter(
    candidate: _Candidate, seal: Seal, intent: Intent, images: ImageSet | None
) -> Earlier | None:
    """Add the opening to the ledgers, with the openings of this sweep that they lack.

    Returns:
        What was known about earlier openings of the images.
    """
    if images is None:
        return None
    history = seal.history
    for known in (*seal.intents, *(_intent_of(candidate, one) for one in seal.results)):
        if known is not None and _are_of_one_sweep(known, intent):
            history.add(known, images)
    earlier = history.earlier(images, candidate.digest, but=intent.id)
    history.add(intent, images)
    return replace(earlier, remarks=history.remarks)


def _are_of_one_sweep(known: Intent, intent: Intent) -> bool:
    """Whether both openings are of one sweep; one of another sweep may come from a stranger."""
    return known.test_data_sha256 == intent.test_data_sha256 and known.sweep_id in (
        None,
        intent.sweep_id,
    )


def _intent_of(candidate: _Candidate, result: TestResult) -> Intent | None:
    """The ledger's entry for an opening that an earlier version recorded without an intent."""
    if result.opening is not None:
        return None
    digest = hashlib.sha256(f"{result.weights_sha256} {result.opened_at}".encode()).hexdigest()
    return Intent(
        digest[:16],
        result.trial,
        result.weights_sha256,
        result.test_data_sha256,
        images=None,
        begun_at=result.opened_at,
        forced=result.forced,
        sweep=candidate.sweep.name,
    )


def _kept_predictions(candidate: _Candidate, intent: Intent) -> Predictions | None:
    """The predictions of this opening, if it was interrupted after they were saved."""
    path = _place_of(candidate.folder, intent)
    return load_predictions(path) if _origin(path) == _origin_of(intent) else None


def _place_of(folder: SweepFolder, intent: Intent) -> Path:
    """The path for the predictions of an opening; a file of their own if the trial's is taken."""
    usual = folder.test_predictions(intent.trial)
    is_taken = usual.exists() and _origin(usual) != _origin_of(intent)
    return folder.test_predictions(intent.trial, intent.id) if is_taken else usual


def _origin(path: Path) -> Origin | None:
    try:
        return load_predictions(path).origin
    except SweepFolderError:  # there are none, or they are damaged
        return None


def _origin_of(intent: Intent) -> Origin:
    return Origin(intent.id, intent.trial, intent.weights_sha256, intent.test_data_sha256)


def _keep(folder: SweepFolder, intent: Intent, predictions: Predictions) -> str:
    """Save the predictions, unless they are saved already; return the SHA-256 of the file."""
    path, origin = _place_of(folder, intent), _origin_of(intent)
    if predictions.origin == origin:
        digest = digest_of(path, MAX_PREDICTIONS_BYTES)
    else:
        digest = save_predictions(path, replace(predictions, origin=origin))
    folder.publish(path)
    return digest


def _result(intent: Intent, predictions: Predictions) -> TestResult:
    logits_NK = torch.from_numpy(predictions.logits_NK)
    labels_N = torch.from_numpy(predictions.labels_N)
    scored = score(logits_NK, labels_N)
    return TestResult(
        trial=intent.trial,
        weights_sha256=intent.weights_sha256,
        accuracy=scored.accuracy,
        loss=scored.loss,
        num_images=len(labels_N),
        test_data_sha256=intent.test_data_sha256,
        opened_at=intent.begun_at,
        forced=intent.forced,
        opening=intent.id,
    )
