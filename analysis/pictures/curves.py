"""Learning curves of all trials and of the values of a parameter; learning rates."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from toprung.analysis.drawing.marks import (
    ENDS,
    SCALE,
    SHOWN_WINNER,
    ends_of,
    legend_name,
    path_name,
    scale_for,
    winner_name,
    winner_of_search,
    worst_first,
)
from toprung.analysis.drawing.picture import picture
from toprung.analysis.drawing.style import ACCENT, COLOURS, INK, MUTED, new_figure, short, styled
from toprung.analysis.findings.comparison import by_value
from toprung.analysis.findings.importance import importances
from toprung.analysis.findings.results import Results
from toprung.analysis.study.curves import Curve
from toprung.analysis.study.trials import TrialResult

_SOURCES = ("trials/*/result.json", "study.db")
_MAX_WITH_TRAINING = 40
_MAX_VALUES = 8
_LOWEST_RATE = 1e-5  # of the highest rate; a schedule may end near zero
_PANELS = (
    ("loss", "train_loss", "val_loss"),
    ("accuracy", "train_accuracy", "val_accuracy"),
)
_PREFERRED = (
    "model/freeze_policy",
    "labels/policy",
    "model/architecture",
    "optimizer/name",
    "loss/name",
)


@picture(
    "Learning curves of all trials",
    "Each line is a trial: validation solid, training dashed (with more than "
    f"{_MAX_WITH_TRAINING} trials, only for the winner). The thick lines are the winner. "
    f"{SHOWN_WINNER} Training figures are means over an epoch, during which the weights still "
    "change, with the loss that is trained on.",
    _SOURCES,
)
def curves_of_all_trials(results: Results) -> Figure | None:
    """None if nothing was validated."""
    shown = [trial for trial in results.trials if trial.number in results.curves]
    if not shown:
        return None
    figure = new_figure()
    winner = winner_of_search(results)
    won = results.curves.get(winner.number) if winner is not None else None
    for axes, (name, train, validation) in zip(figure.subplots(1, 2), _PANELS, strict=True):
        if len(shown) <= _MAX_WITH_TRAINING:
            _thin_lines(axes, results, shown, train, "--")
        _thin_lines(axes, results, shown, validation, "-")
        if won is not None:
            axes.plot(*_figures(won, train), color=INK, linestyle="--", linewidth=1.8)
            axes.plot(*_figures(won, validation), color=INK, linewidth=2.4)
        drawn = [v for t in shown for v in _figures(results.curves[t.number], validation)[1]]
        _epoch_axes(axes, name, drawn)
    handles = [Line2D([], [], color=ENDS[ended][0], label=ended) for ended in ends_of(shown)]
    handles += [
        Line2D([], [], color=INK, linewidth=2.4, label=winner_name(results)),
        Line2D([], [], color=MUTED, label="validation"),
        Line2D([], [], color=MUTED, linestyle="--", label="training"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=7)
    return figure


def _thin_lines(
    axes: Axes, results: Results, trials: Sequence[TrialResult], what: str, style: str
) -> None:
    lines, colours = [], []
    for trial in trials:
        epochs, values = _figures(results.curves[trial.number], what)
        if len(epochs) == 1:  # a point, drawn as a very short line
            epochs, values = np.array([epochs[0] - 0.06, epochs[0] + 0.06]), values.repeat(2)
        lines.append(np.column_stack([epochs, values]))
        colours.append(ENDS[trial.ended][0])
    axes.add_collection(
        LineCollection(
            lines,
            colors=colours,
            linewidths=0.9 if len(trials) <= 100 else 0.6,
            linestyles=style,
            alpha=float(np.clip(20 / len(trials), 0.15, 0.7)) * (0.6 if style == "--" else 1),
            rasterized=len(trials) > 1000,
        )
    )


@picture(
    "Learning curves by value",
    "One colour for each value: the line is the median of its trials at each epoch, the band "
    "extends from the lower to the upper quartile; validation solid, training dashed. Each epoch "
    "includes only the trials that reached it: if poor trials were stopped early, the later "
    f"medians are those of the better trials. With more than {_MAX_VALUES} values, those with the "
    "best trials are shown.",
    _SOURCES,
)
def curves_by_value(results: Results) -> Figure | None:
    """By the requested settings, else by one categorical parameter; None if none varies."""
    return _by_paths(results, _paths(results), best_only=False)


@picture(
    "The best trial of each value",
    "One colour for each value: its best trial; validation solid, training dashed.",
    _SOURCES,
)
def curves_of_best_by_value(results: Results) -> Figure | None:
    """By the requested settings, else by one categorical parameter; None if none varies."""
    return _by_paths(results, _paths(results), best_only=True)


def curves_by(results: Results, path: str) -> Figure | None:
    """Loss and accuracy against epoch, for each value of a setting (median and quartiles).

    Args:
        results: the results of the sweep.
        path: the path of the setting, such as `optimizer/name`; many numbers are grouped into
            ranges.

    Returns:
        The figure; None if no scored trial has the setting, or all have the same value of it.
    """
    with styled():
        return _by_paths(results, [path], best_only=False)


def _paths(results: Results) -> list[str]:
    if results.by:
        return list(results.by)
    choices = [
        one.parameter.name for one in importances(results.best_values) if one.parameter.choices
    ]
    preferred = [path for path in _PREFERRED if path in choices]
    return [*preferred, *choices][:1]


def _by_paths(results: Results, paths: Sequence[str], *, best_only: bool) -> Figure | None:
    shown = [trial for trial in results.scored if trial.number in results.curves]
    found = {path: by_value(shown, path, _MAX_VALUES) for path in paths}
    found = {path: values for path, values in found.items() if len(values) > 1}
    if not found:
        return None
    figure = new_figure(height=3.9 * len(found))
    parts = figure.subfigures(len(found), squeeze=False)[:, 0]
    for part, (path, values) in zip(parts, found.items(), strict=True):
        best = _best_values(results, values)
        _value_panels(part, results, best, best_only=best_only)
        some = "" if len(best) == len(values) else f", the best {len(best)} of {len(values)} values"
        handles = _value_handles(best)
        longest = max(len(str(handle.get_label())) for handle in handles)
        part.legend(
            handles=handles,
            loc="outside upper left",
            ncols=min(4, 110 // (longest + 7)),
            title=f"{path_name(path, 60)}{some} (number of trials)",
            title_fontsize=9,
            alignment="left",
        )
    return figure


def _value_panels(
    part: SubFigure, results: Results, values: Mapping[str, list[TrialResult]], *, best_only: bool
) -> None:
    colours = _colours(list(values))
    for axes, (name, train, validation) in zip(part.subplots(1, 2), _PANELS, strict=True):
        drawn: list[float] = []
        for value, trials in values.items():
            chosen = worst_first(results, trials)[-1:] if best_only else trials
            curves = [results.curves[trial.number] for trial in chosen]
            drawn += _median(axes, curves, train, colours[value], "--")
            drawn += _median(axes, curves, validation, colours[value], "-")
        _epoch_axes(axes, name, drawn)


def _value_handles(values: Mapping[str, list[TrialResult]]) -> list[Patch]:
    colours = _colours(list(values))
    return [
        Patch(color=colours[value], label=legend_name(f"{short(value, 22)} ({len(trials)})"))
        for value, trials in values.items()
    ]


def _best_values(
    results: Results, values: Mapping[str, list[TrialResult]]
) -> dict[str, list[TrialResult]]:
    """The values with the best trials, in the given order."""
    tops = {value: worst_first(results, trials)[-1] for value, trials in values.items()}
    ranked = [trial.number for trial in worst_first(results, list(tops.values()))][-_MAX_VALUES:]
    return {value: values[value] for value, top in tops.items() if top.number in ranked}


def _colours(values: Sequence[str]) -> dict[str, Any]:
    """A colour for each value: a scale for numbers, distinct colours for choices."""
    if len(values) > 2 and all(_is_number(value) for value in values):
        return dict(zip(values, SCALE(np.linspace(0, 1, len(values))), strict=True))
    return dict(zip(values, COLOURS, strict=False))


def _is_number(value: str) -> bool:
    """Whether the text is a number, or a range of numbers."""
    try:
        return all(math.isfinite(float(part)) for part in value.split(" to "))
    except ValueError:
        return False


def _median(axes: Axes, curves: Sequence[Curve], what: str, colour: Any, style: str) -> list[float]:
    """Draw the median (and, for a solid line, the quartiles) at each epoch; return the medians."""
    at: dict[float, list[float]] = {}
    for curve in curves:
        for epoch, value in zip(*_figures(curve, what), strict=True):
            at.setdefault(float(epoch), []).append(float(value))
    if not at:
        return []
    epochs = sorted(at)
    quartiles = np.array([np.quantile(at[epoch], [0.25, 0.5, 0.75]) for epoch in epochs])
    solid = style == "-"
    axes.plot(
        epochs,
        quartiles[:, 1],
        color=colour,
        linestyle=style,
        linewidth=1.8 if solid else 1.0,
        marker="o" if len(epochs) == 1 else None,
        markersize=4 if solid else 2.5,
    )
    if solid and len(curves) > 1:
        axes.fill_between(
            epochs, quartiles[:, 0], quartiles[:, 2], color=colour, alpha=0.13, linewidth=0
        )
    return list(quartiles[:, 1])


def _figures(curve: Curve, what: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The epochs and finite values of one figure of the validations."""
    epochs = np.array([record.epoch for record in curve.records])
    values = np.array([getattr(record, what) for record in curve.records], dtype=float)
    finite = np.isfinite(values)
    return epochs[finite], values[finite]


def _epoch_axes(axes: Axes, name: str, drawn: Sequence[float]) -> None:
    axes.set_xlabel("epoch")
    axes.set_ylabel(name)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    if name == "loss":
        scale_for(axes.yaxis, drawn)
    axes.autoscale_view()


@picture(
    "Learning rate",
    "The learning rate at the end of each epoch: the thick line is the winner, the thin lines are "
    f"the other trials. {SHOWN_WINNER} If the stages of a network have rates of their own, the "
    "rate is that of the highest stage that is trained. Rates below a 100,000th of the highest "
    "rate are not shown.",
    _SOURCES,
)
def learning_rates(results: Results) -> Figure | None:
    """None if no trial changed its learning rate."""
    rates = {number: _figures(curve, "lr") for number, curve in results.curves.items()}
    rates = {number: (e, np.where(v > 0, v, np.nan)) for number, (e, v) in rates.items()}
    if all(len(np.unique(v[np.isfinite(v)])) < 2 for _, v in rates.values()):
        return None
    figure = new_figure(height=3.0)
    axes = figure.add_subplot()
    thin = LineCollection(
        [np.column_stack(line) for line in rates.values() if len(line[0]) > 1],
        colors=ACCENT,
        linewidths=0.8,
        alpha=float(np.clip(20 / len(rates), 0.15, 0.6)),
    )
    axes.add_collection(thin)
    winner = winner_of_search(results)
    if winner is not None and winner.number in rates:
        axes.plot(*rates[winner.number], color=INK, linewidth=2.2, label=winner_name(results))
        figure.legend(loc="outside upper left")
    axes.set_xlabel("epoch")
    axes.set_ylabel("learning rate")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    every = np.concatenate([values for _, values in rates.values()])
    axes.autoscale_view()
    scale_for(axes.yaxis, every)
    axes.set_ylim(bottom=max(np.nanmin(every), np.nanmax(every) * _LOWEST_RATE) * 0.8)
    return figure
