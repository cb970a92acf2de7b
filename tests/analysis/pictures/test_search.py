"""The pictures of the search and of its parameters: what they show, and odd sweeps."""

from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from optuna.distributions import CategoricalDistribution, FloatDistribution

from tests.support.simulated_sweep import Simulated, random_trials, simulated_sweep
from toprung.analysis.drawing.picture import parts_in
from toprung.analysis.drawing.style import styled
from toprung.analysis.findings.importance import Parameter
from toprung.analysis.findings.results import Results
from toprung.analysis.pictures import comparisons, curves, parameters, search, steps, worth
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.folder import SweepFolderError

MODULES = (search, parameters, curves, steps, comparisons, worth)
HOSTILE = (
    "_private",
    "<script>alert(1)</script>",
    "$x^$ \\frac",
    "x" * 300,
    "\u05e9\u05dc\n\u05d5\u05dd",
    "",
)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Forty trials, of which some lack momentum, failed, or are infeasible."""
    return simulated_sweep(tmp_path_factory.mktemp("sweeps") / "usual", random_trials(40))


def shown(results: Results, module: ModuleType) -> set[str]:
    """Lay out every part of the module; the names of those that make sense."""
    names = set()
    for part in parts_in(module):
        content = part(results)
        if content is not None:
            names.add(part.name)
        if isinstance(content, Figure):
            with styled():
                content.draw_without_rendering()
    return names


class TestCourse:
    def test_best_so_far(self, usual: Results) -> None:
        figure = search.metric_against_time(usual)
        assert figure is not None
        (line,) = figure.axes[0].lines
        values = [getattr(trial.best, usual.metric) for trial in usual.scored]
        assert line.get_ydata() == pytest.approx(np.maximum.accumulate(values))
        minutes = [5.0 * trial.number / 60 for trial in usual.scored]
        assert line.get_xdata() == pytest.approx(minutes)

    def test_a_smaller_loss_is_better(self, tmp_path: Path) -> None:
        trials = [Simulated([v], start=n) for n, v in enumerate([2.0, 3.0, 1.0])]
        results = simulated_sweep(tmp_path / "sweep", trials, metric="val_loss")
        figure = search.metric_against_time(results)
        assert figure is not None
        assert list(figure.axes[0].lines[0].get_ydata()) == [2.0, 2.0, 1.0]  # type: ignore[arg-type]

    def test_bars_of_the_timeline_do_not_overlap(self, usual: Results) -> None:
        figure = search.timeline(usual)
        assert figure is not None
        bars = [
            (corners[:, 1].mean().round(), corners[:, 0].min(), corners[:, 0].max())
            for collection in figure.axes[0].collections
            if isinstance(collection, PolyCollection)
            for corners in (np.asarray(path.vertices) for path in collection.get_paths())
        ]
        ran = [t for t in usual.trials if t.ended != attributes.INFEASIBLE]
        assert len(bars) == len(ran)
        for row in {bar[0] for bar in bars}:
            mine = sorted(bar[1:] for bar in bars if bar[0] == row)
            assert all(end <= start + 1e-9 for (_, end), (start, _) in pairwise(mine))

    def test_rungs(self, usual: Results) -> None:
        rows = search.rungs_table(usual)
        assert rows is not None
        assert [row[0] for row in rows.rows] == [1, 3, 9]
        first = dict(zip(rows.columns, rows.rows[0], strict=True))
        assert first["trials"] == len(usual.curves)
        assert first["of ASHA"] == 1 / 3

    def test_reasons_are_counted(self, usual: Results) -> None:
        rows = search.how_trials_ended(usual)
        assert rows is not None
        counts = {row[:2]: row[2] for row in rows.rows}
        assert sum(count for count in counts.values() if isinstance(count, int)) == 40
        assert counts["infeasible", "too small"] == 2
        assert counts["failed", "CUDA out of memory <b>1</b>"] == 2


class TestParameters:
    def test_every_scored_trial_is_a_line(self, usual: Results) -> None:
        figure = parameters.parallel_coordinates(usual)
        assert figure is not None
        (lines,) = [c for c in figure.axes[0].collections if isinstance(c, LineCollection)]
        heights_TP = np.array([np.asarray(path.vertices)[:, 1] for path in lines.get_paths()])
        assert heights_TP.shape == (len(usual.scored), 6)
        names = [label.get_text() for label in figure.axes[0].get_xticklabels()]
        absent_T = heights_TP[:, names.index("optimizer/momentum")] < -0.05
        without = [t for t in usual.scored if "optimizer/momentum" not in t.parameters]
        assert absent_T.sum() == len(without) > 0
        assert np.all(np.diff(heights_TP[:, -1]) >= 0)  # the best is drawn last

    def test_slices_show_the_trials_that_have_the_parameter(self, usual: Results) -> None:
        figure = parameters.slices(usual)
        assert figure is not None
        by_name = {axes.get_xlabel(): axes for axes in figure.axes if axes.get_xlabel()}
        num_sgd = sum("optimizer/momentum" in trial.parameters for trial in usual.scored)
        points = by_name["optimizer/momentum"].collections[0].get_offsets()
        assert len(np.asarray(points)) == num_sgd < len(usual.scored)
        assert by_name["optimizer/lr"].get_xscale() == "log"

    def test_smoothing_keeps_a_constant_and_a_slope(self) -> None:
        pair = (
            Parameter("x", {}, (), log=True),
            Parameter("y", {}, (), log=False),
        )
        values_2N = np.array([10 ** np.linspace(-3, 0, 30), np.tile([0.0, 0.5, 1.0], 10)])
        grid = np.geomspace(1e-3, 1, 5), np.linspace(0, 1, 4)
        same_GG = parameters._smooth(pair, values_2N, np.full(30, 0.7), grid, logs=False)
        assert same_GG == pytest.approx(np.full((4, 5), 0.7))
        slope_GG = parameters._smooth(pair, values_2N, np.linspace(0, 1, 30), grid, logs=False)
        assert np.all(np.diff(slope_GG, axis=1) > 0)


class TestComparisons:
    def test_rows(self, usual: Results) -> None:
        rows = comparisons.comparison_table(usual)
        assert rows is not None
        table = [dict(zip(rows.columns, row, strict=True)) for row in rows.rows]
        settings = list(dict.fromkeys(row["setting"] for row in table))
        assert set(settings[:2]) == {"optimizer/name", "labels/policy"}
        assert set(settings[2:]) == {"optimizer/lr", "optimizer/momentum", "model/dense_dropout"}
        ranges = [row for row in table if row["setting"] == "optimizer/lr"]
        assert len(ranges) == 5
        assert all(" to " in str(row["value"]) for row in ranges)
        (adamw,) = [row for row in table if row["value"] == "adamw"]
        values = [
            getattr(trial.best, usual.metric)
            for trial in usual.scored
            if trial.parameters["optimizer/name"] == "adamw"
        ]
        assert adamw["trials"] == len(values)
        assert (adamw["best"], adamw["worst"]) == (max(values), min(values))
        assert adamw["upper quartile"] == pytest.approx(np.quantile(values, 0.75))

    def test_numbers_of_few_trials_are_left_out(self, tmp_path: Path) -> None:
        few = simulated_sweep(tmp_path / "few", random_trials(7))
        rows = comparisons.comparison_table(few)
        assert rows is not None
        assert {row[0] for row in rows.rows} <= {"optimizer/name", "labels/policy"}

    def test_what_was_asked_for_comes_first(self, usual: Results) -> None:
        rows = comparisons.comparison_table(Results(usual.sweep, by=("optimizer/lr",)))
        assert rows is not None
        assert [row[0] for row in rows.rows][:6] == ["optimizer/lr"] * 5 + ["optimizer/name"]
        wrong = Results(usual.sweep, by=("optimizer/lrr",))
        with pytest.raises(SweepFolderError, match="optimizer/lrr: no trial has this setting"):
            comparisons.comparison_table(wrong)


def hostile_trials() -> list[Simulated]:
    distributions = {
        "labels/policy": CategoricalDistribution(HOSTILE),
        "labels/$n^$": CategoricalDistribution([1, True, "1", 2.5]),
        "optimizer/lr": FloatDistribution(1e-4, 1e-1, log=True),
    }
    return [
        Simulated(
            [0.1 + 0.01 * n, 0.2],
            parameters={
                "labels/policy": HOSTILE[n % len(HOSTILE)],
                "labels/$n^$": [1, True, "1", 2.5][n % 4],
                "optimizer/lr": 10 ** -(1 + n / 10),
            },
            distributions=distributions,
            ended=attributes.FAILED if n == 5 else attributes.FINISHED,
            reason="</td><script>\n$x^$" if n == 5 else "",
            log_steps=True,
        )
        for n in range(24)
    ]


ODD: dict[str, list[Simulated]] = {
    "no trial": [],
    "one trial": [Simulated([0.5, 0.6])],
    "one running": [Simulated([0.5], attributes.RUNNING)],
    "nothing yet": [Simulated((), attributes.RUNNING)],
    "all failed": [Simulated([float("nan")], attributes.FAILED, reason="NaN")] * 3,
    "all the same": [Simulated([0.5, 0.5])] * 12,
    "all infeasible": [Simulated((), attributes.INFEASIBLE, reason="too small")] * 3,
    "infinite": [Simulated([float("inf")])] * 3,
    "hostile names": hostile_trials(),
}


COMPARED = ("all the same", "infinite", "hostile names")


@pytest.mark.parametrize("kind", ODD)
def test_odd_sweeps(kind: str, tmp_path: Path) -> None:
    results = simulated_sweep(tmp_path / "sweep", ODD[kind], max_epochs=2)
    names = {name for module in MODULES for name in shown(results, module)}
    assert ("how_trials_ended" in names) == (kind != "no trial")
    assert ("metric_against_time" in names) == bool(results.scored)
    assert ("parallel_coordinates" in names) == (kind == "hostile names")
    assert ("search_against_simpler" in names) == (kind in COMPARED)


def test_a_legend_leaves_out_no_name(tmp_path: Path) -> None:
    results = simulated_sweep(tmp_path / "sweep", hostile_trials(), max_epochs=2)
    figure = curves.curves_by(results, "labels/policy")
    assert figure is not None
    (legend,) = figure.subfigs[0].legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert len(labels) == len(HOSTILE)
    assert any("_private" in label for label in labels)
    assert not any(text.get_parse_math() for text in legend.get_texts())


def test_a_usual_sweep_has_every_part(tmp_path: Path) -> None:
    trials = random_trials(40, loss=True)
    trials += [Simulated([1e6, float("inf")], attributes.FAILED, reason="diverged")]
    trials += [Simulated([0.9], attributes.RUNNING, trials[0].parameters, trials[0].distributions)]
    results = simulated_sweep(tmp_path / "sweep", trials, metric="val_loss")
    for module in MODULES:
        assert shown(results, module) == {part.name for part in parts_in(module)}


def test_the_winner_may_be_a_run_that_confirms_a_trial(tmp_path: Path) -> None:
    given: dict[str, Any] = {"parameters": {"optimizer/lr": 0.1}}
    given["distributions"] = {"optimizer/lr": FloatDistribution(1e-4, 1, log=True)}
    trials = [Simulated([0.5], **given), Simulated([0.6], **given)]
    run = Simulated([0.9], confirms=0)
    results = simulated_sweep(tmp_path / "sweep", [*trials, run], max_epochs=1)
    assert len(results.trials) == 2
    results.__dict__["winner"] = Sweep(tmp_path / "sweep").trial(2)
    for module in MODULES:
        shown(results, module)
    ring = search.metric_against_time(results)
    assert ring is not None
    ((x, y),) = np.asarray(ring.axes[0].collections[-1].get_offsets())
    assert (x, y) == (0.0, 0.5)
    learned = curves.curves_of_all_trials(results)
    assert learned is not None
    names = [text.get_text() for text in learned.legends[0].get_texts()]
    assert "trial 0, which the winner confirms" in names
    assert "winner" not in names


def test_runs_that_confirm_are_in_the_timeline(tmp_path: Path) -> None:
    running = Simulated([0.9, 0.9], attributes.RUNNING, confirms=0, start=30)
    trials = [Simulated([0.5]), Simulated([0.6]), Simulated([0.7], confirms=0, start=20), running]
    results = simulated_sweep(tmp_path / "sweep", trials, max_epochs=1)
    told = {"candidates": [0], "done": False, "told": "trained again"}
    results.sweep.study.set_user_attr(attributes.CONFIRMATION, told)
    figure = search.timeline(results)
    assert figure is not None
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["finished", "confirms a trial"]
    searched, confirmed = figure.axes[0].collections
    assert len(searched.get_paths()) == 2
    ends = [np.asarray(path.vertices)[:, 0].max() for path in confirmed.get_paths()]
    assert ends == pytest.approx([30.0, 50.0], abs=0.2)  # the second run has validated twice
    assert searched.get_facecolor().tolist() != confirmed.get_facecolor().tolist()  # type: ignore[union-attr]
