"""What the pictures of a search share: how a trial's end looks, the metric's axis, its winner."""

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
SHOWN_WINNER = "A winner that confirms a trial is shown by that trial of the search."
"""For the captions: the pictures of a search show no runs that confirm its trials."""
SCALE = LinearSegmentedColormap.from_list("scale", ["#d9a441", "#45a183", "#2f5fd0"])
"""Of lines and points, from little to much; readable on white and on near-black."""
_WIDE = 20.0


def ends_of(trials: Iterable[TrialResult]) -> list[str]:
    """The ways in which these trials ended, in the order of `ENDS`."""
    found = {trial.ended for trial in trials}
    return [ended for ended in ENDS if ended in found]


def end_handle(ended: str) -> Line2D:
    """What stands in a legend for trials that ended so."""
    colour, marker = ENDS[ended]
    return Line2D([], [], color=colour, marker=marker, linestyle="", markersize=5, label=ended)


def legend_name(name: object) -> str:
    """A name for a legend, which would leave out one that begins with an underscore."""
    label = short(name)
    return f" {label}" if label.startswith("_") else label


def path_name(path: str, length: int = 28) -> str:
    """The path of a setting as a label: its end, which tells it from others, if it is too long."""
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
    """What a legend calls it."""
    winner = results.winner
    confirms = winner.confirms if winner is not None else None
    return "winner" if confirms is None else f"trial {confirms}, which the winner confirms"


def worst_first(results: Results, trials: Sequence[TrialResult]) -> list[TrialResult]:
    """Scored trials in the order of drawing: the better ones lie over the others."""
    sign = 1 if results.larger_is_better else -1
    return sorted(trials, key=lambda trial: sign * score_of(results, trial))


def scale_for(axis: Axis, values: Iterable[float], *, log: bool | None = None) -> None:
    """Make an axis logarithmic: if asked to, or where positive values span a wide range."""
    finite = np.array([value for value in values if np.isfinite(value)])
    positive = len(finite) > 0 and finite.min() > 0
    if positive and (finite.max() / finite.min() > _WIDE if log is None else log):
        axis._set_axes_scale("log")  # type: ignore[attr-defined]
        few_ticks(axis, float(finite.min()), float(finite.max()))


def few_ticks(axis: Axis, low: float, high: float) -> None:
    """Ticks of a logarithmic axis: at the powers of ten, or at more places within few of them."""
    decades = np.log10(high / low)
    places = (1, 2, 5) if decades < 1.3 else (1, 3) if decades < 2.3 else (1,)
    axis.set_major_locator(LogLocator(subs=places, numticks=5))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def metric_axis(results: Results, axes: Axes, values: Iterable[float]) -> None:
    """Name the vertical axis after the metric; a loss that spans much is on a log scale."""
    axes.set_ylabel(fill(METRIC_NAMES[results.metric], 24))  # of low axes too
    if not results.larger_is_better:
        scale_for(axes.yaxis, values)


def time_unit(seconds: float) -> tuple[float, str]:
    """The unit that fits a span of time: how many seconds it has, and its name."""
    for size, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 3 * size:
            return size, name
    return 1.0, "seconds"
