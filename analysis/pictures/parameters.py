"""The searched parameters: which of them matter, and where their good values lie."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from toprung.analysis.drawing.marks import (
    SCALE,
    SHOWN_WINNER,
    few_ticks,
    metric_axis,
    path_name,
    scale_for,
    score_of,
    winner_of_search,
)
from toprung.analysis.drawing.picture import Cell, Rows, picture, table
from toprung.analysis.drawing.style import ACCENT, INK, MUTED, PAPER, SECOND, new_figure, short
from toprung.analysis.findings.importance import Importance, Parameter, importances
from toprung.analysis.findings.results import Results
from toprung.analysis.pictures import parallel
from toprung.analysis.study.trials import METRIC_NAMES
from toprung.analysis.sweep_folder import attributes

_MAX_PARAMETERS = 12
_MAX_CHOICES = 12
_MIN_FOR_CONTOURS = 12
_SOURCES = ("study.db",)


@picture(
    "Which parameters matter",
    "Left: the importance of each parameter according to Optuna (PED-ANOVA: Watanabe et al., "
    "2023; how much the values in the best tenth of the trials differ from those in all trials), "
    "as shares of one. Right: Spearman's rank correlation of the parameter with the metric, over "
    "the trials that have the parameter; for a categorical parameter, of the value with the "
    "strongest correlation, against all its other values. Blue: larger values, or this choice, go "
    "with better trials; orange: with worse trials. With fewer than about 50 trials, all of this "
    "is a hint at best.",
    _SOURCES,
)
def parameter_importance(results: Results) -> Figure | None:
    """None with too few trials, or if all have the same metric."""
    found = importances(results.best_values)[:_MAX_PARAMETERS]
    if all(one.share is None and one.strongest is None for one in found):
        return None
    figure = new_figure(height=1.0 + 0.27 * len(found))
    left, right = figure.subplots(1, 2, sharey=True)
    rows = list(range(len(found)))
    left.barh(rows, [one.share or 0.0 for one in found], height=0.6, color=ACCENT)
    left.set_yticks(rows, [path_name(one.parameter.name) for one in found])
    left.invert_yaxis()
    left.set_xlabel("importance")
    better = 1 if results.larger_is_better else -1
    for row, one in enumerate(found):
        _correlation_bar(right, row, one, better)
    right.axvline(0, color=MUTED, linewidth=0.8)
    right.set_xlim(-1.05, 1.05)
    right.set_xlabel(f"correlation with {METRIC_NAMES[results.metric]}")
    for axes in (left, right):
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    return figure


def _correlation_bar(axes: Axes, row: int, one: Importance, better: int) -> None:
    if one.strongest is None:
        return
    value, rho = one.strongest
    axes.barh(row, rho, height=0.6, color=ACCENT if rho * better > 0 else SECOND)
    if one.parameter.choices:
        side = -1 if rho > 0 else 1  # the side of the zero line that has room
        axes.text(
            0.03 * side,
            row,
            short(value, 20),
            va="center",
            ha="left" if side > 0 else "right",
            fontsize=8,
            color=MUTED,
        )


@table(
    "Importance and correlation",
    "A conditional parameter is evaluated over the trials that have it; the second column is "
    "their number. The correlation (Spearman's) of a categorical value compares the trials with "
    "this value and the trials with any other value.",
    _SOURCES,
)
def importance_table(results: Results) -> Rows | None:
    """None with too few trials, or if all have the same metric."""
    found = importances(results.best_values)
    if all(one.share is None and one.strongest is None for one in found):
        return None
    rows: list[tuple[Cell, ...]] = []
    for one in found:
        name, trials = one.parameter.name, one.num_trials
        for value, rho in one.correlations[:_MAX_CHOICES]:
            text = str(value) if one.parameter.choices else ""
            rows.append((name, trials, one.share, text, rho))
    return Rows(("parameter", "trials", "importance", "value", "correlation"), tuple(rows))


@picture(
    "Parallel coordinates",
    "Each line is a trial with a result, through the values of its parameters (the most important "
    "first) to its metric; blue is better, yellow worse, the thick line is the winner. "
    f"{SHOWN_WINNER} Categorical values are jittered, so that lines do not hide one another. A "
    "line passes below the axis of a parameter that the trial does not have.",
    _SOURCES,
)
def parallel_coordinates(results: Results) -> Figure | None:
    """None with fewer than two scored trials or parameters."""
    ranked = [one.parameter for one in importances(results.best_values)[:_MAX_PARAMETERS]]
    if len(results.scored) < 2 or len(ranked) < 2:
        return None
    scores_T = np.array([score_of(results, trial) for trial in results.scored])
    good_T = parallel.goodness(scores_T, larger_is_better=results.larger_is_better)
    heights_TP = np.column_stack([parallel.heights(p, len(scores_T)) for p in ranked] + [good_T])
    figure = new_figure(height=4.4)
    axes = figure.add_subplot()
    order = np.argsort(good_T)
    parallel.draw_lines(axes, heights_TP[order], good_T[order])
    winner = winner_of_search(results)
    numbers = [trial.number for trial in results.scored]
    if winner is not None and winner.number in numbers:
        line_P = heights_TP[numbers.index(winner.number)]
        axes.plot(line_P, color=PAPER, linewidth=5)
        axes.plot(line_P, color=INK, linewidth=2.6)
    for place, parameter in enumerate(ranked):
        lacking = len(parameter.values) < len(scores_T)
        parallel.parameter_axis(axes, place, parameter, 100 // len(ranked), has_absent=lacking)
    parallel.score_axis(axes, len(ranked), scores_T, larger_is_better=results.larger_is_better)
    parallel.name_axes(axes, [*(path_name(p.name) for p in ranked), METRIC_NAMES[results.metric]])
    return figure


@picture(
    "Metric against each parameter",
    "Each point is a trial with a result, at the value of its best validation: filled if the "
    "trial finished, hollow if not; yellow is early in the search, blue late. The most important "
    "parameters come first. A trial without the parameter has no point.",
    _SOURCES,
)
def slices(results: Results) -> Figure | None:
    """None with fewer than two scored trials, or if no parameter varies."""
    ranked = [one.parameter for one in importances(results.best_values)[:_MAX_PARAMETERS]]
    if len(results.scored) < 2 or not ranked:
        return None
    num_rows = -(-len(ranked) // 4)
    num_columns = -(-len(ranked) // num_rows)
    figure = new_figure(height=0.6 + 1.8 * num_rows)
    grid = figure.subplots(num_rows, num_columns, sharey=True, squeeze=False)
    scores_T = np.array([score_of(results, trial) for trial in results.scored])
    for axes, parameter in zip(grid.flat, ranked, strict=False):
        _slice(axes, results, parameter, scores_T)
        _value_axis(axes, parameter, room=88 // num_columns)
    for axes in grid.flat[len(ranked) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        metric_axis(results, axes, scores_T)
    if num_rows > 1:
        for axes in grid[:, 0]:
            axes.set_ylabel("")
        figure.supylabel(METRIC_NAMES[results.metric], fontsize=9)
    whole = Line2D([], [], color=MUTED, marker="o", linestyle="", label="finished")
    cut = Line2D(
        [], [], color=MUTED, marker="o", linestyle="", label="not finished", markerfacecolor="none"
    )
    figure.legend(handles=[whole, cut], loc="outside upper left", ncols=2)
    return figure


def _slice(
    axes: Axes, results: Results, parameter: Parameter, scores_T: NDArray[np.float64]
) -> None:
    trials = list(parameter.values)
    positions = np.array([parameter.position(value) for value in parameter.values.values()])
    if parameter.choices:
        positions = positions + np.random.default_rng(0).uniform(-0.18, 0.18, len(positions))
    colours = SCALE(Normalize(0, max(1, len(scores_T) - 1))(np.array(trials)))
    finished = np.array([results.scored[n].ended == attributes.FINISHED for n in trials])
    size = 16 if len(trials) <= 200 else 6
    order = np.argsort(finished, kind="stable")
    axes.scatter(
        positions[order],
        scores_T[trials][order],
        s=size,
        facecolors=[colours[n] if finished[n] else "none" for n in order],
        edgecolors=colours[order],
        linewidths=0.9,
        rasterized=len(trials) > 300,
    )


def _value_axis(axes: Axes, parameter: Parameter, room: int) -> None:
    """Label the axis with the name and values of the parameter, in at most `room` characters."""
    axes.set_xlabel(path_name(parameter.name, room), labelpad=2)
    if not parameter.choices:
        _number_axis(axes.xaxis, parameter, list(map(float, parameter.values.values())))
        return
    num_choices = len(parameter.choices)
    every = -(-num_choices // 6)
    length = max(3, room // min(num_choices, 6) - 1)
    axes.set_xticks(
        range(0, num_choices, every), [short(c, length) for c in parameter.choices[::every]]
    )
    axes.set_xlim(-0.5, num_choices - 0.5)
    axes.grid(visible=False, axis="x")


def _number_axis(axis: Axis, parameter: Parameter, values: Sequence[float]) -> None:
    scale_for(axis, values, log=parameter.log)
    if not parameter.log:
        whole = all(isinstance(value, int) for value in parameter.values.values())
        axis.set_major_locator(MaxNLocator(4, integer=whole))


@picture(
    "Metric over pairs of parameters",
    "The most important numeric parameters, in pairs. Each point is a trial in the colour of its "
    "metric, the ring is the winner; the background is the weighted mean of the trials nearby "
    f"(the geometric mean for a loss), where there are any. {SHOWN_WINNER}",
    _SOURCES,
)
def contours(results: Results) -> Figure | None:
    """None with fewer than two such parameters, or with too few trials that have both."""
    ranked = [one.parameter for one in importances(results.best_values)]
    numbers = [parameter for parameter in ranked if not parameter.choices]
    pairs = [
        (first, second)
        for first, second in combinations(numbers[:3], 2)
        if _make_a_plane(first, second)
    ]
    scores_T = np.array([score_of(results, trial) for trial in results.scored])
    if not pairs or np.ptp(scores_T) == 0:
        return None
    figure = new_figure(width=min(8.0, 2.4 * len(pairs) + 1.4), height=2.9)
    grid = figure.subplots(1, len(pairs), squeeze=False)[0]
    logs = not results.larger_is_better and scores_T.min() > 0
    colours = ScalarMappable(
        (LogNorm if logs else Normalize)(scores_T.min(), scores_T.max()),
        SCALE if results.larger_is_better else SCALE.reversed(),
    )
    for axes, (first, second) in zip(grid, pairs, strict=True):
        _contour(axes, results, (first, second), scores_T, colours)
    bar = figure.colorbar(colours, ax=grid.tolist(), label=METRIC_NAMES[results.metric])
    bar.outline.set_visible(False)
    if logs:
        few_ticks(bar.ax.yaxis, scores_T.min(), scores_T.max())
    return figure


def _make_a_plane(first: Parameter, second: Parameter) -> bool:
    """Whether enough trials have both parameters, and each parameter varies among them."""
    both = first.values.keys() & second.values.keys()
    varies = all(len({parameter.values[n] for n in both}) > 1 for parameter in (first, second))
    return varies and len(both) >= _MIN_FOR_CONTOURS


def _contour(
    axes: Axes,
    results: Results,
    pair: tuple[Parameter, Parameter],
    scores_T: NDArray[np.float64],
    colours: ScalarMappable,
) -> None:
    both = sorted(pair[0].values.keys() & pair[1].values.keys())
    values_2N = np.array([[float(parameter.values[n]) for n in both] for parameter in pair])
    for axis, parameter, values_N in zip((axes.xaxis, axes.yaxis), pair, values_2N, strict=True):
        _number_axis(axis, parameter, values_N)
    scores_N = scores_T[both]
    style: dict[str, Any] = {"norm": colours.norm, "cmap": colours.cmap}
    x_G, y_G = (_on_axis(p, values_N) for p, values_N in zip(pair, values_2N, strict=True))
    mean_GG = _smooth(pair, values_2N, scores_N, (x_G, y_G), logs=isinstance(colours.norm, LogNorm))
    low, high = np.nanmin(mean_GG), np.nanmax(mean_GG)
    if low < high:
        space = np.geomspace if isinstance(colours.norm, LogNorm) else np.linspace
        axes.contourf(x_G, y_G, mean_GG, levels=space(low, high, 13), alpha=0.6, **style)
    many = len(both) > 200
    axes.scatter(
        values_2N[0], values_2N[1], c=scores_N, s=7 if many else 20, linewidths=0 if many else 0.5,
        edgecolors=INK, rasterized=len(both) > 300, clip_on=False, zorder=3, **style,
    )  # fmt: skip
    winner = winner_of_search(results)
    ringed = [place for place, n in enumerate(both) if results.scored[n] == winner]
    axes.scatter(
        values_2N[0, ringed],
        values_2N[1, ringed],
        s=110,
        facecolors="none",
        edgecolors=INK,
        linewidths=1.4,
        clip_on=False,
    )
    axes.set_xlabel(path_name(pair[0].name, 24))
    axes.set_ylabel(path_name(pair[1].name, 24))
    axes.grid(visible=False)


def _on_axis(parameter: Parameter, values_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Grid points from one end of a parameter's axis to the other."""
    space = np.geomspace if parameter.log else np.linspace
    return space(values_N.min(), values_N.max(), 60)


def _smooth(
    pair: tuple[Parameter, Parameter],
    values_2N: NDArray[np.float64],
    scores_N: NDArray[np.float64],
    grid: tuple[NDArray[np.float64], NDArray[np.float64]],
    *,
    logs: bool,
) -> NDArray[np.float64]:
    """The mean score around each grid point (y, x), by a Gaussian kernel; NaN if no trial is near.

    The width of the kernel follows Scott's rule, for values spread evenly over the axes.
    """
    width = 0.29 * values_2N.shape[1] ** (-1 / 6)
    kernels = []
    for parameter, values_N, places_G in zip(pair, values_2N, grid, strict=True):
        scale = np.log if parameter.log else np.asarray
        span = np.ptp(scale(values_N)) or 1.0
        away_GN = (scale(places_G)[:, np.newaxis] - scale(values_N)) / span
        kernels.append(np.exp(-0.5 * (away_GN / width) ** 2))
    x_GN, y_GN = kernels
    weights_GG = y_GN @ x_GN.T
    scaled_N = np.log(scores_N) if logs else scores_N
    mean_GG = (y_GN * scaled_N) @ x_GN.T / np.maximum(weights_GG, 1e-12)
    mean_GG = np.exp(mean_GG) if logs else mean_GG
    return np.where(weights_GG > np.exp(-2), mean_GG, np.nan)
