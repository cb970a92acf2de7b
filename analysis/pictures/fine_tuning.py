"""What training changed: the winner's network before its training, and after it.

Drawn only on request (`toprung report --before`), because the untrained network has to be run.

Shape letters: K classes.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from toprung.analysis.drawing.picture import Rows, picture, table
from toprung.analysis.drawing.style import ACCENT, HEAT, MUTED, SECOND, new_figure, short
from toprung.analysis.findings.results import Results
from toprung.analysis.models.scores import Scores
from toprung.analysis.pictures.data import IMAGE_STORE

_MAX_CLASSES = 40
"""The most classes in the picture; of more classes, those that changed most are shown."""
_MAX_NAMED = 25
_SOURCES = ("trials/*/checkpoint_*/checkpoint.pt", IMAGE_STORE)
_BEFORE = (
    "Before: the network at the start of its training, with the weights that it starts from and "
    "the trial's seed. After: the winner. Both on the validation images, by which the winner was "
    "selected."
)


@table(title="Before and after training", caption=_BEFORE, sources=_SOURCES)
def fine_tuning(results: Results) -> Rows | None:
    """Accuracy, loss and mean class accuracy before and after; None if not requested."""
    if results.before_and_after is None:
        return None
    before, after = results.before_and_after
    pairs = (
        (before.accuracy, after.accuracy),
        (before.mean_class_accuracy, after.mean_class_accuracy),
        (before.loss, after.loss),
    )
    rows = ((b.name, b.value, a.value, _change(b.value, a.value)) for b, a in pairs)
    return Rows(("validation", "before", "after", "change"), tuple(rows))


@table(
    title="Each class before and after training",
    caption="The recall of each class: the share of its validation images classified correctly.",
    sources=_SOURCES,
)
def fine_tuning_of_classes(results: Results) -> Rows | None:
    """A row for each class; None if not requested."""
    if results.before_and_after is None:
        return None
    before, after = results.before_and_after
    rows = (
        (b.name, b.support, b.recall, a.recall, _change(b.recall, a.recall))
        for b, a in zip(before.classes, after.classes, strict=True)
    )
    return Rows(("class", "images", "before", "after", "change"), tuple(rows))


@picture(
    title="Accuracy of each class before and after training",
    caption=(
        "The recall of each class: the share of its validation images classified correctly. With "
        "more than 40 classes, the 40 that changed most are shown."
    ),
    sources=_SOURCES,
)
def class_accuracies(results: Results) -> Figure | None:
    """A line from before to after for each class; None if not requested."""
    if results.before_and_after is None:
        return None
    before, after = results.before_and_after
    recalls = [
        (a.name, b.recall, a.recall)
        for b, a in zip(before.classes, after.classes, strict=True)
        if b.recall is not None and a.recall is not None
    ]
    most_changed = sorted(recalls, key=lambda r: -abs(r[2] - r[1]))[:_MAX_CLASSES]
    shown = [recall for recall in recalls if recall in most_changed]
    names, old, new = zip(*shown, strict=True)
    rows = range(len(shown))
    figure = new_figure(height=1.1 + 0.2 * len(shown))
    axes = figure.add_subplot()
    axes.hlines(rows, old, new, color=MUTED, linewidth=1)
    axes.plot(old, rows, "o", color=SECOND, label="before", markersize=5)
    axes.plot(new, rows, "o", color=ACCENT, label="after", markersize=5)
    axes.set_yticks(rows, [short(name) for name in names])
    axes.set(xlim=(-0.02, 1.02), ylim=(len(shown) - 0.5, -0.5), xlabel="class accuracy")
    figure.legend(loc="outside upper right", ncols=2)
    return figure


@picture(
    title="Confusion matrices before and after training",
    caption=(
        "Rows are true classes, columns predicted classes; the colour is the share of the true "
        "class's validation images, on a scale that makes small shares visible."
    ),
    sources=_SOURCES,
)
def confusion_before_and_after(results: Results) -> Figure | None:
    """Two confusion matrices side by side; None if not requested."""
    if results.before_and_after is None:
        return None
    before, after = results.before_and_after
    names = before.predictions.class_names
    labels = {k: short(names[k], 16) for k in range(0, len(names), -(-len(names) // _MAX_NAMED))}
    figure = new_figure(height=3.9 + 0.07 * max(map(len, labels.values())))
    left, right = figure.subplots(1, 2, sharey=True)
    _draw_shares(left, before, "before", labels)
    image = _draw_shares(right, after, "after", labels)
    bar = figure.colorbar(image, ax=[left, right], shrink=0.7, aspect=30)
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    return figure


def _draw_shares(axes: Axes, scores: Scores, title: str, labels: dict[int, str]) -> AxesImage:
    shares_KK = scores.confusion_KK / np.maximum(scores.support_K, 1)[:, None]
    norm = PowerNorm(0.5, 0, 1)
    image = axes.imshow(shares_KK, cmap=HEAT, norm=norm, interpolation="none")
    axes.grid(visible=False)
    axes.set(xlabel="predicted class", title=title)
    axes.set_xticks(list(labels), list(labels.values()), rotation=90, fontsize=7)
    axes.set_yticks(list(labels), list(labels.values()), fontsize=7)
    return image


def _change(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before
