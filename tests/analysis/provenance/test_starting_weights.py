"""Weights that were made with images of the sweep which starts from them, from warning to card."""

import csv
import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import optuna
import pytest
import yaml
from rich.console import Console
from safetensors.torch import load_file, save_file

from tests.analysis.test_sweep import Made
from tests.support.helpers import tiny_config
from tests.toprung.cli.test_evaluate import write_images
from toprung.analysis.evaluating.evaluation import evaluate
from toprung.analysis.exporting.weights_file import digest_in_file
from toprung.analysis.findings.comparison import compare_sweeps
from toprung.analysis.findings.results import Results
from toprung.analysis.models.model import load_model
from toprung.analysis.provenance.starting_weights import provenance_of, read_starting_weights
from toprung.analysis.report.answer import notices
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder import attributes
from toprung.cli import text_sweep
from toprung.planning.plan import SweepPlan, plan_sweep
from toprung.planning.sweep_files import write_changed_settings
from toprung.planning.sweep_state import begun
from toprung.planning.weights_pins import WeightsPins
from toprung.storage.retry import Patience
from toprung.trainables.config import TrialConfig, as_plain
from toprung.trainables.data import prepare
from toprung.trainables.provenance.record import read_provenance

SEEN = "test images were in the training split of the weights that it started from"


def data(home: Path, split_seed: int) -> dict[str, Any]:
    source = str(home / "images")
    return {"source": source, "image_size": 8, "channels": 3, "split_seed": split_seed}


def config_of(home: Path, split_seed: int, weights: str = "none") -> TrialConfig:
    config = tiny_config(data=data(home, split_seed), model__weights=weights, training__epochs=1)
    return config.model_copy(update={"data": prepare(config.data).settings})


def made_sweep(path: Path, config: TrialConfig) -> str:
    """A sweep of one trial, with its winner exported; gives what it told when it began."""
    prepared, shown = prepare(config.data), io.StringIO()
    weights = WeightsPins(prepared, Console(file=shown))
    weights(config)
    made = Made(path, config)
    prepared.write_splits(made.folder.splits)
    weights.write(made.folder)
    made.trial(attributes.FINISHED)
    Sweep(path).export()
    return shown.getvalue()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A sweep, one from its weights with another split seed, and one from the weights of that."""
    home = tmp_path_factory.mktemp("home")
    write_images(home / "images", 20, seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPRUNG_CACHE_DIR", str(home / "cache"))
        told = made_sweep(home / "first", config_of(home, 0))
        assert told == ""
        shutil.copy(home / "first/best/model.safetensors", home / "bare.safetensors")
        told = made_sweep(home / "second", config_of(home, 1, str(home / "bare.safetensors")))
        (home / "told").write_text(told)
        weights = str(home / "second/best/model.safetensors")
        made_sweep(home / "third", config_of(home, 2, weights))
        yield home


def shared(home: Path, split: str, other_split: str) -> int:
    """How many images of a split of the second sweep are in one of the first."""
    splits = [
        {row[0] for row in prepare(config_of(home, seed).data).splits if row[2] == name}
        for seed, name in ((1, split), (0, other_split))
    ]
    return len(splits[0] & splits[1])


class TestASweepThatStartsFromThem:
    def test_warns_when_it_begins(self, home: Path) -> None:
        told = (home / "told").read_text()
        count = shared(home, "test", "train")
        assert count > 0
        assert told.count("\n") == 1
        assert f"warning: weights {home / 'bare.safetensors'}: {count} of 12 test images" in told
        assert f"{shared(home, 'validation', 'train')} of 9 validation images" in told
        assert "(such as " in told
        assert f"{shared(home, 'train', 'test')} of 39 training images" in told
        assert "in the test split of these weights (such as" in told

    def test_counts_the_images_of_their_test_set(self, home: Path) -> None:
        (known,) = read_starting_weights(Sweep(home / "second").folder.starting_weights)
        assert known.overlap is not None
        count = shared(home, "train", "test")
        assert known.overlap.train_in_test == count > 0
        assert known.overlap.validation_in_test == shared(home, "validation", "test")
        words = known.overlap.tested_in_words()
        assert f"{count} of 39 training images" in words
        sweep = Sweep(home / "second")
        assert f"The winner: {words}: its figures on that test set are too optimistic." in notices(
            Results(sweep)
        )
        assert f"{words}: figures of this model" in (sweep.folder.best / "README.md").read_text()
        warnings = compare_sweeps([Sweep(home / "first"), sweep]).warnings
        assert any("in the test split of the weights that 1 of its 1" in one for one in warnings)

    def test_keeps_what_they_were_made_with(self, home: Path) -> None:
        (known,) = read_starting_weights(Sweep(home / "second").folder.starting_weights)
        assert known.overlap is not None
        assert known.overlap.test_in_train == shared(home, "test", "train")
        assert known.overlap.test_in_validation == shared(home, "test", "validation")
        assert known.overlap.validation_in_validation == shared(home, "validation", "validation")

    def test_says_so_with_its_figures(self, home: Path) -> None:
        sweep = Sweep(home / "second")
        count = shared(home, "test", "train")
        assert f"; {count} of 12 {SEEN}" in text_sweep.test(sweep.test(), sweep)[0]
        assert f"test accuracy {sweep.test().accuracy:.4f}" in text_sweep.status(sweep)
        assert f"{count} of 12 {SEEN}" in text_sweep.status(sweep)
        told = notices(Results(sweep))
        assert any(f"{count} of 12 {SEEN}" in line for line in told)
        card = (sweep.folder.best / "README.md").read_text()
        assert f"Test: {count} of 12 {SEEN}" in card
        first = Sweep(home / "first")
        assert "started from" not in text_sweep.test(first.test(), first)[0]
        assert "too optimistic" not in (first.folder.best / "README.md").read_text()

    def test_compare_warns(self, home: Path) -> None:
        sweeps = [Sweep(home / "first"), Sweep(home / "second")]
        warnings = compare_sweeps(sweeps).warnings
        (told,) = [line for line in warnings if "test images were in the training" in line]
        assert told.startswith(f"second: {shared(home, 'test', 'train')} of 12 test images")
        assert "the weights that 1 of its 1 trials started from (bare.safetensors)" in told

    def test_its_export_carries_both(self, home: Path) -> None:
        first, second, third = (
            read_provenance(home / name / "best/model.safetensors")
            for name in ("first", "second", "third")
        )
        assert first
        assert second
        assert third
        assert len(first.inherited) == 0
        for split in ("train", "validation", "test"):
            before = getattr(second.inherited, split)
            assert before.as_text() == getattr(first.own, split).as_text()
            both = getattr(first.own, split) | getattr(second.own, split)
            assert getattr(third.inherited, split).as_text() == both.as_text()
        assert len(second.own) == len(first.own) == 60

    def test_evaluate_names_the_images_of_the_weights(self, home: Path, tmp_path: Path) -> None:
        """Images that the second sweep tests on, and the first has trained on."""
        tested = {r[0] for r in prepare(config_of(home, 1).data).splits if r[2] == "train"}
        rows = prepare(config_of(home, 0).data).splits
        names = [row[0] for row in rows if row[2] == "test" and row[0] in tested]
        for name in names:
            (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(home / "images" / name, tmp_path / "images" / name)
        shutil.copytree(home / "second/best", tmp_path / "export")
        for model in (home / "second", tmp_path / "export"):
            remarks = evaluate(model, str(tmp_path / "images")).remarks
            assert f"{len(names)} of the images are, or are copies of, training" in remarks[-2]
            assert remarks[-1] == (
                f"{len(names)} of the images are in the test set of the weights that it started "
                "from"
            )


class TestTheIdentityOfAModel:
    def test_is_that_of_the_weights_alone(self, home: Path, tmp_path: Path) -> None:
        sweep = Sweep(home / "first")
        file = sweep.folder.best / "model.safetensors"
        plain = tmp_path / "plain.safetensors"
        save_file(load_file(file), plain)
        assert plain.read_bytes() == sweep.model().weights_bytes
        assert plain.stat().st_size < file.stat().st_size
        assert digest_in_file(file) == digest_in_file(plain) == sweep.model().digest
        assert load_model(sweep.folder.best).digest == sweep.test().weights_sha256

    def test_an_export_of_an_older_version_is_the_same_model(
        self, home: Path, tmp_path: Path
    ) -> None:
        sweep = Sweep(home / "first")
        exported = sweep.export(tmp_path / "export")
        file = exported / "model.safetensors"
        save_file(load_file(file), file)
        assert read_provenance(file) is None
        sweep.export(tmp_path / "export")  # not refused as another model's place
        assert read_provenance(file) is not None

    def test_a_card_has_both_digests(self, home: Path) -> None:
        import hashlib

        folder = Sweep(home / "first").export()
        card = (folder / "README.md").read_text()
        file = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        assert f"| SHA-256 of model.safetensors | {file} |" in card
        assert f"| SHA-256 of the weights alone | {load_model(folder).digest} |" in card
        assert "| images recorded in model.safetensors | 39 train, 9 validation, 12 test" in card


class TestWeightsWithoutARecord:
    def test_are_said_to_have_none(self, home: Path, tmp_path: Path) -> None:
        file = tmp_path / "old.safetensors"
        save_file(load_file(home / "bare.safetensors"), file)
        told = made_sweep(tmp_path / "sweep", config_of(home, 1, str(file)))
        assert told == (
            f"weights {file}: have no record of the images they were made with, so this sweep's "
            "test images may be among them\n"
        )
        sweep = Sweep(tmp_path / "sweep")
        assert "have no record of the images" in (sweep.folder.best / "README.md").read_text()
        assert compare_sweeps([sweep]).warnings == ()
        assert "started from" not in text_sweep.test(sweep.test(), sweep)[0]

    def test_nor_one_that_can_be_read(self, home: Path, tmp_path: Path) -> None:
        file = tmp_path / "odd.safetensors"
        save_file(load_file(home / "bare.safetensors"), file, {"toprung_images": "{"})
        told = made_sweep(tmp_path / "sweep", config_of(home, 1, str(file)))
        assert told.startswith(f"weights {file}: have a record of images that cannot be read (")

    def test_random_ones_and_torchvisions_are_not_mentioned(self, home: Path) -> None:
        shown = io.StringIO()
        weights = WeightsPins(prepare(config_of(home, 1).data), Console(file=shown))
        weights(config_of(home, 1))
        weights(
            tiny_config(data=data(home, 1), model={"architecture": "alexnet", "weights": "DEFAULT"})
        )
        assert shown.getvalue() == ""
        assert weights.as_plain() == []


def planned(space: Callable[[optuna.Trial], dict[str, Any]], out: Path, shown: TextIO) -> SweepPlan:
    return plan_sweep(
        space=space,
        config=None,
        given={},
        overrides={},
        data=None,
        out=out,
        name="s",
        console=Console(file=shown),
    )


class TestASweepOfAnOlderVersion:
    def test_is_given_hashes_of_pixels_when_it_is_resumed(self, home: Path, tmp_path: Path) -> None:
        plan = planned(lambda _: as_plain(config_of(home, 0)), tmp_path, io.StringIO())
        with begun(plan, Patience(print)):
            file = plan.folder.splits
            written = file.read_text()
            with file.open(newline="") as stream:
                file.write_text("\n".join(",".join(row[:4]) for row in csv.reader(stream)))
            assert provenance_of(plan.folder, config_of(home, 0)) is None
            said = yaml.safe_load(plan.folder.settings.read_text())
            write_changed_settings(replace(plan, said=said))
            assert file.read_text() == written
            record = provenance_of(plan.folder, config_of(home, 0))
        assert record is not None
        assert len(record.own) == 60
        assert not plan.folder.starting_weights.exists()


class TestWhoIsAsked:
    def test_the_backbone_of_an_svm(self, home: Path) -> None:
        shown = io.StringIO()
        config = TrialConfig.model_validate(
            {
                "data": data(home, 1) | {"image_size": 64},
                "model": {
                    "architecture": "svm",
                    "backbone": "alexnet",
                    "weights": str(home / "bare.safetensors"),
                },
            }
        )
        WeightsPins(prepare(config_of(home, 1).data), Console(file=shown))(config)
        assert f"{shared(home, 'test', 'train')} of 12 test images" in shown.getvalue()

    def test_one_trial_of_a_search_space(self, home: Path, tmp_path: Path) -> None:
        """The weights of one choice; asked of once, and kept in the folder with the counts."""

        def space(trial: optuna.Trial) -> dict[str, Any]:
            choices = ["none", str(home / "bare.safetensors")]
            values = as_plain(config_of(home, 1))
            values["model"]["weights"] = trial.suggest_categorical("model/weights", choices)
            return values

        shown = io.StringIO()
        plan = planned(space, tmp_path, shown)
        with begun(plan, Patience(print)):
            said = yaml.safe_load(plan.folder.settings.read_text())
            (known,) = read_starting_weights(plan.folder.starting_weights)
            other = tmp_path / "other.safetensors"
            shutil.copy(home / "second/best/model.safetensors", other)
            plan.weights(config_of(home, 1, str(other)))  # one that no rehearsal drew
            later = read_starting_weights(plan.folder.starting_weights)
        assert shown.getvalue().count("warning: weights") == 2
        count = shared(home, "test", "train")
        (noted,) = said["starting_weights"]
        assert noted["weights"] == known.weights == str(home / "bare.safetensors")
        assert noted["test_in_train"] == count
        assert [one.weights for one in later] == [known.weights, str(other)]

    def test_a_file_that_has_changed_since(self, home: Path, tmp_path: Path) -> None:
        """What the trials before started from stays known."""
        file, console = tmp_path / "w.safetensors", Console(file=io.StringIO())
        folder = Sweep(shutil.copytree(home / "first", tmp_path / "sweep")).folder
        for source in ("first", "second", "first"):
            shutil.copy(home / source / "best/model.safetensors", file)
            config = config_of(home, 1, str(file))
            weights = WeightsPins(prepare(config.data), console)
            weights(config)
            weights.write(folder)
        assert [one.weights for one in read_starting_weights(folder.starting_weights)] == [
            str(file)
        ] * 2
