"""The best trial: by validation, with stated ties, failed trials left out."""

import pytest

from toprung.analysis.study.trials import TrialResult, select_best
from toprung.analysis.sweep_folder import attributes
from toprung.trainables.results.records import Record


def record(accuracy: float, loss: float = 1.0) -> Record:
    return Record(1, 1.0, 0.5, 0.5, loss, accuracy, accuracy, 0.1, 2.0)


def result(number: int, best: Record | None, ended: str = attributes.FINISHED) -> TrialResult:
    return TrialResult(number, ended, "", {}, None, best, {}, None)


class TestSelection:
    @pytest.mark.parametrize(
        ("bests", "metric", "winner"),
        [
            ([record(0.8), record(0.9), record(0.7)], "val_accuracy", 1),
            ([record(0.8, 0.5), record(0.9, 0.6), record(0.7, 0.4)], "val_loss", 2),
            ([record(0.9, 0.7), record(0.9, 0.6), record(0.9, 0.8)], "val_accuracy", 1),
            ([record(0.9, 0.6), record(0.9, 0.6)], "val_accuracy", 0),
            ([None, record(0.1)], "val_accuracy", 1),
        ],
    )
    def test_best_metric_then_lower_loss_then_earlier(
        self, bests: list[Record | None], metric: str, winner: int
    ) -> None:
        trials = [result(number, best) for number, best in enumerate(bests)]
        best = select_best(trials, metric)
        assert best is trials[winner]
        assert select_best(trials[::-1], metric) is trials[winner]

    def test_failed_trials_are_left_out(self) -> None:
        trials = [result(0, record(0.99), attributes.FAILED), result(1, record(0.5))]
        assert select_best(trials, "val_accuracy") is trials[1]

    @pytest.mark.parametrize(
        "ended", [attributes.STOPPED_EARLY, attributes.TIME_BUDGET, attributes.INTERRUPTED]
    )
    def test_a_trial_that_did_not_run_its_course_can_win(self, ended: str) -> None:
        trials = [result(0, record(0.5)), result(1, record(0.9), ended)]
        assert select_best(trials, "val_accuracy") is trials[1]

    def test_nothing_to_select(self) -> None:
        assert select_best([], "val_accuracy") is None
        assert select_best([result(0, None)], "val_accuracy") is None
