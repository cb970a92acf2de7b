"""The axes and lines of parallel coordinates.

Optuna's own plot leaves out every trial that lacks a parameter.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from toprung.analysis.drawing.marks import SCALE
from toprung.analysis.drawing.style import INK, MUTED, PAPER, short
from toprung.analysis.findings.importance import Parameter

_MAX_CHOICES = 12
_ABSENT = -0.12  # the height of the lane of trials that lack a parameter


def goodness(scores_T: NDArray[np.float64], *, larger_is_better: bool) -> NDArray[np.float64]:
    """Scores from 0 (worst) to 1 (best); a loss on a logarithmic scale."""
    scaled_T = scores_T if larger_is_better else -np.log(np.maximum(scores_T, 1e-9))
    span = np.ptp(scaled_T)
    return (scaled_T - scaled_T.min()) / span if span else np.ones_like(scaled_T)


def heights(parameter: Parameter, num_trials: int) -> NDArray[np.float64]:
    """Where each trial crosses the axis (0..1); choices are jittered, absent values lie below."""
    spread_T = np.random.default_rng(0).uniform(-1, 1, num_trials)
    heights_T = _ABSENT + 0.015 * spread_T
    if not parameter.choices:
        positions = _axis_positions(parameter, list(parameter.values.values()))
        low, span = positions.min(), np.ptp(positions)
        heights_T[list(parameter.values)] = (positions - low) / span
        return heights_T
    step = 1 / (len(parameter.choices) - 1)
    for trial, value in parameter.values.items():
        inside = spread_T[trial] * min(0.03, 0.2 * step)
        heights_T[trial] = parameter.position(value) * step + inside
    return heights_T


def _axis_positions(parameter: Parameter, values: Sequence[Any]) -> NDArray[np.float64]:
    positions = np.array([parameter.position(value) for value in values])
    return np.log10(positions) if parameter.log else positions


def draw_lines(axes: Axes, heights_TP: NDArray[np.float64], good_T: NDArray[np.float64]) -> None:
    """A line for each trial across the axes, coloured by how good it is."""
    num_trials, num_axes = heights_TP.shape
    places = np.broadcast_to(np.arange(num_axes), heights_TP.shape)
    axes.add_collection(
        LineCollection(
            list(np.stack([places, heights_TP], axis=2)),
            colors=SCALE(good_T),
            linewidths=1.1 if num_trials <= 100 else 0.7,
            alpha=float(np.clip(30 / num_trials, 0.25, 0.9)),
            rasterized=num_trials > 2000,
        ),
    )
    axes.set_ylim(heights_TP.min() - 0.03, heights_TP.max() + 0.03)


def parameter_axis(
    axes: Axes, place: int, parameter: Parameter, room: int, *, has_absent: bool
) -> None:
    """An axis with its values, each of at most `room` characters."""
    axes.plot([place, place], [0, 1], color=MUTED, linewidth=1)
    if parameter.choices:
        last = len(parameter.choices) - 1
        every = max(1, -(-len(parameter.choices) // _MAX_CHOICES))
        labels = [
            (n / last, short(choice, room))
            for n, choice in enumerate(parameter.choices)
            if n % every == 0
        ]
    else:
        values = sorted(map(float, parameter.values.values()))
        labels = [(0.0, _short_number(values[0])), (1.0, _short_number(values[-1]))]
        middle = np.sqrt(values[0] * values[-1]) if parameter.log else (values[0] + values[-1]) / 2
        labels.append((0.5, _short_number(middle)))
    if has_absent:
        labels.append((_ABSENT, "absent"))
    _axis_labels(axes, place, labels)


def _short_number(number: float) -> str:
    """A number with three digits, without an exponent unless it is very small or large."""
    return f"{float(f'{number:.3g}'):g}"


def score_axis(
    axes: Axes, place: int, scores_T: NDArray[np.float64], *, larger_is_better: bool
) -> None:
    """The axis of the metric, with the best value at the top."""
    axes.plot([place, place], [0, 1], color=INK, linewidth=1.2)
    low, high = float(scores_T.min()), float(scores_T.max())
    if larger_is_better:
        labels = [(share, f"{low + share * (high - low):.3f}") for share in (0, 0.25, 0.5, 0.75, 1)]
    else:
        low = max(low, 1e-9)
        labels = [(share, f"{high * (low / high) ** share:.3g}") for share in (0, 0.5, 1)]
    _axis_labels(axes, place, labels)


def name_axes(axes: Axes, names: Sequence[str]) -> None:
    """Write the slanted names of the axes above them; hide ticks, grid and frame."""
    axes.set_xticks(range(len(names)), names)
    axes.tick_params(axis="x", top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    for label in axes.get_xticklabels():
        label.set(rotation=22, ha="left", va="bottom", rotation_mode="anchor", color=INK)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_xlim(-0.15, len(names) - 0.45)


def _axis_labels(axes: Axes, place: int, labels: Sequence[tuple[float, str]]) -> None:
    for height, text in labels:
        axes.text(
            place + 0.04,
            height,
            text,
            fontsize=7,
            va="center",
            bbox={"facecolor": PAPER, "alpha": 0.75, "edgecolor": "none", "pad": 0.8},
        )
