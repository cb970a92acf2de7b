"""A sweep's folder, made by hand without Ray: what is read from it, tested, exported."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
import yaml
from click.testing import CliRunner
from optuna.trial import TrialState
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.support.helpers import remember_configs, tiny_config
from toprung.analysis.findings.results import Results
from toprung.analysis.models.model import load_model
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.folder import SweepFolder, SweepFolderError
from toprung.analysis.sweep_folder.known_sweeps import new_id
from toprung.analysis.sweep_folder.study_place import STUDY_NAME, study_in_file
from toprung.analysis.sweep_folder.user_state import STATE_VARIABLE
from toprung.cli.main import toprung
from toprung.trainables.config import TrialConfig, dump_config
from toprung.trainables.data import DataError, open_test_data, open_training_data, prepare
from toprung.trainables.results.columns import to_report
from toprung.trainables.results.records import Record
from toprung.trainables.system.typed_settings import ConfigError
from toprung.trainables.training.fit import fit

CONFIG = tiny_config(
    data={"source": "digits", "image_size": 8, "channels": 1},
    model__batch_norm="before",
    training__batch_size=64,
    training__epochs=2,
    optimizer={"name": "adam", "lr": 0.01},
)


class Made:
    """A sweep's folder in the making, with the Optuna study that a searcher would write."""

    def __init__(self, path: Path, config: TrialConfig) -> None:
        self.folder, self.config = SweepFolder(path), config
        path.mkdir()
        self.id = new_id()
        values = {
            "id": self.id,
            "settings": {"metric": "val_accuracy", "seed": 4, "trials": 5},
            "data": {"test_sha256": prepare(config.data).test_digest},
        }
        self.folder.settings.write_text(yaml.safe_dump(values))
        self.study = optuna.create_study(
            study_name=STUDY_NAME,
            storage=study_in_file(self.folder.study).url,
            direction="maximize",
        )
        self.study.set_user_attr(attributes.SWEEP_ENDED, attributes.FINISHED)

    def trial(self, ended: str | None = None, seed: int = 0, reason: str = "") -> int:
        """A trial that is trained; still running if it has not ended."""
        config = self.config.model_copy(update={"seed": seed})
        remember_configs(self.id, [config])
        trial = self.study.ask()
        trial.suggest_float("optimizer/lr", 0.001, 0.1)
        trial.set_user_attr(attributes.CONFIG, dump_config(config))
        if ended == attributes.FAILED:
            trial.set_user_attr(attributes.REASON, reason)
        else:
            best = self._train(trial, config)
            trial.set_user_attr(attributes.BEST, asdict(best))
        if ended is not None:
            state = {attributes.FINISHED: TrialState.COMPLETE, attributes.FAILED: TrialState.FAIL}
            value = best.val_accuracy if ended == attributes.FINISHED else None
            trial.set_user_attr(attributes.ENDED, ended)
            self.study.tell(trial, value, state=state.get(ended, TrialState.PRUNED))
        return trial.number

    def _train(self, trial: optuna.Trial, config: TrialConfig) -> Record:
        folder = self.folder.trial(trial.number)
        folder.mkdir(parents=True)
        for validation in fit(config, open_training_data(config.data)):
            validation.save_checkpoint(folder)
            with self.folder.result_log(trial.number).open("a") as results:
                results.write(json.dumps(to_report(validation, "val_accuracy")) + "\n")
            trial.report(validation.record.val_accuracy, validation.record.validation)
        return validation.best


@pytest.fixture(scope="module")
def data_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def make_sweep(
    tmp_path: Path, data_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Made]:
    """Makes a sweep's folder over the digits."""
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(data_cache))
    return lambda config=CONFIG: Made(tmp_path / "my 100%23 sweep?", _pinned(config))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data_cache: Path) -> Path:
    """A finished trial, a failed one, one stopped early, one still running."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPRUNG_CACHE_DIR", str(data_cache))
        made = Made(tmp_path_factory.mktemp("sweeps") / "my 100%23 sweep?", _pinned(CONFIG))
        made.trial(attributes.FINISHED, seed=0)
        made.trial(attributes.FAILED, reason="the loss became NaN")
        made.trial(attributes.STOPPED_EARLY, seed=1)
        made.trial(None, seed=2)
    return made.folder.path


@pytest.fixture
def sweep(
    finished: Path, tmp_path: Path, data_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Sweep:
    """A copy of that sweep, for one test to change."""
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(data_cache))
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    copy = Sweep(shutil.copytree(finished, tmp_path / "my 100%23 sweep?"))
    assert copy.id is not None
    remember_configs(copy.id, [CONFIG])
    return copy


def _pinned(config: TrialConfig) -> TrialConfig:
    return config.model_copy(update={"data": prepare(config.data).settings})


class TestReading:
    def test_trials(self, sweep: Sweep) -> None:
        trials = sweep.trials()
        assert [t.ended for t in trials] == ["finished", "failed", "stopped early", "interrupted"]
        assert trials[1].reason == "the loss became NaN"
        assert trials[1].best is None
        assert trials[0].config is not None
        assert trials[0].config.seed == 0
        assert set(trials[0].parameters) == {"optimizer/lr"}
        assert list(trials[0].values) == [1, 2]
        assert trials[0].best is not None
        assert max(trials[0].values.values()) == trials[0].best.val_accuracy

    def test_how_it_stands(self, sweep: Sweep) -> None:
        assert sweep.counts() == {
            "finished": 1,
            "failed": 1,
            "stopped early": 1,
            "interrupted": 1,
        }
        assert (sweep.name, sweep.ended, sweep.metric) == (
            "my 100%23 sweep?",
            "finished",
            "val_accuracy",
        )
        assert "1 stopped early" in repr(sweep)
        sweep.study.set_user_attr(attributes.SWEEP_ENDED, attributes.TIME_BUDGET)
        assert sweep.ended == "time budget"

    def test_best(self, sweep: Sweep) -> None:
        scored = [t.best.val_accuracy for t in sweep.trials() if t.best]
        best = sweep.best()
        assert best.best is not None
        assert best.best.val_accuracy == max(scored)

    def test_a_folder_may_be_moved(self, sweep: Sweep, tmp_path: Path) -> None:
        best, digest = sweep.best(), sweep.model().digest
        moved = Sweep(sweep.folder.path.rename(tmp_path / "elsewhere"))
        assert moved.name == "elsewhere"
        assert moved.best() == best
        assert moved.model().digest == digest

    def test_a_sweep_without_a_validated_trial(self, make_sweep: Callable[..., Made]) -> None:
        made = make_sweep()
        sweep = Sweep(made.folder.path)
        with pytest.raises(SweepFolderError, match=r"sweep\?: no trial has a validation result$"):
            sweep.best()
        made.trial(attributes.FAILED, reason="no memory")
        with pytest.raises(SweepFolderError, match="the first reason: no memory"):
            sweep.best()

    def test_a_trial_that_is_not_there(self, sweep: Sweep) -> None:
        with pytest.raises(SweepFolderError, match=r"sweep\?: there is no trial 9"):
            sweep.trial(9)
        with pytest.raises(SweepFolderError, match=r"trial 1 of .*: has no checkpoint"):
            sweep.model(1)

    def test_the_model_has_the_weights_of_the_best_epoch(self, sweep: Sweep) -> None:
        best, model = sweep.best(), sweep.model()
        assert best.best is not None
        data = open_training_data(model.config.data)
        predicted_N = model.logits(data.images_NHWC[data.validation_indices]).argmax(1).numpy()
        correct_N = predicted_N == data.labels_N[data.validation_indices]
        assert correct_N.mean() == pytest.approx(best.best.val_accuracy)

    def test_no_sweep(self, tmp_path: Path, sweep: Sweep) -> None:
        with pytest.raises(SweepFolderError, match="holds no sweep"):
            Sweep(tmp_path)
        with pytest.raises(SweepFolderError, match="holds no sweep"):
            Sweep(tmp_path / "nowhere")
        sweep.folder.study.write_bytes(b"no database at all" * 100)
        with pytest.raises(SweepFolderError, match=r"study\.db: cannot be read"):
            Sweep(sweep.folder.path).trials()
        sweep.folder.settings.write_text("[")
        with pytest.raises(SweepFolderError, match=r"sweep\.yaml: cannot be read"):
            Sweep(sweep.folder.path)

    def test_a_damaged_checkpoint(self, sweep: Sweep) -> None:
        (sweep.folder.checkpoint(0) / "checkpoint.pt").write_bytes(b"half of it")
        with pytest.raises(SweepFolderError, match=r"checkpoint .*: cannot be read"):
            sweep.model(0)


class TestSealedTest:
    def test_the_first_opening_is_written_down(self, sweep: Sweep) -> None:
        opened = sweep.test()
        model, data = sweep.model(), open_test_data(CONFIG.data)
        assert data is not None
        predicted_N = model.logits(data.images_NHWC).argmax(1).numpy()
        assert opened.accuracy == pytest.approx((predicted_N == data.labels_N).mean())
        assert opened.num_images == len(data.labels_N) > 350
        assert (opened.trial, opened.forced) == (sweep.best().number, False)
        assert opened.weights_sha256 == model.digest
        assert opened.test_data_sha256 == data.digest
        (entry,) = json.loads(sweep.folder.sealed_test.read_text())
        assert entry == asdict(opened)

    def test_it_is_opened_once(self, sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
        opened = sweep.test()
        monkeypatch.setattr("toprung.analysis.seal.sealed_test.open_test_data", _must_not_be_opened)
        assert sweep.test() == opened
        assert Sweep(sweep.folder.path).test(sweep.best().number) == opened
        assert len(json.loads(sweep.folder.sealed_test.read_text())) == 1

    def test_another_model_is_refused_unless_forced(self, sweep: Sweep) -> None:
        first = sweep.test()
        other = 2 - first.trial
        with pytest.raises(SweepFolderError, match=rf"was opened on .* for trial {first.trial},"):
            sweep.test(other)
        assert len(json.loads(sweep.folder.sealed_test.read_text())) == 1
        forced = sweep.test(other, force=True)
        assert (forced.trial, forced.forced) == (other, True)
        assert [e["forced"] for e in json.loads(sweep.folder.sealed_test.read_text())] == [
            False,
            True,
        ]
        assert sweep.test() == first

    @pytest.mark.parametrize("ended", ["running", "interrupted"])
    def test_it_stays_shut_until_the_sweep_has_come_to_its_end(
        self, sweep: Sweep, ended: str
    ) -> None:
        sweep.study.set_user_attr(attributes.SWEEP_ENDED, ended)
        with pytest.raises(SweepFolderError, match="the test set stays sealed"):
            sweep.test()
        assert not sweep.folder.sealed_test.exists()
        assert sweep.test(force=True).forced

    def test_without_a_record_nothing_is_kept(
        self, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("toprung.analysis.sweep_folder.folder.write_atomically", full)
        with pytest.raises(SweepFolderError, match="No space left on device"):
            sweep.test()
        assert not list(sweep.folder.path.glob("test_predictions/*"))

    def test_the_winner_s_export_tells_of_it(self, sweep: Sweep) -> None:
        folder = sweep.export()
        assert json.loads((folder / "metrics.json").read_text())["test"] is None
        opened = sweep.test()
        assert json.loads((folder / "metrics.json").read_text())["test"] == asdict(opened)
        assert f"{opened.accuracy:.4f}" in (folder / "README.md").read_text()

    def test_an_opening_for_other_weights_is_not_the_winner_s(self, sweep: Sweep) -> None:
        opened = sweep.test()
        assert Results(sweep).opening == opened
        entries = [asdict(opened) | {"weights_sha256": "0" * 64}]
        sweep.folder.sealed_test.write_text(json.dumps(entries))
        assert Results(sweep).opening is None
        assert Results(sweep).test is None

    def test_changed_test_images_are_refused(self, sweep: Sweep) -> None:
        said = yaml.safe_load(sweep.folder.settings.read_text())
        said["data"]["test_sha256"] = "0" * 32
        sweep.folder.settings.write_text(yaml.safe_dump(said))
        with pytest.raises(SweepFolderError, match="not those that were set aside"):
            Sweep(sweep.folder.path).test()
        assert not sweep.folder.sealed_test.exists()

    def test_it_is_for_the_winner_alone(self, sweep: Sweep) -> None:
        loser = 2 - sweep.best().number
        with pytest.raises(SweepFolderError, match="is not the sweep's winner"):
            sweep.test(loser)
        assert not sweep.folder.sealed_test.exists()
        assert sweep.test(loser, force=True).forced

    def test_force_without_need_is_not_marked(self, sweep: Sweep) -> None:
        assert not sweep.test(force=True).forced

    def test_no_test_set(self, make_sweep: Callable[..., Made]) -> None:
        data = CONFIG.data.model_copy(update={"test_fraction": 0.0})
        made = make_sweep(CONFIG.model_copy(update={"data": data}))
        made.trial(attributes.FINISHED)
        with pytest.raises(SweepFolderError, match="the data have no test set"):
            Sweep(made.folder.path).test()
        assert not made.folder.sealed_test.exists()

    @pytest.mark.parametrize("content", ["[", "[{}]", "7", '[{"trial": 1}]', "\udcff"])
    def test_a_damaged_record_does_not_open_it_again(self, content: str, sweep: Sweep) -> None:
        sweep.folder.sealed_test.write_text(content, errors="surrogateescape")
        with pytest.raises(SweepFolderError, match="is not a record of test openings"):
            sweep.test()


def _must_not_be_opened(*_: object) -> None:
    raise AssertionError("the test set is opened a second time")


class TestExport:
    def test_the_layout(self, sweep: Sweep) -> None:
        tested = sweep.test()
        folder = sweep.export()
        assert folder == sweep.folder.best
        names = {"README.md", "config.json", "metrics.json", "model.safetensors", "trial.yaml"}
        assert {path.name for path in folder.iterdir()} == names
        weights = (folder / "model.safetensors").read_bytes()
        assert hashlib.sha256(weights).hexdigest() == sweep.model().digest == tested.weights_sha256
        card = json.loads((folder / "config.json").read_text())
        assert card["architecture"] == "cnn"
        assert card["num_classes"] == 10
        assert card["label_names"] == [str(n) for n in range(10)]
        assert card["pretrained_cfg"]["input_size"] == [1, 8, 8]
        metrics = json.loads((folder / "metrics.json").read_text())
        best = sweep.best()
        assert best.best is not None
        assert metrics["validation"] == asdict(best.best)
        assert metrics["test"] == asdict(tested)
        assert metrics["sweep"] == {"name": "my 100%23 sweep?", "seed": 4}
        assert {"python", "torch", "ray", "optuna", "toprung"} <= metrics["versions"].keys()

    def test_another_trial_does_not_take_the_winner_s_place(
        self, sweep: Sweep, tmp_path: Path
    ) -> None:
        loser = 2 - sweep.best().number
        assert sweep.export(trial=loser) == sweep.folder.path / "exports" / f"trial_{loser:05d}"
        assert not sweep.folder.best.exists()
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "config.json").write_text("mine")
        with pytest.raises(SweepFolderError, match="holds something else"):
            sweep.export(tmp_path / "full")
        assert (tmp_path / "full" / "config.json").read_text() == "mine"

    def test_before_the_test_set_was_opened(self, sweep: Sweep) -> None:
        folder = sweep.export()
        assert json.loads((folder / "metrics.json").read_text())["test"] is None

    def test_round_trip(self, sweep: Sweep, tmp_path: Path) -> None:
        model = sweep.model(2)
        again = load_model(sweep.export(tmp_path / "a" / "b", trial=2))
        images_NHWC = open_training_data(CONFIG.data).images_NHWC[:20]
        assert torch.equal(again.logits(images_NHWC), model.logits(images_NHWC))
        assert again.config == model.config
        assert (again.class_names, again.mean, again.std) == (
            model.class_names,
            model.mean,
            model.std,
        )
        assert again.digest == model.digest

    def test_predict(self, sweep: Sweep, tmp_path: Path) -> None:
        model = load_model(str(sweep.export()))
        data = open_training_data(CONFIG.data)
        pixels_HW = data.images_NHWC[3, :, :, 0]
        Image.fromarray(np.array(pixels_HW)).save(tmp_path / "digit.png")
        predictions = model.predict(tmp_path / "digit.png", top_k=3)
        expected_K = model.logits(data.images_NHWC[3:4])[0].softmax(0)
        assert [p for _, p in predictions] == pytest.approx(expected_K.topk(3).values.tolist())
        assert predictions[0][0] == str(expected_K.argmax().item())
        everything = model.predict(tmp_path / "digit.png", top_k=99)
        assert len(everything) == 10
        assert sum(p for _, p in everything) == pytest.approx(1)
        (tmp_path / "no.png").write_text("no picture")
        with pytest.raises(DataError, match=r"no\.png"):
            model.predict(tmp_path / "no.png")

    def test_a_place_that_cannot_be_written(self, sweep: Sweep, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(SweepFolderError, match="file/best: cannot be written"):
            sweep.export(tmp_path / "file" / "best")

    def test_again_over_itself(self, sweep: Sweep) -> None:
        before = {p.name: p.read_bytes() for p in sweep.export().iterdir()}
        assert {p.name: p.read_bytes() for p in sweep.export().iterdir()} == before

    def test_over_another_model_only_by_force(self, sweep: Sweep, tmp_path: Path) -> None:
        winner = sweep.best().number
        folder = sweep.export(tmp_path / "mine")
        with pytest.raises(
            SweepFolderError, match=rf"another model, that of a trial {winner} .*--f"
        ):
            sweep.export(folder, trial=2 - winner)
        assert load_model(folder).digest == sweep.model().digest
        sweep.export(folder, trial=2 - winner, force=True)
        assert load_model(folder).digest == sweep.model(2 - winner).digest

    def test_the_sweep_s_own_folder_follows_the_winner(self, sweep: Sweep) -> None:
        old = sweep.best()
        sweep.export()
        running = sweep.study.get_trials()[3]
        better = running.user_attrs[attributes.BEST] | {"val_accuracy": 1.0}
        sweep.study._storage.set_trial_user_attr(running._trial_id, attributes.BEST, better)
        result = CliRunner().invoke(toprung, ["export", str(sweep.folder.path)])
        assert result.exit_code == 0
        assert "the winner has changed" in result.stdout
        assert f"held trial {old.number}, now trial 3" in result.stdout
        assert load_model(sweep.folder.best).digest == sweep.model(3).digest


def _break(folder: Path, how: str) -> None:
    weights = folder / "model.safetensors"
    card = json.loads((folder / "config.json").read_text())
    match how:
        case "truncated weights":
            weights.write_bytes(weights.read_bytes()[:-50])
        case "empty weights":
            weights.write_bytes(b"")
        case "no class names":
            del card["label_names"]
            (folder / "config.json").write_text(json.dumps(card))
        case "a list":
            (folder / "config.json").write_text("[]")
        case "half the card":
            (folder / "config.json").write_text((folder / "config.json").read_text()[:40])
        case "other shapes":
            save_file(
                {n: t[:1].contiguous() for n, t in load_file(weights).items() if t.dim()}, weights
            )
        case "fewer classes":
            card["label_names"] = ["a", "b"]
            (folder / "config.json").write_text(json.dumps(card))
        case _:
            (folder / how).unlink()


class TestBrokenExports:
    @pytest.mark.parametrize(
        "how",
        [
            "config.json",
            "trial.yaml",
            "model.safetensors",
            "truncated weights",
            "empty weights",
            "no class names",
            "a list",
            "half the card",
            "other shapes",
            "fewer classes",
        ],
    )
    def test_is_one_clear_error(self, how: str, sweep: Sweep, tmp_path: Path) -> None:
        folder = sweep.export(tmp_path / "export")
        _break(folder, how)
        Image.new("L", (8, 8)).save(tmp_path / "digit.png")
        with pytest.raises((SweepFolderError, ConfigError)) as error:
            load_model(folder).predict(tmp_path / "digit.png")
        assert str(folder) in str(error.value)

    def test_no_export_at_all(self, tmp_path: Path) -> None:
        for path in (tmp_path, tmp_path / "nowhere"):
            with pytest.raises(SweepFolderError, match="is not an exported model"):
                load_model(path)


def test_replace_keeps_the_digest_honest(sweep: Sweep) -> None:
    model = sweep.model()
    name = next(iter(model.weights))
    changed = replace(model, weights=model.weights | {name: model.weights[name] + 1})
    assert changed.digest != model.digest


def test_a_checkpoint_that_was_not_kept(sweep: Sweep) -> None:
    sweep.folder.checkpoint_file(2).unlink()
    with pytest.raises(SweepFolderError, match=r"trial 2 .* has no checkpoint"):
        sweep.model(2)
