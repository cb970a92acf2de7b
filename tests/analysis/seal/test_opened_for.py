"""`evaluate` and `predict` on test images: who says that they were opened, and by whom."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.toprung.cli.test_evaluate import home, images_of, trained, write_images
from tests.toprung.cli.test_main import Cli, cli
from toprung.analysis.evaluating.evaluation import evaluate
from toprung.analysis.seal.openings import TestResult, read_openings
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.analysis.sweep_folder.user_state import STATE_VARIABLE, state_dir

__all__ = ["cli", "home", "trained"]  # fixtures

ALONE = "only {} says that the test set was opened for this model"


@pytest.fixture(autouse=True)
def _own_records(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user knows the sweep, and no opening of any test."""
    assert trained.is_dir()
    shutil.copytree(state_dir() / "sweeps", tmp_path / "state" / "sweeps")
    use_state(tmp_path / "state", monkeypatch)


def use_state(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(folder))


def add_line(sweep: Sweep, **changes: object) -> None:
    """Add an opening to the record by hand, as if of another model."""
    record = sweep.folder.sealed_test
    opened: list[TestResult] = read_openings(record)
    edited = [*opened, replace(opened[0], **changes)]  # type: ignore[arg-type]
    record.write_text(json.dumps([asdict(one) for one in edited]))


class TestASweep:
    @pytest.mark.parametrize("place", ["exports", "best"])
    def test_an_edited_record_is_not_believed(self, place: str, home: Path) -> None:
        sweep = Sweep(home / "sweep")
        loser = 1 - sweep.test().trial
        sealed = str(images_of(home, "test", 99))
        model = sweep.folder.export_of(loser)
        digest = sweep.model(loser).digest
        if place == "best":  # where the sweep's winner was
            shutil.rmtree(sweep.folder.best)
            shutil.copytree(model, sweep.folder.best)
            model = sweep.folder.best
        add_line(sweep, weights_sha256=digest, trial=loser)
        metrics = model / "metrics.json"
        test = {"test": asdict(read_openings(sweep.folder.sealed_test)[-1])}
        metrics.write_text(json.dumps(json.loads(metrics.read_text()) | test))
        with pytest.raises(SweepFolderError, match="12 of the 12 images are in the sealed"):
            evaluate(model, sealed)

    def test_a_record_of_an_older_version_stands_alone(self, home: Path) -> None:
        """It has no intents and no predictions to be held against."""
        sweep = Sweep(home / "sweep")
        sweep.test()
        sealed = str(images_of(home, "test", 99))
        loser = 1 - read_openings(sweep.folder.sealed_test)[0].trial
        digest = sweep.model(loser).digest
        add_line(sweep, weights_sha256=digest, trial=loser, opening=None, predictions_sha256=None)
        remarks = evaluate(sweep.folder.export_of(loser), sealed).remarks
        assert remarks[1].startswith(ALONE.format("sealed_test.json"))
        told = evaluate(sweep.folder.path, sealed).remarks
        assert not any("only" in one for one in told)


class TestAnExportElsewhere:
    def test_its_figures_are_believed_and_said_to_stand_alone(
        self, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sweep = Sweep(home / "sweep")
        sweep.test()
        export = sweep.export(tmp_path / "x" / "y" / "z" / "tested")
        sealed = str(images_of(home, "test", 99))
        assert len(evaluate(export, sealed).remarks) == 1
        use_state(tmp_path / "another machine's", monkeypatch)
        opened, alone = evaluate(export, sealed).remarks
        assert "which was opened for this model" in opened
        assert alone.startswith(ALONE.format("metrics.json"))


class TestImagesThatOtherModelsWereTestedOn:
    def test_are_counted_with_the_sweeps(self, home: Path, tmp_path: Path) -> None:
        sweep = Sweep(home / "sweep")
        fresh = str(write_images(home / "fresh", 2, seed=7))
        sealed = str(images_of(home, "test", 4))
        winner = sweep.test().trial
        other = sweep.folder.export_of(1 - winner)
        elsewhere = shutil.copytree(other, tmp_path / "p" / "q" / "r" / "other")
        weights = elsewhere / "model.safetensors"
        save_file(load_file(weights), weights)  # of another sweep, as it were: knows no images
        told = (
            "some are test images that were opened before: 4 of the 4 images were opened 1 time, "
            "for 1 other model (by sweep sweep)"
        )
        assert evaluate(elsewhere, sealed).remarks[-1] == told
        assert not any("opened" in one for one in evaluate(elsewhere, fresh).remarks)


class TestPredict:
    def test_names_images_of_the_sealed_test_set(self, home: Path, cli: Cli) -> None:
        export = home / "sweep" / "best"
        sealed = sorted(images_of(home, "test", 4).rglob("*.png"))
        trained_on = sorted(images_of(home, "train", 2).rglob("*.png"))
        ran = cli("predict", export, *trained_on, *sealed)
        assert ran.code == 0
        assert ran.out.count("copy") == 6
        named = ", ".join(map(str, sealed[:3]))
        assert ran.err == (
            "warning: 4 of the 6 images are in the sealed test set of the model's sweep: "
            f"{named} and 1 more\n"
        )
        assert cli("predict", export, *trained_on).err == ""


class TestInspect:
    @pytest.mark.parametrize("model", ["sweep/best", "sweep"])
    @pytest.mark.parametrize("how", [["--json"], ["--to", "pictures"]])
    def test_names_an_image_of_the_sealed_test_set(
        self, model: str, how: list[str], home: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(home)
        sealed = next(images_of(home, "test", 1).rglob("*.png"))
        trained_on = next(images_of(home, "train", 1).rglob("*.png"))
        ran = cli("inspect", home / model, sealed, *how)
        assert ran.code == 0
        assert ran.err == (
            "warning: 1 of the 1 images are in the sealed test set of the model's sweep: "
            f"{sealed}\n"
        )
        if how == ["--json"]:
            assert cli("inspect", home / model, trained_on, *how).err == ""
