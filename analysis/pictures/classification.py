"""Drawing how well a model distinguishes classes, on any labelled images.

Shape letters: K classes, B bins of confidence.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray

from toprung.analysis.drawing.marks import legend_name
from toprung.analysis.drawing.style import (
    ACCENT,
    COLOURS,
    GRID,
    HEAT,
    INK,
    MUTED,
    SECOND,
    WIDTH,
    new_figure,
    on_heat,
    short,
)
from toprung.analysis.models.intervals import share_interval
from toprung.analysis.models.scores import NUM_BINS, Roc, Scores

MAX_NUMBERED = 20
"""The largest number of classes for which a confusion matrix has a number in each cell."""
MAX_NAMED = 50
"""The largest number of classes for which each row of a confusion matrix is labelled."""
_MAX_TICKS = 25
_NUM_WORST = 5
_ZOOM = 0.2
_MACRO = "macro average"


def draw_confusion(scores: Scores) -> Figure:
    """The confusion matrix: true classes down, predicted classes across.

    Colours are shares of the true class, on a scale that makes small shares visible. With up to
    `MAX_NUMBERED` classes, each cell shows its number of images.
    """
    names = scores.predictions.class_names
    is_small = len(names) <= MAX_NUMBERED
    ticks = _Ticks(names)
    cells = min(WIDTH - 1.7 - ticks.inches, 0.9 + 0.42 * len(names))
    ticks.upright = ticks.inches > 0.9 * cells / len(ticks.labels)
    below = ticks.inches if ticks.upright else 0.2
    figure = new_figure(cells + ticks.inches + 1.7, cells + below + 0.5)
    axes = figure.add_subplot()
    shares_KK = scores.confusion_KK / np.maximum(scores.support_K, 1)[:, None]
    norm = PowerNorm(0.5, 0, 1)
    image = axes.imshow(shares_KK, cmap=HEAT, norm=norm, interpolation="none", aspect="equal")
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)
    axes.set(xlabel="predicted class", ylabel="true class")
    ticks.put_on(axes)
    if is_small:
        _write_counts(axes, scores, norm(shares_KK))
    bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=25, ticks=[0, 0.01, 0.05, 0.2, 0.5, 1])
    bar.set_label("share of the true class")
    bar.ax.set_yticklabels(["0", "1 %", "5 %", "20 %", "50 %", "100 %"])
    bar.outline.set_visible(False)
    return figure


class _Ticks:
    """The names of classes beside a matrix: of every class, or of as many as there is room for."""

    def __init__(self, names: tuple[str, ...]) -> None:
        step = 1 if len(names) <= MAX_NAMED else -(-len(names) // _MAX_TICKS)
        self.positions = range(0, len(names), step)
        self.labels = [short(names[k], 16) for k in self.positions]
        self.size = 8 if len(names) <= MAX_NUMBERED else 6.5
        self.length = 0 if step == 1 else 3
        longest = max(map(len, self.labels))
        self.inches = longest * self.size / 72 * 0.62
        self.upright = False

    def put_on(self, axes: Axes) -> None:
        """Label the ticks of both axes."""
        turn = 90 if self.upright else 0
        axes.set_xticks(self.positions, self.labels, fontsize=self.size, rotation=turn)
        axes.set_yticks(self.positions, self.labels, fontsize=self.size)
        axes.tick_params(length=self.length)


def _write_counts(axes: Axes, scores: Scores, shades_KK: NDArray[np.float64]) -> None:
    size = 9 if len(shades_KK) <= 12 else 6.5
    for (row, column), count in np.ndenumerate(scores.confusion_KK):
        if count:
            axes.text(
                column,
                row,
                str(count),
                ha="center",
                va="center",
                fontsize=size,
                color=on_heat(float(shades_KK[row, column])),
            )


def draw_rocs(scores: Scores) -> Figure | None:
    """One-vs-rest ROC curves, and their upper left corner; None if no class has a curve.

    With up to eight classes, each has a colour. With more, only the worst have colours and names,
    and the others are thin grey lines. The macro average is the mean true positive rate at each
    false positive rate.
    """
    rocs = sorted((roc for roc in scores.rocs if roc), key=lambda roc: roc.auc)
    if not rocs:
        return None
    coloured = rocs if len(rocs) <= len(COLOURS) else rocs[:_NUM_WORST]
    others = rocs[len(coloured) :]
    figure = new_figure(height=4.6 + 0.18 * (len(coloured) // 3))
    figure.set_layout_engine("constrained", w_pad=0.12)
    whole, corner = figure.subplots(1, 2)
    for axes in (whole, corner):
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":")
        for roc in others:
            axes.plot(roc.false_rates, roc.true_rates, color=GRID, linewidth=0.6)
        for roc, colour in zip(coloured, COLOURS, strict=False):
            axes.plot(roc.false_rates, roc.true_rates, color=colour, label=_label(roc))
        _draw_macro(axes, rocs, scores.macro_auc.value)
        axes.set_aspect("equal")
        axes.set(xlabel="false positive rate", ylabel="true positive rate")
    whole.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), title="all")
    corner.set(xlim=(0, _ZOOM), ylim=(1 - _ZOOM, 1.002), title="upper left corner")
    corner.xaxis.set_major_locator(MultipleLocator(0.05))
    corner.yaxis.set_major_locator(MultipleLocator(0.05))
    lines, labels = whole.get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=3)
    return figure


def _label(roc: Roc) -> str:
    return f"{legend_name(short(roc.name, 24))} (AUC {roc.auc:.4f})"


def _draw_macro(axes: Axes, rocs: list[Roc], area: float | None) -> None:
    false_rates = np.unique(np.concatenate([np.linspace(0, 1, 201), np.linspace(0, _ZOOM, 201)]))
    true_rates = np.mean(
        [np.interp(false_rates, r.false_rates, r.true_rates) for r in rocs], axis=0
    )
    label = f"{_MACRO} of {len(rocs)} (AUC {area:.4f})"
    false_rates, true_rates = np.insert(false_rates, 0, 0), np.insert(true_rates, 0, 0)
    axes.plot(false_rates, true_rates, color=INK, linewidth=1.8, linestyle="--", label=label)


def draw_calibration(scores: Scores) -> Figure:
    """A reliability diagram over the number of images in each bin of confidence."""
    reliability = scores.reliability
    figure = new_figure(6.0, 5.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    filled = np.flatnonzero(reliability.counts_B)
    counts_B, hits_B = reliability.counts_B[filled], reliability.hits_B[filled]
    shares_B = hits_B / counts_B
    pairs = zip(hits_B.tolist(), counts_B.tolist(), strict=True)
    intervals_B2 = np.array([share_interval(hits, count) for hits, count in pairs])
    centres_B = (filled + 0.5) / NUM_BINS
    above.plot([0, 1], [0, 1], color=MUTED, linestyle=":", linewidth=1, label="perfect calibration")
    above.bar(centres_B, shares_B, 0.9 / NUM_BINS, color=ACCENT, alpha=0.35)
    above.errorbar(
        reliability.confidence_B[filled],
        shares_B,
        np.abs(intervals_B2 - shares_B[:, None]).T,
        fmt="o",
        markersize=4,
        linewidth=1,
        capsize=2,
        color=ACCENT,
        label="accuracy with its 95 % interval, at the mean confidence",
    )
    above.set(ylabel="accuracy", ylim=(0, 1.03), xlim=(0, 1))
    above.set_title(
        f"expected calibration error {reliability.error:.4f}\n"
        f"(expected of a perfectly calibrated model: {scores.calibration_error_by_chance:.4f})"
    )
    figure.legend(*above.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    bars = below.bar(centres_B, counts_B, 0.9 / NUM_BINS, color=SECOND)
    below.bar_label(bars, [f"{count:,}" for count in counts_B], fontsize=7, color=MUTED, padding=1)
    below.set(xlabel="confidence in the predicted class", ylabel="images")
    below.margins(y=0.25)
    return figure
