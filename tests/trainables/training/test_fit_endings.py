"""Training: when a trial diverges or ends, which epoch is its best, what its settings do."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.helpers import records, tiny_config, tiny_data
from toprung.trainables.config import TrialConfig
from toprung.trainables.inference.predict import Normaliser, predict_logits, score
from toprung.trainables.networks.build import build_network
from toprung.trainables.results.records import DivergedError, Record, Validation, is_better
from toprung.trainables.training.fit import fit
from toprung.trainables.training.state import read_checkpoint

LR_SCHEDULES = ["constant", "step", "cosine", "one_cycle", "warmup_cosine", "reduce_on_plateau"]
DATA = tiny_data()


class TestDivergence:
    def test_a_loss_that_is_no_number_ends_the_trial_and_says_when(self) -> None:
        config = tiny_config(optimizer__lr=1e30)
        with pytest.raises(DivergedError, match="NaN or infinite by epoch 1 "):
            list(fit(config, DATA))

    def test_within_an_epoch(self) -> None:
        config = tiny_config(optimizer__lr=1e30, training__validations_per_epoch=3)
        with pytest.raises(DivergedError, match=r"by epoch (0\.333333|0\.666667) "):
            list(fit(config, DATA))

    def test_a_long_epoch_is_not_trained_to_its_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        steps = []
        step = torch.optim.SGD.step

        def counting(self: torch.optim.SGD) -> None:
            steps.append(self)
            step(self)

        monkeypatch.setattr(torch.optim.SGD, "step", counting)
        config = tiny_config(optimizer__lr=1e30, training__batch_size=1)
        with pytest.raises(DivergedError):
            list(fit(config, tiny_data(200, 4)))
        assert len(steps) <= 51

    def test_a_validation_loss_that_is_infinite(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(DivergedError, match=r"by epoch 2 .*validation inf"):
            run_with_losses(monkeypatch, [1.0, float("inf"), 1.0])


class TestPatience:
    def test_ends_after_so_many_epochs_without_improvement(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = run_with_losses(monkeypatch, [5, 4, 4.5, 4.5, 1], training__patience_epochs=2)
        assert [v.record.val_loss for v in seen] == [5, 4, 4.5, 4.5]
        assert seen[-1].finished
        assert seen[-1].best.validation == 2

    def test_counts_in_epochs_not_validations(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = {"training__patience_epochs": 1, "training__validations_per_epoch": 3}
        seen = run_with_losses(monkeypatch, [3, 4, 4, 4, 4, 4], **settings)
        assert [v.record.epoch for v in seen] == pytest.approx([1 / 3, 2 / 3, 1, 4 / 3])

    def test_without_it_a_trial_runs_its_course(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert len(run_with_losses(monkeypatch, [1, 2, 3, 4, 5])) == 5


class TestBest:
    def test_by_loss(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = run_with_losses(monkeypatch, [3, 2, 2, 4, 1])
        assert [v.best.validation for v in seen] == [1, 2, 2, 2, 5]

    def test_by_accuracy_a_tie_goes_to_the_lower_loss_then_to_the_earlier(self) -> None:
        record = Record(2, 2.0, 0.1, 0.9, 0.5, 0.8, 0.8, 0.1, 1.0)
        assert is_better(replace(record, val_accuracy=0.81, val_loss=9.0), record, "val_accuracy")
        assert is_better(replace(record, val_loss=0.4), record, "val_accuracy")
        assert not is_better(replace(record, validation=3), record, "val_accuracy")
        assert not is_better(replace(record, val_accuracy=0.9, val_loss=0.6), record, "val_loss")
        assert is_better(record, None, "val_loss")

    @pytest.mark.parametrize("metric", ["val_accuracy", "val_loss"])
    def test_the_kept_weights_are_those_of_the_best_record(
        self, metric: str, tmp_path: Path
    ) -> None:
        config = tiny_config(
            optimizer={"name": "sgd", "lr": 0.6, "momentum": 0.9},
            training__epochs=10,
            training__metric=metric,
            model__batch_norm="before",
        )
        bests = set()
        for validation in fit(config, DATA):
            validation.save_checkpoint(tmp_path)
            saved = read_checkpoint(tmp_path)
            model = build_network(config.model, DATA.image_shape, 2).network
            model.load_state_dict(saved["best_weights"] or saved["model"])
            normalise = Normaliser(DATA.mean, DATA.std, torch.device("cpu"))
            indices = DATA.validation_indices
            logits_NK = predict_logits(model, normalise, DATA.images_NHWC, indices)
            scored = score(logits_NK, torch.from_numpy(DATA.labels_N[indices]))
            assert scored.accuracy == validation.best.val_accuracy
            assert scored.loss == pytest.approx(validation.best.val_loss)
            bests.add(validation.best.validation)
        assert 1 < len(bests) < 10, "the test needs some epochs that are better and some worse"

    def test_a_checkpoint_says_what_the_model_needs(self, tmp_path: Path) -> None:
        next(fit(tiny_config(), DATA)).save_checkpoint(tmp_path)
        saved = read_checkpoint(tmp_path)
        assert saved["class_names"] == ["class_0", "class_1"]
        assert saved["mean"] == list(DATA.mean)
        assert saved["std"] == list(DATA.std)
        assert TrialConfig.model_validate(saved["config"]) == tiny_config()


def smoothed(label_smoothing: float) -> dict[str, Any]:
    return {"name": "cross_entropy", "label_smoothing": label_smoothing}


class TestSettings:
    def test_gradients_are_clipped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        norms = []
        step = torch.optim.SGD.step

        def noting(self: torch.optim.SGD) -> None:
            gradients = [p.grad.flatten() for g in self.param_groups for p in g["params"]]
            norms.append(torch.cat(gradients).norm().item())
            step(self)

        monkeypatch.setattr(torch.optim.SGD, "step", noting)
        records(tiny_config())
        free = list(norms)
        limit = min(free) / 2
        norms.clear()
        records(tiny_config(training__gradient_clip_norm=limit))
        assert norms == pytest.approx([limit] * len(free), rel=1e-4)

    def test_label_smoothing_changes_the_training_loss_only(self) -> None:
        # Without learning, both trials have the same weights throughout.
        plain, smooth = (
            records(tiny_config(loss=smoothed(s), optimizer__lr=1e-20))[0] for s in (0.0, 0.5)
        )
        assert plain["train_loss"] != pytest.approx(smooth["train_loss"], abs=1e-6)
        assert plain["val_loss"] == smooth["val_loss"]
        assert plain["train_accuracy"] == smooth["train_accuracy"]

    def test_reduce_on_plateau_follows_the_validation_loss(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        schedule = {"name": "reduce_on_plateau", "patience_epochs": 1, "factor": 0.5}
        losses = [3.0, 3.0, 3.0, 1.0, 2.0, 2.0, 2.0]
        seen = run_with_losses(monkeypatch, losses, lr_schedule=schedule, optimizer__lr=0.08)
        assert [v.record.lr for v in seen] == [0.08, 0.08, 0.08, 0.04, 0.04, 0.04, 0.02]

    def test_a_schedule_that_steps_has_run_down_at_the_end(self, tmp_path: Path) -> None:
        *_, last = fit(tiny_config(lr_schedule={"name": "cosine", "min_lr": 0.001}), DATA)
        last.save_checkpoint(tmp_path)
        (group,) = read_checkpoint(tmp_path)["optimizer"]["param_groups"]
        assert group["lr"] == pytest.approx(0.001)

    @pytest.mark.parametrize("name", LR_SCHEDULES)
    def test_a_single_step_is_enough_for_every_schedule(self, name: str) -> None:
        config = tiny_config(lr_schedule={"name": name}, training__epochs=1)
        (only,) = records(config, tiny_data(3, 2))
        assert np.isfinite(only["val_loss"])


def run_with_losses(
    monkeypatch: pytest.MonkeyPatch, val_losses: list[float], **settings: Any
) -> list[Validation]:
    """Train with these validation losses in place of the true ones."""
    losses = iter(val_losses)

    def scored(*args: Any) -> Any:
        return replace(score(*args), loss=next(losses))

    monkeypatch.setattr("toprung.trainables.training.fit.score", scored)
    per_epoch = settings.get("training__validations_per_epoch", 1)
    config = tiny_config(
        training__epochs=-(-len(val_losses) // per_epoch), training__metric="val_loss", **settings
    )
    validations: Iterator[Validation] = fit(config, DATA)
    return list(validations)
