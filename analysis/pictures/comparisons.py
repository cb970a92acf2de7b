"""The results of the values of each setting, side by side."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from toprung.analysis.drawing.marks import path_name, scale_for
from toprung.analysis.drawing.picture import Cell, Rows, picture, table
from toprung.analysis.drawing.style import ACCENT, INK, MUTED, SECOND, new_figure, short
from toprung.analysis.findings.comparison import (
    Group,
    by_value,
    check_paths,
    group_of,
    in_order,
    openings_of,
)
from toprung.analysis.findings.importance import Parameter, importances
from toprung.analysis.findings.results import Results
from toprung.analysis.seal.openings import TestResult
from toprung.analysis.study.trials import METRIC_NAMES, TrialResult

_MAX_VALUES = 8
_MAX_DRAWN = 40
_MIN_FOR_RANGES = 8
"""The number of different values from which on a numeric setting is shown in ranges."""
_TEST_COLUMNS = ("tested", "test acc", "test loss", "forced")
_SPREAD = ("trials", "best", "median", "lower quartile", "upper quartile", "worst")


@picture(
    "Values compared",
    "For each value of a setting: the best trial (dot), the median (line), the quartiles (thick "
    "bar) and the worst (end of the thin line); on the right the number of trials. Other settings "
    "also vary within a row, and poor trials were stopped early. Categorical settings come first; "
    "numeric settings whose values do not repeat are grouped into ranges, and left out if they "
    f"have fewer than {_MIN_FOR_RANGES} values. The first {_MAX_DRAWN} rows are drawn; the table "
    "has all rows.",
    ("study.db",),
)
def values_compared(results: Results) -> Figure | None:
    """None if no setting has several values."""
    found = _compared(results)
    if not found:
        return None
    rows = [(path, value, group) for path, values in found.items() for value, group in values]
    rows = rows[:_MAX_DRAWN]
    figure = new_figure(height=1.0 + 0.21 * len(rows) + 0.08 * len({path for path, _, _ in rows}))
    axes = figure.add_subplot()
    places, names, place = [], [], 0.0
    for number, (path, value, group) in enumerate(rows):
        first = number == 0 or rows[number - 1][0] != path
        place += 1.5 if first and number else 1.0
        places.append(place)
        names.append(f"{path_name(path)}  =  {short(value, 24)}" if first else short(value, 24))
        best = float(getattr(group.best.best, results.metric))
        quartiles = [group.lower_quartile, group.upper_quartile]
        axes.plot([best, group.worst], [place] * 2, color=MUTED, linewidth=1)
        axes.plot(quartiles, [place] * 2, color=ACCENT, linewidth=5, solid_capstyle="butt")
        axes.plot([group.median], [place], color=INK, marker="|", markersize=9)
        axes.plot([best], [place], color=SECOND, marker="o", markersize=5)
        axes.text(
            1.01, place, f"{group.num_trials}", transform=axes.get_yaxis_transform(), va="center",
            fontsize=8, color=MUTED,
        )  # fmt: skip
    axes.set_yticks(places, names)
    axes.set_ylim(place + 0.8, 0.2)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(METRIC_NAMES[results.metric])
    if not results.larger_is_better:
        scale_for(axes.xaxis, [group.worst for *_, group in rows])
    figure.legend(handles=_handles(), loc="outside upper left", ncols=4)
    return figure


def _handles() -> list[Line2D]:
    return [
        Line2D([], [], color=SECOND, marker="o", markersize=5, linestyle="", label="best"),
        Line2D([], [], color=INK, marker="|", markersize=9, linestyle="", label="median"),
        Line2D([], [], color=ACCENT, linewidth=5, label="quartiles"),
        Line2D([], [], color=MUTED, linewidth=1, label="best to worst"),
    ]


@table(
    "Comparison in figures",
    "Each trial counts with its best epoch; the columns from `trial` on describe the best trial "
    "with the value. `acc gap` is training minus validation accuracy. `loss gap` is validation "
    "minus training loss, and is meaningful only if both are the same loss: the training loss is "
    "the one trained on. Only values with a model for which the test set was opened have test "
    "figures: `tested` is that trial, or the run that confirmed it.",
    ("study.db", "sealed_test.json"),
)
def comparison_table(results: Results) -> Rows | None:
    """None if no setting has several values."""
    found = _compared(results)
    if not found:
        return None
    rows = []
    for path, values in found.items():
        for value, group in values:
            best = {"best": float(getattr(group.best.best, results.metric))}
            figures = best | group.figures
            figures = {name: figures[name] for name in _SPREAD} | figures
            rows.append((path, value, figures))
    columns = dict.fromkeys(name for *_, figures in rows for name in figures)
    names = sorted(columns, key=lambda name: name in _TEST_COLUMNS)
    cells: list[tuple[Cell, ...]] = [
        (path, value, *(figures.get(name) for name in names)) for path, value, figures in rows
    ]
    return Rows(("setting", "value", *names), tuple(cells))


def _compared(results: Results) -> dict[str, list[tuple[str, Group]]]:
    """The values of each setting, the best first.

    Raises:
        SweepFolderError: if no trial has one of the settings in `results.by`.
    """
    if not results.scored:
        return {}
    check_paths(results.by, results.scored)
    openings = openings_of(results.sweep, results.seal)
    found = {}
    most_values = dict.fromkeys(results.by, _MAX_VALUES) | _settings(results)
    for path, most in most_values.items():
        members = by_value(results.scored, path, most)
        if len(members) > 1 or path in results.by:
            found[path] = _ranked(results, members, openings)
    return found


def _settings(results: Results) -> dict[str, int]:
    """The settings to compare: choices, the most important first, labels, and numbers.

    Each with the largest number of its values that are shown one by one; more are grouped into
    ranges.
    """
    ranked = [one.parameter for one in importances(results.best_values)]
    choices = {p.name: _MAX_VALUES for p in ranked if p.choices}
    labels = {
        f"labels/{name}": _MAX_VALUES
        for trial in results.scored
        if trial.config is not None
        for name in trial.config.labels
    }
    numbers = {p.name: _num_ungrouped(p) for p in ranked if not p.choices}
    return choices | labels | {name: most for name, most in numbers.items() if most}


def _num_ungrouped(number: Parameter) -> int:
    """How many values of a number are shown one by one; 0 if the number is left out."""
    num_values = len(set(number.values.values()))
    if num_values <= min(_MAX_VALUES, len(number.values) / 2):
        return _MAX_VALUES
    return 1 if num_values >= _MIN_FOR_RANGES else 0


def _ranked(
    results: Results, members: dict[str, list[TrialResult]], openings: Mapping[int, TestResult]
) -> list[tuple[str, Group]]:
    groups = [
        group_of((value,), trials, results.metric, openings) for value, trials in members.items()
    ]
    best_first = in_order(groups, results.metric)
    return [(group.values[0], group) for group in best_first]
