"""The learning curves: the lines are the logged figures, their medians and quartiles."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection, LineCollection
from matplotlib.figure import Figure
from optuna.distributions import CategoricalDistribution

from tests.support.simulated_sweep import Simulated, simulated_sweep
from toprung.analysis.findings.results import Results
from toprung.analysis.pictures import curves, steps
from toprung.analysis.sweep_folder import attributes

CHOICE = {"optimizer/name": CategoricalDistribution(["sgd", "adam", "adamw"])}
ACCURACIES = {
    "sgd": [[0.1, 0.2, 0.3], [0.2, 0.4, 0.5], [0.3]],
    "adam": [[0.5, 0.6, 0.9], [0.4, 0.5, 0.6]],
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    trials = [
        Simulated(
            curve,
            attributes.FINISHED if len(curve) == 3 else attributes.STOPPED_EARLY,
            {"optimizer/name": name},
            CHOICE,
            settings={"optimizer/lr": 0.001 * (n + 1)},
            log_steps=len(curve) == 3,
        )
        for name, found in ACCURACIES.items()
        for n, curve in enumerate(found)
    ]
    return simulated_sweep(tmp_path_factory.mktemp("sweeps") / "s", trials, max_epochs=3)


def solid_lines(figure: Figure, axes: int) -> list[list[float]]:
    lines = figure.axes[axes].lines
    return [np.asarray(line.get_ydata()).tolist() for line in lines if line.get_linestyle() == "-"]


def test_all_trials(results: Results) -> None:
    figure = curves.curves_of_all_trials(results)
    assert figure is not None
    loss, accuracy = figure.axes
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss", "accuracy")
    training, validation = accuracy.collections
    assert isinstance(training, LineCollection)
    assert isinstance(validation, LineCollection)
    drawn = [np.asarray(path.vertices)[:, 1].tolist() for path in validation.get_paths()]
    every = [curve for found in ACCURACIES.values() for curve in found]
    assert [line for line in drawn if len(line) == 3] == [c for c in every if len(c) == 3]
    assert solid_lines(figure, 1) == [[0.5, 0.6, 0.9]]  # the winner


def test_medians_and_quartiles_of_the_trials_that_came_so_far(results: Results) -> None:
    figure = curves.curves_by_value(results)
    assert figure is not None
    adam, sgd = solid_lines(figure, 1)
    assert adam == pytest.approx([0.45, 0.55, 0.75])
    assert sgd == pytest.approx([0.2, 0.3, 0.4])
    band, _ = figure.axes[1].collections
    assert isinstance(band, FillBetweenPolyCollection)
    heights = np.asarray(band.get_paths()[0].vertices)[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((0.425, 0.825))


def test_the_best_of_each_value(results: Results) -> None:
    figure = curves.curves_of_best_by_value(results)
    assert figure is not None
    assert solid_lines(figure, 1) == [[0.5, 0.6, 0.9], [0.2, 0.4, 0.5]]


def test_by_what_is_asked_for(results: Results) -> None:
    figure = curves.curves_by(results, "optimizer/lr")
    assert figure is not None
    assert solid_lines(figure, 1)[2] == [0.3]
    assert curves.curves_by(results, "model/dense") is None
    both = curves.curves_by_value(Results(results.sweep, by=("optimizer/lr", "optimizer/name")))
    assert both is not None
    assert len(both.axes) == 4


def test_of_many_values_the_best_are_shown(tmp_path: Path) -> None:
    names = [f"policy {n:02d}" for n in range(20)]
    trials = [
        Simulated([0.01 * n], settings={"labels/policy": name}) for n, name in enumerate(names)
    ]
    many = simulated_sweep(tmp_path / "sweep", trials)
    figure = curves.curves_by(many, "labels/policy")
    assert figure is not None
    assert sorted(solid_lines(figure, 1)) == [[0.01 * n] for n in range(12, 20)]


def test_steps_of_the_best_and_the_worst(results: Results) -> None:
    figure = steps.loss_per_step(results)
    assert figure is not None
    best, smooth, worst, _ = figure.axes[0].lines
    assert best.get_ydata() == pytest.approx([2 / (1 + step) for step in range(60)])
    assert len(np.asarray(smooth.get_ydata())) == 60
    assert len(np.asarray(worst.get_ydata())) == 60
    norms = steps.norms_per_step(results)
    assert norms is not None
    assert [axes.get_ylabel() for axes in norms.axes] == ["gradient norm", "update norm"]
    assert {axes.get_yscale() for axes in norms.axes} == {"log"}


def test_learning_rates(results: Results, tmp_path: Path) -> None:
    figure = curves.learning_rates(results)
    assert figure is not None
    (winner,) = figure.axes[0].lines
    assert winner.get_ydata() == pytest.approx([0.008, 0.0064, 0.00512])
    once = simulated_sweep(tmp_path / "sweep", [Simulated([0.5])] * 2)
    assert curves.learning_rates(once) is None
    assert steps.loss_per_step(once) is None
