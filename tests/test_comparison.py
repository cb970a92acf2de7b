"""Comparison tables: groups by any setting, their figures, and test columns where opened."""

from typing import Any

import pytest

from analysis.comparison import compare
from analysis.folder import SweepFolderError
from analysis.openings import TestResult
from analysis.trials import TrialResult
from tests.helpers import tiny_config
from trainables.record import Record


def trial(
    number: int, accuracy: float | None, ended: str = "finished", **config: Any
) -> TrialResult:
    record = None
    if accuracy is not None:
        record = Record(
            validation=2,
            epoch=2.0,
            train_loss=0.5,
            train_accuracy=0.75,
            val_loss=1 - accuracy,
            val_accuracy=accuracy,
            val_mean_class_accuracy=accuracy - 0.125,
            lr=0.1,
            seconds=1.0,
        )
    return TrialResult(
        number=number,
        ended=ended,
        reason="",
        parameters={},
        config=tiny_config(**config),
        best=record,
        values={},
        started=None,
    )


TRIALS = [
    trial(0, 0.25, optimizer__name="sgd", loss__name="cross_entropy", loss__label_smoothing=0.1),
    trial(1, 0.5, optimizer__name="adam"),
    trial(2, 0.125, "stopped early", optimizer__name="sgd"),
    trial(3, 0.375, optimizer__name="sgd"),
    trial(4, 0.75, "failed", optimizer__name="adam"),
    trial(5, None, "infeasible", optimizer__name="adam"),
]


def test_groups_are_in_order_with_the_figures_of_their_best_trial() -> None:
    adam, sgd = compare(TRIALS, ["optimizer/name"], "val_accuracy")
    assert (adam.values, sgd.values) == (("adam",), ("sgd",))
    assert (adam.num_trials, sgd.num_trials) == (1, 3)
    assert (sgd.best.number, sgd.median, sgd.worst) == (3, 0.25, 0.125)
    assert sgd.figures == {
        "trials": 3,
        "worst": 0.125,
        "median": 0.25,
        "trial": 3,
        "epoch": 2.0,
        "train acc": 0.75,
        "val acc": 0.375,
        "class acc": 0.25,
        "acc gap": 0.375,
        "train loss": 0.5,
        "val loss": 0.625,
        "loss gap": 0.125,
    }


def test_the_best_has_the_lowest_loss_where_that_is_the_metric() -> None:
    best, worst = compare(TRIALS, ["optimizer/name"], "val_loss")
    assert (best.best.number, worst.best.number) == (1, 3)
    assert (worst.median, worst.worst) == (0.75, 0.875)


def test_several_settings_and_ones_that_only_some_trials_have() -> None:
    groups = compare(TRIALS, ["optimizer/momentum", "loss/label_smoothing"], "val_accuracy")
    assert [group.values for group in groups] == [("-", 0.0), (0.0, 0.0), (0.0, 0.1)]


def test_lists_can_be_compared_by() -> None:
    trials = [trial(n, 0.5, model__dense=dense) for n, dense in enumerate([[8], [8, 4], [8]])]
    assert sorted(group.num_trials for group in compare(trials, ["model/dense"], "val_loss")) == [
        1,
        2,
    ]


def test_only_models_that_were_opened_have_test_figures() -> None:
    opening = TestResult(3, "weights", 0.3125, 1.5, 16, "data", "today", forced=False)
    adam, sgd = compare(TRIALS, ["optimizer/name"], "val_accuracy", [opening])
    assert "test acc" not in adam.figures
    assert (sgd.figures["test acc"], sgd.figures["test loss"]) == (0.3125, 1.5)


def test_nothing_to_compare() -> None:
    with pytest.raises(SweepFolderError, match="no trial has a validation result to compare"):
        compare(TRIALS[4:], ["optimizer/name"], "val_accuracy")
    with pytest.raises(SweepFolderError, match=r"--by optimizer/nam: .*nearest: optimizer/name"):
        compare(TRIALS, ["optimizer/nam"], "val_accuracy")
