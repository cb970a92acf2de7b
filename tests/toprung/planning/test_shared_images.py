"""A warm start from a sweep that has the same images in other splits."""

from pathlib import Path

from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.planning.shared_images import shared_with
from toprung.trainables.data import DataSettings, prepare

DIGITS = DataSettings(source="digits", image_size=8, channels=1)


def told(there: DataSettings, here: DataSettings, folder: Path) -> str:
    prepare(there).write_splits(SweepFolder(folder).splits)
    return shared_with("earlier", SweepFolder(folder), prepare(here))


def test_the_same_splits_are_no_reason_to_warn(tmp_path: Path) -> None:
    assert told(DIGITS, DIGITS, tmp_path) == ""


def test_another_test_set_was_trained_on_there(tmp_path: Path) -> None:
    said = told(DIGITS, DIGITS.model_copy(update={"test_draw": 1}), tmp_path)
    assert said.startswith("warning: warm start from earlier: ")
    assert " test images were in the training split of that sweep" in said
    assert "training images and " in said
    assert said.endswith(
        "validation images were in the test split of that sweep: figures on these images are too "
        "optimistic"
    )
    assert "\n" not in said


def test_a_sweep_without_hashes_of_its_images(tmp_path: Path) -> None:
    assert shared_with("earlier", SweepFolder(tmp_path), prepare(DIGITS)) == ""
    SweepFolder(tmp_path).splits.write_text("split,label\ntrain,0\n")
    assert shared_with("earlier", SweepFolder(tmp_path), prepare(DIGITS)) == ""
    SweepFolder(tmp_path).splits.write_text("name\na\n")
    assert "cannot be read" in shared_with("earlier", SweepFolder(tmp_path), prepare(DIGITS))
