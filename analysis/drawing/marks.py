"""What the pictures of a search share: marks of how trials ended, metric axis, winner."""

from collections.abc import Iterable, Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from toprung.analysis.drawing.style import COLOURS, MUTED, short
from toprung.analysis.findings.results import Results
from toprung.analysis.study.trials import METRIC_NAMES, TrialResult
from toprung.analysis.sweep_folder import attributes

ENDS = {
    attributes.FINISHED: (COLOURS[0], "o"),
    attributes.STOPPED_EARLY: (COLOURS[1], "v"),
    attributes.RUNNING: (COLOURS[2], ">"),
    attributes.TIME_BUDGET: (COLOURS[4], "s"),
    attributes.INTERRUPTED: (COLOURS[5], "D"),
    attributes.INFEASIBLE: (MUTED, "+"),
    attributes.FAILED: (COLOURS[7], "x"),
}
"""The colour and the marker of each way in which a trial ends."""
SHOWN_WINNER = (
    "If the winner is a confirmation run, the trial of the search that it confirms is shown."
)
"""For captions: the pictures of a search do not show confirmation runs."""
SCALE = LinearSegmentedColormap.from_list("scale", ["#d9a441", "#45a183", "#2f5fd0"])
"""Colours of lines and points, from small to large values; readable on white and near-black."""
_WIDE = 20.0


def ends_of(trials: Iterable[TrialResult]) -> list[str]:
    """The ways in which these trials ended, in the order of `ENDS`."""
    found = {trial.ended for trial in trials}
    return [ended for ended in ENDS if ended in found]


def end_handle(ended: str) -> Line2D:
    """The legend entry for trials that ended this way."""
    colour, marker = ENDS[ended]
    return Line2D([], [], color=colour, marker=marker, linestyle="", markersize=5, label=ended)


def legend_name(name: object) -> str:
    """A name for a legend, which would leave out one that begins with an underscore."""
    label = short(name)
    return f" {label}" if label.startswith("_") else label


def path_name(path: str, length: int = 28) -> str:
    """The path of a setting as a label; only its end, the distinctive part, if it is too long."""
    label = short(path, len(path))
    return label if len(label) <= length else f"…{label[-(length - 1) :]}"


def score_of(results: Results, trial: TrialResult) -> float:
    """The metric of a scored trial's best validation."""
    return float(getattr(trial.best, results.metric))


def winner_of_search(results: Results) -> TrialResult | None:
    """The trial of the search that won: the winner, or the one that the winner confirms."""
    winner = results.winner
    if winner is None or winner.confirms is None:
        return winner
    return next((trial for trial in results.trials if trial.number == winner.confirms), None)


def winner_name(results: Results) -> str:
    """The winner's name in a legend."""
    winner = results.winner
    confirms = winner.confirms if winner is not None else None
    return "winner" if confirms is None else f"trial {confirms}, which the winner confirms"


def worst_first(results: Results, trials: Sequence[TrialResult]) -> list[TrialResult]:
    """Scored trials in the order of drawing, so that better trials are drawn over worse ones."""
    sign = 1 if results.larger_is_better else -1
    return sorted(trials, key=lambda trial: sign * score_of(results, trial))


def scale_for(axis: Axis, values: Iterable[float], *, log: bool | None = None) -> None:
    """Make an axis logarithmic; by default, only if positive values span a wide range."""
    finite = np.array([value for value in values if np.isfinite(value)])
    positive = len(finite) > 0 and finite.min() > 0
    if positive and (finite.max() / finite.min() > _WIDE if log is None else log):
        axis._set_axes_scale("log")  # type: ignore[attr-defined]
        few_ticks(axis, float(finite.min()), float(finite.max()))


def few_ticks(axis: Axis, low: float, high: float) -> None:
    """Put few ticks on a logarithmic axis: powers of ten, and more if there are few of those."""
    decades = np.log10(high / low)
    places = (1, 2, 5) if decades < 1.3 else (1, 3) if decades < 2.3 else (1,)
    axis.set_major_locator(LogLocator(subs=places, numticks=5))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def metric_axis(results: Results, axes: Axes, values: Iterable[float]) -> None:
    """Label the vertical axis with the metric; a wide range of losses gets a logarithmic scale."""
    axes.set_ylabel(fill(METRIC_NAMES[results.metric], 24))  # wrapped, to fit on low axes too
    if not results.larger_is_better:
        scale_for(axes.yaxis, values)


def time_unit(seconds: float) -> tuple[float, str]:
    """The unit that suits a span of time: its length in seconds, and its name."""
    for size, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 3 * size:
            return size, name
    return 1.0, "seconds"
