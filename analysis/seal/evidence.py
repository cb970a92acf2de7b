"""What is known about the openings of a sweep's test set, from every record of them.

The record of results (`sealed_test.json`), the predictions, the intents and the ledgers are checked
against each other. A result counts only if all of them agree; an opening that only one of them has
is an opening with an unknown result.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import isclose, isnan
from pathlib import Path
from typing import TYPE_CHECKING

from toprung.analysis.models.predictions import Predictions, load_predictions
from toprung.analysis.seal.intent import Intent, intents_of, records_intents
from toprung.analysis.seal.ledger import History, history_of
from toprung.analysis.seal.openings import TestResult, read_openings
from toprung.analysis.sweep_folder.folder import SweepFolder, SweepFolderError
from toprung.analysis.sweep_folder.folder_format import RECORDS_INTENTS, format_of
from toprung.trainables.files.untrusted_files import MAX_PREDICTIONS_BYTES, digest_of

if TYPE_CHECKING:
    from toprung.analysis.study.sweep_record import SweepRecord

_MOST_ALONE = 10
"""The most files of predictions without a record that are read: a killed opening leaves one."""
_LOSS_DIFFERS = 1e-4
"""The allowed relative difference: torch sums the loss in single precision."""


@dataclass(frozen=True)
class UnknownResult:
    """An opening of the test set whose result is unknown or not credible.

    Attributes:
        why: the reason, in words.
        trial: the trial whose model was tested; None if unknown.
        weights_sha256: the digest of the model; empty if unknown.
        opened_at: the time; empty if unknown.
        intent: the intent that was written before the opening, if it exists.
        may_complete: whether the same model may be tested again: its intent is in the sweep, as an
            interrupted opening leaves it, and nothing contradicts it.
    """

    why: str
    trial: int | None = None
    weights_sha256: str = ""
    opened_at: str = ""
    intent: Intent | None = None
    may_complete: bool = True

    def __str__(self) -> str:
        at = f" on {self.opened_at}" if self.opened_at else ""
        of = f" for trial {self.trial}" if self.trial is not None else ""
        return f"opened{at}{of}, result unknown: {self.why}"


@dataclass(frozen=True)
class Seal:
    """The openings of a sweep's test set.

    Attributes:
        results: the openings with a known result, in the order of the record.
        unknown: the openings with an unknown result.
        intents: the intents of all openings, as far as the sweep's folder has them.
        remarks: intents and ledgers that cannot be read; each is a sentence.
        history: the openings in the ledgers.
    """

    results: tuple[TestResult, ...]
    unknown: tuple[UnknownResult, ...]
    intents: tuple[Intent, ...]
    remarks: tuple[str, ...]
    history: History

    def result_of(self, weights_sha256: str) -> TestResult | None:
        """The result of a model; None if it is unknown."""
        return next((one for one in self.results if one.weights_sha256 == weights_sha256), None)

    def unknown_of(self, weights_sha256: str) -> list[UnknownResult]:
        """The openings for a model whose result is unknown."""
        return [one for one in self.unknown if one.weights_sha256 == weights_sha256]

    def is_opened_for_others(self, weights_sha256: str) -> bool:
        """Whether the test set was, or may have been, opened for any other model."""
        opened = {one.weights_sha256 for one in self.results}
        return bool((opened | {one.weights_sha256 for one in self.unknown}) - {weights_sha256})


def read_seal(sweep: "SweepRecord") -> Seal:
    """Check all records of a sweep's test set against each other.

    Raises:
        SweepFolderError: if the record of results cannot be read, so that nothing can be decided.
    """
    folder = sweep.folder
    entries = read_openings(folder.sealed_test)
    intents, remarks = intents_of(folder)
    is_old = format_of(sweep.description) < RECORDS_INTENTS
    why_not = {
        index: _disagreement(folder, one, intents, is_old=is_old)
        for index, one in enumerate(entries)
    }
    results = [entry for index, entry in enumerate(entries) if not why_not[index]]
    recorded = {(entry.opening, entry.weights_sha256) for entry in entries}
    here = {entry.opening for entry in entries} | {intent.id for intent in intents}
    history = history_of(folder)
    only_in_ledgers = [one for one in _in_ledgers(sweep, history) if one.id not in here]
    known = here | {intent.id for intent in only_in_ledgers}
    others = [
        *(
            _of_intent(intent, _unfinished(folder, intent))
            for intent in intents
            if (intent.id, intent.weights_sha256) not in recorded
        ),
        *(_of_ledger(folder, intent, history) for intent in only_in_ledgers),
        *_predictions_alone(folder, entries, known),
    ]
    tested = {result.weights_sha256 for result in results}
    unknown = [_of_entry(entry, why_not[i]) for i, entry in enumerate(entries) if why_not[i]]
    unknown += [one for one in others if one.weights_sha256 not in tested]
    all_remarks = (*remarks, *history.remarks)
    return Seal(tuple(results), tuple(unknown), tuple(intents), all_remarks, history)


def results_of(folder: SweepFolder) -> list[TestResult]:
    """The openings in a sweep's record that its intents and predictions agree with.

    Raises:
        SweepFolderError: if the record cannot be read.
    """
    is_old = not records_intents(folder)
    intents, _ = intents_of(folder)
    entries = read_openings(folder.sealed_test)
    return [one for one in entries if not _disagreement(folder, one, intents, is_old=is_old)]


def predictions_of(folder: SweepFolder, result: TestResult) -> Path:
    """The path of the predictions of an opening; the file need not exist."""
    own = folder.test_predictions(result.trial, result.opening)
    return own if result.opening and own.exists() else folder.test_predictions(result.trial)


def _disagreement(
    folder: SweepFolder, entry: TestResult, intents: Collection[Intent], *, is_old: bool
) -> str:
    """Why an entry of the record is not credible; empty if it is.

    Args:
        folder: the folder of the sweep.
        entry: an entry of the sweep's record.
        intents: the intents of the sweep.
        is_old: whether the sweep was started by a version that did not record intents.
    """
    record, path = folder.sealed_test.name, predictions_of(folder, entry)
    shown = path.relative_to(folder.path)
    if entry.opening is None:
        if not is_old or any(one.weights_sha256 == entry.weights_sha256 for one in intents):
            return f"{record} does not name its intent in {folder.test_openings.name}/"
        if not path.exists():
            return ""  # of an earlier version; there is nothing to check it against
    elif not any(_are_of_one(intent, entry) for intent in intents):
        return f"{record} and {folder.test_openings.name}/{entry.opening}.json disagree"
    try:
        predictions = load_predictions(path)
        digest = digest_of(path, MAX_PREDICTIONS_BYTES)
    except OSError as error:
        return f"{shown} cannot be read ({error.strerror})"
    except SweepFolderError:
        return f"{shown} is damaged"
    if entry.predictions_sha256 not in (None, digest):
        return f"{record} belongs to other predictions than {shown}"
    if differing := _differing(predictions, entry):
        return f"{record} and {shown} disagree about the {differing}"
    return ""


def _are_of_one(intent: Intent, entry: TestResult) -> bool:
    return (
        intent.id == entry.opening
        and intent.trial == entry.trial
        and intent.weights_sha256 == entry.weights_sha256
        and intent.test_data_sha256 == entry.test_data_sha256
        and intent.forced == entry.forced
        and intent.begun_at == entry.opened_at
    )


def _differing(predictions: Predictions, entry: TestResult) -> str:
    """In what the record and the predictions differ; empty if they agree."""
    origin = predictions.origin
    if (origin is None) != (entry.opening is None):
        return "opening"
    if origin is not None:
        for name in ("opening", "trial", "weights_sha256", "test_data_sha256"):
            if getattr(origin, name) != getattr(entry, name):
                return name
    if len(predictions.labels_N) != entry.num_images:
        return "number of images"
    if not isclose(predictions.accuracy, entry.accuracy, abs_tol=1e-9):
        return "accuracy"
    both_are_no_numbers = isnan(predictions.loss) and isnan(entry.loss)
    if not (both_are_no_numbers or _is_close(predictions.loss, entry.loss)):
        return "loss"
    return ""


def _is_close(loss: float, other: float) -> bool:
    return isclose(loss, other, rel_tol=_LOSS_DIFFERS, abs_tol=1e-6)


def _of_entry(entry: TestResult, why: str) -> UnknownResult:
    return UnknownResult(
        why, entry.trial, entry.weights_sha256, entry.opened_at, may_complete=False
    )


def _of_intent(intent: Intent, why: str) -> UnknownResult:
    return UnknownResult(why, intent.trial, intent.weights_sha256, intent.begun_at, intent=intent)


def _unfinished(folder: SweepFolder, intent: Intent) -> str:
    """Why an intent of the sweep has no result."""
    lacks = "does not list it" if folder.sealed_test.exists() else "is missing"
    return (
        f"{folder.test_openings.name}/{intent.file_name} records it, but {folder.sealed_test.name} "
        f"{lacks}: the process was killed, is still running, or the record was changed since"
    )


def _of_ledger(folder: SweepFolder, intent: Intent, history: History) -> UnknownResult:
    """An opening that only ledgers have; it cannot be completed, as its intent is missing here."""
    why = f"recorded in {history.ledgers_of(intent)}, but not in {folder.sealed_test.name}"
    return UnknownResult(
        why, intent.trial, intent.weights_sha256, intent.begun_at, may_complete=False
    )


def _predictions_alone(
    folder: SweepFolder, entries: Collection[TestResult], known: Collection[str | None]
) -> Iterator[UnknownResult]:
    """Predictions for the test images that belong to no entry of the record and to no intent."""
    home = folder.test_predictions(0).parent
    recorded = {predictions_of(folder, entry) for entry in entries}
    alone = [path for path in sorted(home.glob("[!.]*.npz")) if path not in recorded]
    if len(alone) > _MOST_ALONE:
        yield UnknownResult(
            f"{len(alone)} files in {home.name}/ are not in any record", may_complete=False
        )
    for path in alone[:_MOST_ALONE]:
        why = f"{path.relative_to(folder.path)} exists, but is not in {folder.sealed_test.name}"
        try:
            origin = load_predictions(path).origin
        except (SweepFolderError, OSError):
            yield UnknownResult(f"{why}, and is damaged", may_complete=False)
            continue
        if origin is None:
            yield UnknownResult(why)
        elif origin.opening not in known:
            yield UnknownResult(why, origin.trial, origin.weights_sha256, may_complete=False)


def _in_ledgers(sweep: "SweepRecord", history: History) -> list[Intent]:
    """The openings of this sweep in the ledgers."""
    own = sweep.id
    return [intent for intent in history.intents if own is not None and intent.sweep_id == own]
