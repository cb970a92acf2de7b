"""Comparison tables: groups by any setting, their figures, and test columns where opened."""

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support.helpers import tiny_config
from tests.support.simulated_sweep import Simulated, simulated_sweep
from toprung.analysis.findings.comparison import (
    ABSENT,
    by_value,
    compare,
    compare_sweeps,
    openings_of,
)
from toprung.analysis.seal.openings import TestResult
from toprung.analysis.study.trials import TrialResult
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.cli.main import toprung
from toprung.trainables.results.records import Record


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
        "lower quartile": 0.1875,
        "median": 0.25,
        "upper quartile": 0.3125,
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


OPENING = TestResult(3, "weights", 0.3125, 1.5, 16, "data", "today", forced=False)


def test_only_models_that_were_opened_have_test_figures() -> None:
    adam, sgd = compare(TRIALS, ["optimizer/name"], "val_accuracy", {3: OPENING})
    assert "test acc" not in adam.figures
    assert (sgd.figures["test acc"], sgd.figures["test loss"]) == (0.3125, 1.5)
    assert sgd.figures["tested"] == 3


def test_of_several_opened_models_the_best_trial_s_is_told() -> None:
    openings = {0: replace(OPENING, trial=0, forced=True), 3: OPENING}
    _, sgd = compare(TRIALS, ["optimizer/name"], "val_accuracy", openings)
    assert (sgd.figures["tested"], "forced" in sgd.figures) == (3, False)
    _, sgd = compare(TRIALS, ["optimizer/name"], "val_accuracy", {0: openings[0]})
    assert (sgd.figures["tested"], sgd.figures["forced"]) == (0, True)


def test_nothing_to_compare() -> None:
    with pytest.raises(SweepFolderError, match="no trial has a validation result to compare"):
        compare(TRIALS[4:], ["optimizer/name"], "val_accuracy")
    with pytest.raises(SweepFolderError, match=r"--by optimizer/nam: .*nearest: optimizer/name"):
        compare(TRIALS, ["optimizer/nam"], "val_accuracy")


class TestByValue:
    def test_choices_and_what_lacks_the_setting(self) -> None:
        groups = by_value(TRIALS[:4], "optimizer/momentum", 8)
        assert {value: len(trials) for value, trials in groups.items()} == {"0": 3, ABSENT: 1}
        assert list(by_value(TRIALS[:4], "optimizer/name", 8)) == ["adam", "sgd"]

    def test_few_numbers_are_in_order(self) -> None:
        trials = [trial(n, 0.5, optimizer__lr=lr) for n, lr in enumerate([0.1, 0.001, 0.01, 0.1])]
        groups = by_value(trials, "optimizer/lr", 3)
        assert [(v, len(t)) for v, t in groups.items()] == [("0.001", 1), ("0.01", 1), ("0.1", 2)]

    def test_of_few_numbers_there_are_fewer_ranges(self) -> None:
        trials = [trial(n, 0.5, optimizer__lr=(n + 1) / 100) for n in range(9)]
        groups = by_value(trials, "optimizer/lr", 1)
        assert {value: len(members) for value, members in groups.items()} == {
            "0.01 to 0.05": 5,
            "0.06 to 0.09": 4,
        }

    def test_many_numbers_become_ranges(self) -> None:
        trials = [trial(n, 0.5, optimizer__lr=(n + 1) / 100) for n in range(20)]
        groups = by_value(trials, "optimizer/lr", 8)
        assert next(iter(groups)) == "0.01 to 0.04"
        assert [len(members) for members in groups.values()] == [4] * 5
        rates = [t.config.optimizer.lr for m in groups.values() for t in m if t.config]
        assert rates == sorted(rates)


def sweep(path: Path, **settings: Any) -> Sweep:
    names = [("sgd", 0.5), ("adam", 0.75)]
    trials = [Simulated([0.25, best], settings={"optimizer/name": n}) for n, best in names]
    made = simulated_sweep(path, trials, max_epochs=2, **settings)
    return Sweep(made.sweep.folder.path)


class TestSweeps:
    def test_one_table_of_several(self, tmp_path: Path) -> None:
        sweeps = [sweep(tmp_path / "a"), sweep(tmp_path / "b")]
        compared = compare_sweeps(sweeps, ["optimizer/name"])
        assert compared.columns == ("sweep", "optimizer/name")
        values = [group.values for group in compared.groups]
        assert values == [("a", "adam"), ("b", "adam"), ("a", "sgd"), ("b", "sgd")]
        assert compared.warnings == ()
        without = compare_sweeps(sweeps)
        assert [(g.values, g.num_trials) for g in without.groups] == [(("a",), 2), (("b",), 2)]

    def test_other_images_are_warned_of(self, tmp_path: Path) -> None:
        sweeps = [sweep(tmp_path / "a"), sweep(tmp_path / "b")]
        sweeps[1].description["data"]["sha256"] = "another"
        (warning,) = compare_sweeps(sweeps).warnings
        assert "different training or validation images" in warning
        sweeps[1].description["data"]["test_sha256"] = "another"
        assert len(compare_sweeps(sweeps).warnings) == 2

    def test_a_sweep_without_results_is_told(self, tmp_path: Path) -> None:
        empty = simulated_sweep(tmp_path / "empty", []).sweep
        compared = compare_sweeps([sweep(tmp_path / "a"), empty], ["optimizer/name"])
        assert compared.warnings == ("empty: no trial has a validation result",)
        with pytest.raises(SweepFolderError, match="no trial has a validation result to compare"):
            compare_sweeps([empty])

    def test_what_cannot_be_compared(self, tmp_path: Path) -> None:
        first, other = sweep(tmp_path / "a"), sweep(tmp_path / "b", metric="val_loss")
        with pytest.raises(SweepFolderError, match="a by val_accuracy, b by val_loss"):
            compare_sweeps([first, other])
        with pytest.raises(SweepFolderError, match="is given twice"):
            compare_sweeps([first, Sweep(tmp_path / "." / "a")])
        with pytest.raises(SweepFolderError, match=r"--by optimizer/nam: .*nearest"):
            compare_sweeps([first], ["optimizer/nam"])

    def test_sweeps_of_one_name_are_told_apart(self, tmp_path: Path) -> None:
        sweeps = [sweep(tmp_path / "x" / "a"), sweep(tmp_path / "y" / "a")]
        names = {group.values[0] for group in compare_sweeps(sweeps).groups}
        assert names == {str(tmp_path / "x" / "a"), str(tmp_path / "y" / "a")}

    def test_an_opening_of_a_run_that_confirms_a_trial(self, tmp_path: Path) -> None:
        results = simulated_sweep(
            tmp_path / "a", [Simulated([0.5]), Simulated([0.75]), Simulated([0.625], confirms=0)]
        )
        opening = replace(OPENING, trial=2)
        results.sweep.folder.sealed_test.write_text(json.dumps([asdict(opening)]))
        assert openings_of(results.sweep, results.seal) == {0: opening}
        (group,) = compare_sweeps([results.sweep], ["optimizer/name"]).groups
        assert (group.best.number, group.figures["tested"]) == (1, 2)

    def test_a_forced_opening_takes_the_place_of_no_other(self, tmp_path: Path) -> None:
        trials = [Simulated([0.5]), Simulated([0.75]), Simulated([0.625], confirms=1)]
        results = simulated_sweep(tmp_path / "a", trials)
        winner = replace(OPENING, trial=2, accuracy=0.9)
        forced = [replace(OPENING, trial=number, accuracy=0.3, forced=True) for number in (0, 1, 0)]
        forced[2] = replace(forced[2], opened_at="tomorrow")
        for openings in ([winner, *forced], [*forced, winner]):
            record = json.dumps([asdict(opening) for opening in openings])
            results.sweep.folder.sealed_test.write_text(record)
            assert openings_of(results.sweep, results.seal) == {0: forced[0], 1: winner}


class TestCommand:
    def test_table_and_json(self, tmp_path: Path) -> None:
        for name in "ab":
            sweep(tmp_path / name)
        said = invoke("compare", str(tmp_path / "a"), str(tmp_path / "b"))
        heading, first, second = said.splitlines()
        assert heading.split()[:2] == ["sweep", "trials"]
        assert (first.split()[0], second.split()[0]) == ("a", "b")
        rows = json.loads(
            invoke("compare", str(tmp_path / "a"), "--by", "optimizer/name", "--json")
        )
        assert [row["optimizer/name"] for row in rows] == ["adam", "sgd"]
        assert "sweep" not in rows[0]

    def test_json_has_null_for_what_is_not_finite(self, tmp_path: Path) -> None:
        trials = [
            Simulated([value], settings={"labels/policy": name})
            for name, value in (("a", 0.5), ("\u05e9", float("inf")))
        ]
        folder = simulated_sweep(tmp_path / "a", trials, metric="val_loss").sweep.folder.path
        said = invoke("compare", str(folder), "--by", "labels/policy", "--json")
        assert "Infinity" not in said
        rows = {row["labels/policy"]: row for row in json.loads(said)}
        assert (rows["a"]["median"], rows["\u05e9"]["median"]) == (0.5, None)

    def test_one_sweep_needs_something_to_compare_by(self, tmp_path: Path) -> None:
        result = CliRunner().invoke(toprung, ["compare", str(sweep(tmp_path / "a").folder.path)])
        assert result.exit_code == 2
        assert "give --by" in result.output


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(toprung, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_an_opening_is_not_of_a_trial_that_was_trained_further() -> None:
    before = replace(OPENING, opened_at="2026-11-28T12:00:00+00:00")
    ended = datetime(2026, 11, 28, 12, 0, 0, 900_000, UTC)
    done = trial(3, 0.5, optimizer__name="adam")
    assert not before.precedes_end_of(replace(done, completed=None))
    assert not before.precedes_end_of(replace(done, completed=ended))
    assert before.precedes_end_of(replace(done, completed=ended + timedelta(seconds=1)))
    assert not OPENING.precedes_end_of(replace(done, completed=ended))  # "today"
