"""Training step by step: the loss, and the norms of gradient and update."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from toprung.analysis.drawing.marks import scale_for, worst_first
from toprung.analysis.drawing.picture import picture
from toprung.analysis.drawing.style import ACCENT, SECOND, new_figure
from toprung.analysis.findings.results import Results
from toprung.analysis.study.trials import TrialResult

_SOURCES = ("trials/*/result.json", "study.db")


@picture(
    "Loss step by step",
    "The training loss at each logged step, for the best and the worst of the trials that logged "
    "steps. Thin lines: the logged values; thick lines: smoothed.",
    _SOURCES,
)
def loss_per_step(results: Results) -> Figure | None:
    """None if no scored trial logged its steps."""
    shown = _best_and_worst(results)
    if not shown:
        return None
    figure = new_figure(height=3.2)
    axes = figure.add_subplot()
    _step_lines(axes, results, shown, "loss")
    figure.legend(handles=_step_handles(shown), loc="outside upper left", ncols=2)
    return figure


@picture(
    "Norms of gradient and update",
    "The norm of the gradient, and of the change of the weights, at each logged step, for the best "
    "and the worst of the trials that logged steps. Thin lines: the logged values; thick lines: "
    "smoothed.",
    _SOURCES,
)
def norms_per_step(results: Results) -> Figure | None:
    """None if no scored trial logged its steps."""
    shown = _best_and_worst(results)
    if not shown:
        return None
    figure = new_figure(height=3.2)
    left, right = figure.subplots(1, 2)
    _step_lines(left, results, shown, "gradient_norm", log=True)
    _step_lines(right, results, shown, "update_norm", log=True)
    figure.legend(handles=_step_handles(shown), loc="outside upper left", ncols=2)
    return figure


def _best_and_worst(results: Results) -> dict[str, TrialResult]:
    """The best and the worst of the scored trials that logged steps."""
    logged = [
        trial
        for trial in worst_first(results, results.scored)
        if trial.number in results.curves and results.curves[trial.number].steps
    ]
    if not logged:
        return {}
    worst = {"worst": logged[0]} if len(logged) > 1 else {}
    return {"best": logged[-1], **worst}


def _step_lines(
    axes: Axes,
    results: Results,
    shown: Mapping[str, TrialResult],
    what: str,
    *,
    log: bool | None = None,
) -> None:
    drawn: list[float] = []
    for (_, trial), colour in zip(shown.items(), (ACCENT, SECOND), strict=False):
        logged = results.curves[trial.number].steps
        steps = np.array([step.step for step in logged])
        values = np.array([getattr(step, what) for step in logged], dtype=float)
        values[~np.isfinite(values)] = np.nan
        axes.plot(
            steps, values, color=colour, linewidth=0.5, alpha=0.5, rasterized=len(steps) > 5000
        )
        width = max(1, len(steps) // 50)
        smooth = np.convolve(values, np.ones(width) / width, "valid")
        axes.plot(steps[width // 2 :][: len(smooth)], smooth, color=colour, linewidth=1.8)
        drawn += values[np.isfinite(values)].tolist()
    axes.set_xlabel("step")
    axes.set_ylabel(what.replace("_", " "))
    scale_for(axes.yaxis, drawn, log=log)


def _step_handles(shown: Mapping[str, TrialResult]) -> list[Line2D]:
    return [
        Line2D([], [], color=colour, linewidth=1.8, label=f"{which}: trial {trial.number}")
        for (which, trial), colour in zip(shown.items(), (ACCENT, SECOND), strict=False)
    ]
