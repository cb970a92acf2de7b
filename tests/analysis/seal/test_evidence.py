"""Record, predictions, intents and ledgers are held against each other."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.seal.conftest import Sealed, resume
from tests.support.helpers import printed
from toprung.analysis.findings.results import Results
from toprung.analysis.models.predictions import load_predictions, save_predictions
from toprung.analysis.report import answer
from toprung.analysis.seal.evidence import read_seal, results_of
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.analysis.sweep_folder.user_state import state_dir

PREDICTIONS = "test_predictions/trial_00000.npz"


def edit(sweep: Path, **values: Any) -> None:
    """Change what the record says of the one opening."""
    record = sweep / "sealed_test.json"
    (entry,) = json.loads(record.read_text())
    record.write_text(json.dumps([entry | values]))


def remove(sweep: Path, names: list[str]) -> None:
    for name in names:
        if (sweep / name).is_dir():
            shutil.rmtree(sweep / name)
        else:
            (sweep / name).unlink()


def other_predictions(sweep: Path) -> None:
    """Predictions of which one is another; with all that belongs to them."""
    path = sweep / PREDICTIONS
    predictions = load_predictions(path)
    predictions.logits_NK[0] *= -1
    path.unlink()
    save_predictions(path, predictions)


def of_another_trial(sweep: Path) -> None:
    """A record, without its intent, of what its predictions say otherwise."""
    shutil.rmtree(sweep / "test_openings")
    edit(sweep, trial=1)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "accuracy": (lambda s: edit(s, accuracy=0.5), "disagree about the accuracy"),
    "loss": (lambda s: edit(s, loss=0.001), "disagree about the loss"),
    "images": (lambda s: edit(s, num_images=9), "disagree about the number of images"),
    "forced": (lambda s: edit(s, forced=True), r"test_openings/\w+\.json disagree"),
    "weights": (lambda s: edit(s, weights_sha256="f" * 64), "disagree"),
    "time": (lambda s: edit(s, opened_at="1999-01-01"), "disagree"),
    "without intent": (of_another_trial, "disagree"),
    "as if it were old": (
        lambda s: edit(s, opening=None, predictions_sha256=None),
        "does not name its intent",
    ),
    "predictions gone": (lambda s: (s / PREDICTIONS).unlink(), "cannot be read|is damaged"),
    "predictions cut": (lambda s: (s / PREDICTIONS).write_bytes(b"PK"), "is damaged"),
    "other predictions": (other_predictions, "belongs to other predictions than"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_does_not_agree_is_not_shown_and_counts_as_an_opening(
    damage: str, unopened: Sweep, sealed: Sealed
) -> None:
    unopened.test()
    path = unopened.folder.path
    do, why = DAMAGES[damage]
    do(path)
    seal = read_seal(unopened)
    assert not seal.results
    assert re.search(why, str(seal.unknown[0]))
    assert Results(Sweep(path)).opening is None
    with pytest.raises(SweepFolderError, match="result unknown"):
        resume(path, sealed).test()


def test_what_does_not_agree_is_said_everywhere(unopened: Sweep) -> None:
    accuracy = unopened.test().accuracy
    path = unopened.folder.path
    edit(path, accuracy=0.5)
    told = str(read_seal(unopened).unknown[0])

    results = Results(Sweep(path))
    assert f"{accuracy:.4f}" not in str(answer.headline(results))
    assert f"The test set was {told}." in answer.notices(results)
    for command in (["status", str(path)], ["compare", str(path), "--by", "optimizer/name"]):
        printed_by = printed(*command)
        assert f"the test set was {told}" in printed_by
        assert f"{accuracy:.4f}" not in printed_by
        assert "test acc" not in printed_by
    export = unopened.export()
    assert json.loads((export / "metrics.json").read_text())["test"] is None
    assert "disagree about the accuracy." in (export / "README.md").read_text()


def test_a_contradiction_is_not_completed_but_by_force(unopened: Sweep) -> None:
    first = unopened.test()
    edit(unopened.folder.path, accuracy=0.5)
    with pytest.raises(SweepFolderError, match="disagree about the accuracy"):
        unopened.test()
    again = unopened.test(force=True)
    assert (again.accuracy, again.forced) == (first.accuracy, True)
    seal = read_seal(unopened)
    assert seal.results == (again,)
    assert len(seal.unknown) == 1
    assert Results(unopened).test is not None
    assert unopened.test() == again


@pytest.mark.parametrize(
    "gone",
    [
        ["sealed_test.json"],
        ["sealed_test.json", "test_predictions"],
    ],
)
def test_a_record_that_was_deleted(gone: list[str], unopened: Sweep, sealed: Sealed) -> None:
    first = unopened.test()
    path = unopened.folder.path
    remove(path, gone)
    said = printed("status", str(path))
    assert "the test set was opened on 20" in said
    assert re.search(r"test_openings/\w+\.json records it, but sealed_test.json is missing", said)
    again = unopened.test()  # the same model may
    assert (again.accuracy, again.forced) == (first.accuracy, False)
    assert not read_seal(unopened).unknown
    remove(path, gone)
    resumed = resume(path, sealed)
    with pytest.raises(SweepFolderError, match=r"the test set was opened .*for trial 0"):
        resumed.test()


@pytest.mark.parametrize(
    "gone",
    [
        ["sealed_test.json", "test_openings"],
        ["sealed_test.json", "test_openings", "test_predictions"],
    ],
)
@pytest.mark.parametrize("ledger", ["beside the sweep", "in the user's state folder"])
def test_an_opening_that_only_a_ledger_knows(ledger: str, gone: list[str], unopened: Sweep) -> None:
    first = unopened.test()
    path = unopened.folder.path
    remove(path, gone)
    beside = path.parent / ".toprung-openings"
    shutil.rmtree(state_dir() / "openings" if ledger == "beside the sweep" else beside)
    told = f"the ledger {ledger}"
    assert told in printed("status", str(path))
    assert told in printed("compare", str(path), "--by", "optimizer/name")
    with pytest.raises(SweepFolderError, match=f"{told} .*--force"):
        unopened.test()
    again = unopened.test(force=True)
    assert (again.accuracy, again.forced) == (first.accuracy, True)
    assert unopened.test() == again


def test_a_line_that_was_added_by_hand_is_not_a_result(unopened: Sweep) -> None:
    path = unopened.folder.path
    new = Sweep(shutil.copytree(path, path.with_name("new"))).test()
    names = ("opening", "predictions_sha256", "images", "earlier")
    line = {name: value for name, value in asdict(new).items() if name not in names}
    shutil.rmtree(path.parent / ".toprung-openings")
    shutil.rmtree(state_dir() / "openings")
    (path / "sealed_test.json").write_text(json.dumps([line]))
    assert len(read_seal(unopened).results) == 1  # as an earlier Toprung wrote it
    settings = path / "sweep.yaml"
    settings.write_text(f"format: 2\n{settings.read_text()}")
    sweep = Sweep(path)
    assert not read_seal(sweep).results
    assert not results_of(sweep.folder)
    for command in (["status", str(path)], ["compare", str(path), "--by", "optimizer/name"]):
        said = printed(*command)
        assert "sealed_test.json does not name its intent in test_openings/" in said
        assert "test acc" not in said
    with pytest.raises(SweepFolderError, match="does not name its intent"):
        sweep.test()


def test_a_copy_of_the_sweep_that_was_opened(unopened: Sweep, tmp_path: Path) -> None:
    copy = Sweep(shutil.copytree(unopened.folder.path, tmp_path / "elsewhere" / "copy"))
    opened = copy.test()
    told = str(read_seal(unopened).unknown[0])
    assert "state folder (openings/), but not in sealed_test.json" in told
    with pytest.raises(SweepFolderError, match="--force"):
        unopened.test()
    assert unopened.test(force=True).accuracy == opened.accuracy


def test_the_record_of_an_earlier_version_still_opens(unopened: Sweep) -> None:
    new = unopened.test()
    names = ("opening", "predictions_sha256", "images", "earlier")
    path = unopened.folder.path
    (entry,) = json.loads((path / "sealed_test.json").read_text())
    old = {name: value for name, value in entry.items() if name not in names}
    (path / "sealed_test.json").write_text(json.dumps([old]))
    shutil.rmtree(path / "test_openings")
    shutil.rmtree(path.parent / ".toprung-openings")
    shutil.rmtree(state_dir())
    predictions = load_predictions(path / PREDICTIONS)
    save_predictions(path / PREDICTIONS, replace(predictions, origin=None))
    assert unopened.test().accuracy == new.accuracy
    assert len(read_seal(unopened).results) == 1
    edit(path, accuracy=0.25)
    assert "disagree about the accuracy" in str(read_seal(unopened).unknown[0])
    (path / PREDICTIONS).unlink()  # nothing is left to hold against it
    assert unopened.test().accuracy == 0.25


def test_a_link_in_the_place_of_the_intents(unopened: Sweep, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    unopened.folder.test_openings.symlink_to(outside)
    with pytest.raises(SweepFolderError, match="is a link"):
        unopened.test()
    assert not list(outside.iterdir())


def test_an_opening_of_another_sweep_in_the_folder_is_not_kept_as_the_users(
    unopened: Sweep, tmp_path: Path
) -> None:
    shutil.copytree(unopened.folder.path, tmp_path / "other" / "sweep")
    unopened.test()
    (intent,) = unopened.folder.test_openings.glob("*.json")
    claimed = json.loads(intent.read_text()) | {"id": "f" * 16, "sweep_id": "e" * 32}
    other = Sweep(tmp_path / "other" / "sweep")
    other.folder.test_openings.mkdir()
    (other.folder.test_openings / f"{'f' * 16}.json").write_text(json.dumps(claimed))
    other.test(force=True)
    kept = [path.name for path in (state_dir() / "openings").glob("*.json")]
    assert f"{'f' * 16}.json" not in kept
    assert kept


def test_many_files_without_a_record_are_counted_and_not_all_read(unopened: Sweep) -> None:
    unopened.test()
    whole = unopened.folder.path / PREDICTIONS
    for number in range(30):
        shutil.copy(whole, whole.with_name(f"trial_{90000 + number}.npz"))
    unknown = read_seal(unopened).unknown
    assert any("files in test_predictions/ are not in any record" in one.why for one in unknown)
    assert len(unknown) <= 12
