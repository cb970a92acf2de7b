"""Training: it learns, repeats itself, resumes exactly, and knows when to stop."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.helpers import figures, records, tiny_config, tiny_data
from toprung.trainables.config import TrialConfig
from toprung.trainables.inference.predict import Normaliser
from toprung.trainables.results.records import Record, Validation
from toprung.trainables.system.typed_settings import ConfigError
from toprung.trainables.training.fit import fit
from toprung.trainables.training.state import read_checkpoint
from toprung.trainables.training.steps import epoch_order

OPTIMIZERS = ["sgd", "adam", "adamw", "nadam", "radam", "rmsprop"]
LR_SCHEDULES = [
    "constant",
    "step",
    "cosine",
    "one_cycle",
    "cyclic",
    "warmup_cosine",
    "reduce_on_plateau",
]
DATA = tiny_data()
RANDOM = {"model__dense_dropout": 0.3, "model__batch_norm": "after"}


def checkpointed(
    config: TrialConfig, folder: Path, resume_from: Path | None = None
) -> list[tuple[dict[str, float], Path]]:
    """Each validation's figures, and the checkpoint written after it."""
    made = []
    for validation in fit(config, DATA, resume_from=resume_from):
        checkpoint = folder / f"after_{validation.record.validation}"
        checkpoint.mkdir(parents=True)
        validation.save_checkpoint(checkpoint)
        made.append((figures(validation.record), checkpoint))
    return made


def assert_same_state(one: Path, other: Path) -> None:
    saved, again = read_checkpoint(one), read_checkpoint(other)
    assert saved.keys() == again.keys()
    for name, tensor in saved["model"].items():
        assert torch.equal(tensor, again["model"][name]), name
    best, best_again = (s["best_weights"] or s["model"] for s in (saved, again))
    for name, tensor in best.items():
        assert torch.equal(tensor, best_again[name]), name
    assert figures(Record(**saved["best_record"])) == figures(Record(**again["best_record"]))
    assert torch.equal(saved["random_state"][0], again["random_state"][0])


class TestLearning:
    @pytest.mark.parametrize("batch_norm", ["none", "before"])
    def test_a_separable_problem_is_learnt(self, batch_norm: str) -> None:
        config = tiny_config(
            optimizer={"name": "adam", "lr": 0.01},
            model__batch_norm=batch_norm,
            training__epochs=20,
        )
        *_, last = fit(config, tiny_data(64, 32))
        assert last.best.val_accuracy == 1.0
        assert last.record.train_loss < 0.1

    def test_a_record(self) -> None:
        config = tiny_config(training__validations_per_epoch=3, lr_schedule={"name": "cosine"})
        seen = list(fit(config, DATA))
        assert [v.record.validation for v in seen] == list(range(1, 10))
        assert [v.record.epoch for v in seen] == pytest.approx([n / 3 for n in range(1, 10)])
        assert [v.finished for v in seen] == [False] * 8 + [True]
        seconds = [v.record.seconds for v in seen]
        assert seconds == sorted(seconds)
        assert seconds[0] > 0

    def test_the_lr_of_a_record(self) -> None:
        by_epoch = {"name": "step", "step_epochs": 1, "gamma": 0.5}
        assert [r["lr"] for r in records(tiny_config(lr_schedule=by_epoch))] == [
            0.05,
            0.025,
            0.0125,
        ]
        by_step = {"name": "warmup_cosine", "warmup_epochs": 3}
        often = records(tiny_config(lr_schedule=by_step, training__validations_per_epoch=3))
        assert [r["lr"] for r in often[:3]] == pytest.approx([0.05 * n / 9 for n in (1, 2, 3)])

    def test_more_validations_than_batches_are_one_after_each(self) -> None:
        config = tiny_config(training__validations_per_epoch=50, training__epochs=1)
        assert [r["epoch"] for r in records(config)] == pytest.approx([1 / 3, 2 / 3, 1])

    def test_how_often_it_is_validated_does_not_change_the_training(self) -> None:
        settings = {"model__dense_dropout": 0.3, "model__batch_norm": "before"}
        often = records(tiny_config(training__validations_per_epoch=3, **settings))
        once = records(tiny_config(**settings))
        for one, other in zip(once, often[2::3], strict=True):
            assert (one["val_loss"], one["lr"]) == (other["val_loss"], other["lr"])

    @pytest.mark.parametrize(
        ("num_train", "batch_size", "sizes"),
        [
            (24, 8, [8, 8, 8]),
            (17, 8, [8, 9]),  # a single image left over would have no batch statistics
            (18, 8, [8, 8, 2]),
            (5, 100, [5]),
            (1, 8, [1]),
            (3, 1, [1, 1, 1]),
        ],
    )
    def test_batches(
        self, num_train: int, batch_size: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[tuple[int, ...]] = []
        normalise = Normaliser.__call__

        def noting(self: Normaliser, images_BHWC: Any) -> Tensor:
            seen.append(tuple(images_BHWC[:, 0, 0, 0].tolist()))
            return normalise(self, images_BHWC)

        data = tiny_data(num_train, 1)
        data.images_NHWC[:, 0, 0, 0] = np.arange(num_train + 1)
        monkeypatch.setattr(Normaliser, "__call__", noting)
        records(tiny_config(training__batch_size=batch_size, training__epochs=2), data)
        of_epoch = [seen[: len(sizes)], seen[len(sizes) + 1 : -1]]
        for batches in of_epoch:
            assert [len(batch) for batch in batches] == sizes
            assert sorted(n for batch in batches for n in batch) == sorted(data.train_indices)
        if num_train > 3:
            assert of_epoch[0] != of_epoch[1]

    def test_batch_norm_trains_with_a_single_image_left_over(self) -> None:
        config = tiny_config(model__batch_norm="before", model__dense_batch_norm=True)
        assert len(records(config, tiny_data(17, 8))) == 3


class TestRepeatability:
    def test_the_same_config_gives_the_same_numbers(self) -> None:
        config = tiny_config(**RANDOM)
        assert records(config) == records(config)

    def test_another_seed_gives_others(self) -> None:
        one, other = (records(tiny_config(seed=seed, **RANDOM)) for seed in (0, 1))
        assert all(a["val_loss"] != b["val_loss"] for a, b in zip(one, other, strict=True))

    def test_the_order_of_images_does_not_depend_on_the_model(self) -> None:
        seen = []
        for filters in (4, 5):
            data = tiny_data()
            read: list[int] = []
            logging = _LoggedArray(data.images_NHWC, read)
            records(tiny_config(model__filters=filters), replace(data, images_NHWC=logging))  # type: ignore[arg-type]
            seen.append(read)
        assert seen[0] == seen[1]

    def test_torch_s_global_random_state_is_neither_used_nor_disturbed(self) -> None:
        config = tiny_config(**RANDOM)
        expected = records(config)
        torch.manual_seed(99)
        untouched = torch.rand(4)
        torch.manual_seed(99)
        drawn, seen = [], []
        for validation in fit(config, DATA):
            drawn.append(torch.rand(1).item())
            seen.append(figures(validation.record))
        assert seen == expected
        assert drawn == untouched[: len(drawn)].tolist()

    def test_two_interleaved_trials_do_not_disturb_each_other(self) -> None:
        one, other = (tiny_config(seed=seed, **RANDOM) for seed in (0, 1))
        expected = records(one), records(other)
        pairs = list(zip(fit(one, DATA), fit(other, DATA), strict=True))
        assert [figures(v.record) for v, _ in pairs] == expected[0]
        assert [figures(v.record) for _, v in pairs] == expected[1]


class _LoggedArray:
    """Looks like an array of images; notes which ones are asked for."""

    def __init__(self, images_NHWC: Any, read: list[int]) -> None:
        self._images_NHWC, self._read = images_NHWC, read
        self.shape = images_NHWC.shape

    def __len__(self) -> int:
        return len(self._images_NHWC)

    def __getitem__(self, indices: Any) -> Any:
        self._read.extend(indices.tolist())
        return self._images_NHWC[indices]


def keeping_nothing(validation: Validation) -> Validation:
    """The validation, and those before it, without what each could save."""
    return replace(
        validation,
        save_checkpoint=print,
        before=tuple(map(keeping_nothing, validation.before)),
    )


class TestResuming:
    @pytest.mark.parametrize(
        "settings",
        [
            *({"optimizer": {"name": name, "lr": 0.01}} for name in OPTIMIZERS),
            {"optimizer": {"name": "sgd", "lr": 0.01, "momentum": 0.9, "nesterov": True}},
            {"optimizer": {"name": "rmsprop", "lr": 0.01, "momentum": 0.9}},
            *({"lr_schedule": {"name": name}} for name in LR_SCHEDULES),
            {"lr_schedule": {"name": "reduce_on_plateau", "patience_epochs": 0, "factor": 0.5}},
            {"training__metric": "val_loss", "optimizer__lr": 0.5},
            {"training__gradient_clip_norm": 0.1},
            {"training__validations_per_epoch": 1},
            {"augmentation": {"transforms": [{"name": "trivial_augment"}], "mix": "cutmix"}},
            {"loss": {"name": "center"}, "optimizer": {"name": "adam", "lr": 0.01}},
            {"loss": {"name": "triplet"}},
            {"loss": {"name": "cross_entropy", "class_weights": "balanced"}},
            *(
                {
                    "model__freeze_policy": "gradual_unfreezing:1",
                    "optimizer": {"name": name, "lr": 0.01, **momentum},
                }
                for name, momentum in [("sgd", {"momentum": 0.9}), ("adamw", {})]
            ),
            {"optimizer__stage_lr_decay": 0.5, "lr_schedule": {"name": "cosine"}},
        ],
        ids=str,
    )
    def test_from_every_checkpoint_training_continues_as_if_uninterrupted(
        self, settings: dict[str, Any], tmp_path: Path
    ) -> None:
        config = tiny_config(
            model__dense_dropout=0.3,
            model__block_dropout=0.2,
            model__batch_norm="before",
            **{"training__validations_per_epoch": 3, **settings},
        )
        whole = checkpointed(config, tmp_path / "whole")
        assert len(whole) > 1
        # Every second one comes by all the places that an epoch is broken off at.
        for done in range(1, len(whole) + 1, 2):
            checkpoint = whole[done - 1][1]
            rest = checkpointed(config, tmp_path / f"from_{done}", resume_from=checkpoint)
            assert [seen for seen, _ in rest] == [seen for seen, _ in whole[done - 1 :]]
            assert_same_state(rest[-1][1], whole[-1][1])

    def test_out_of_patience_at_the_same_epoch(self, tmp_path: Path) -> None:
        patience = {"training__patience_epochs": 2, "training__metric": "val_loss"}
        config = tiny_config(optimizer__lr=1.5, training__epochs=30, **patience)
        whole = checkpointed(config, tmp_path / "whole")
        assert 2 < len(whole) < 30
        for done, (_, checkpoint) in enumerate(whole, start=1):
            rest = checkpointed(config, tmp_path / f"from_{done}", resume_from=checkpoint)
            assert [seen for seen, _ in rest] == [seen for seen, _ in whole[done - 1 :]]

    def test_time_is_added_up(self, tmp_path: Path) -> None:
        first = next(fit(tiny_config(), DATA))
        first.save_checkpoint(tmp_path)
        again, second, *_ = fit(tiny_config(), DATA, resume_from=tmp_path)
        assert again.record == first.record
        assert second.record.seconds > first.record.seconds

    def test_the_checkpoint_s_validation_comes_first_with_all_that_belongs_to_it(
        self, tmp_path: Path
    ) -> None:
        config = tiny_config(training__log_steps=True)
        before: tuple[Validation, ...] = ()
        for validation in fit(config, DATA):
            validation.save_checkpoint(tmp_path)
            again, *_ = fit(config, DATA, resume_from=tmp_path)
            assert validation.steps
            expected = replace(validation, before=before)
            assert keeping_nothing(again) == keeping_nothing(expected)
            before = *before, validation

    def test_a_checkpoint_of_another_trial_is_refused(self, tmp_path: Path) -> None:
        next(fit(tiny_config(), DATA)).save_checkpoint(tmp_path)
        with pytest.raises(ConfigError, match=r"another trial: seed = 5, was 0$"):
            next(fit(tiny_config(seed=5), DATA, resume_from=tmp_path))


class TestOrder:
    def test_each_epoch_has_its_own(self) -> None:
        first, second = (epoch_order(tiny_config(), DATA, epoch) for epoch in (0, 1))
        assert sorted(first) == sorted(second) == sorted(DATA.train_indices)
        assert first.tolist() != second.tolist()

    def test_without_shuffling_it_is_always_that_of_the_first(self) -> None:
        config = tiny_config(training__shuffle=False)
        first, second = (epoch_order(config, DATA, epoch) for epoch in (0, 1))
        assert first.tolist() == second.tolist() == epoch_order(tiny_config(), DATA, 0).tolist()


class TestLoggedSteps:
    def test_are_not_there_unless_asked_for(self) -> None:
        assert all(validation.steps == () for validation in fit(tiny_config(), DATA))

    def test_plain_gradient_descent_updates_by_lr_times_the_gradient(self) -> None:
        config = tiny_config(training__log_steps=True, training__validations_per_epoch=2)
        steps = [step for validation in fit(config, DATA) for step in validation.steps]
        assert [step.step for step in steps] == list(range(1, 10))
        for step in steps:
            assert step.gradient_norm > 0
            assert step.update_norm == pytest.approx(0.05 * step.gradient_norm, rel=1e-4)

    def test_are_thinned_out_evenly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("toprung.trainables.training.steps.MAX_LOGGED_STEPS", 4)
        config = tiny_config(training__log_steps=True, training__batch_size=2, training__epochs=1)
        (validation,) = fit(config, DATA)
        assert [step.step for step in validation.steps] == [1, 4, 7, 10]

    def test_change_nothing(self) -> None:
        logged = records(tiny_config(training__log_steps=True))
        assert logged == records(tiny_config())
