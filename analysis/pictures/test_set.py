"""The winner on the test set; nothing of it before the set was opened for the winner."""

from matplotlib.figure import Figure

from toprung.analysis.drawing.picture import Rows, picture, table
from toprung.analysis.drawing.shown_images import draw_mistakes, draw_random
from toprung.analysis.findings.results import Results
from toprung.analysis.pictures.classification import (
    MAX_NUMBERED,
    draw_calibration,
    draw_confusion,
    draw_rocs,
)

SOURCES = ("sealed_test.json", "test_predictions/*.npz")
NUM_CONFUSED = 20
OF_PROBABILITIES = {"loss", "expected calibration error"}
"""Figures that mean nothing of an SVM, whose outputs are votes."""


@table(
    title="The winner on the test set",
    caption=(
        "With 95 % intervals: of the accuracy Wilson's (1927); of the loss, a mean over images, "
        "the normal distribution's; of the mean class accuracy Wilson's for the number of images "
        "that would give one share its variance (Korn and Graubard, 1998); of the macro AUC, the "
        "mean of the classes' areas one against the rest, DeLong's (1988). The expected "
        "calibration error (Guo et al., 2017, 15 bins) has none: chance only ever adds to it. "
        "Intervals tell what other test images might have given, not what another training might."
    ),
    sources=SOURCES,
)
def test_figures(results: Results) -> Rows | None:
    """Accuracy, loss, mean class accuracy, macro AUC, calibration error."""
    if results.test_scores is None:
        return None
    shown = [
        figure
        for figure in results.test_scores.figures
        if results.gives_probabilities or figure.name not in OF_PROBABILITIES
    ]
    return Rows(
        ("", "value", "95 % from", "to"), tuple((f.name, f.value, f.low, f.high) for f in shown)
    )


@table(
    title="Each class of the test set",
    caption=(
        "Recall is the share of the class's images that were recognised, with its Wilson interval; "
        "precision the share of the images taken for the class that are of it; accuracy the share "
        "of all images rightly said to be of the class or not; AUC the area under the class's "
        "one-vs-rest ROC curve."
    ),
    sources=SOURCES,
)
def test_classes(results: Results) -> Rows | None:
    """Precision, recall, accuracy, AUC and number of images of each class."""
    if results.test_scores is None:
        return None
    columns = ("class", "images", "recall", "95 % from", "to", "precision", "accuracy", "AUC")
    rows = (
        (c.name, c.support, c.recall, c.recall_low, c.recall_high, c.precision, c.accuracy, c.auc)
        for c in results.test_scores.classes
    )
    return Rows(columns, tuple(rows))


@picture(
    title="Confusion matrix of the test set",
    caption=(
        "Rows are true classes, columns what the model took their images for. The colour is the "
        "share of the true class's images; its scale is stretched where shares are small, so that "
        "rare mistakes show. Numbers, where there is room, are images."
    ),
    sources=SOURCES,
)
def test_confusion(results: Results) -> Figure | None:
    """The confusion matrix."""
    return draw_confusion(results.test_scores) if results.test_scores else None


@table(
    title="Classes that were confused most often",
    caption=f"The {NUM_CONFUSED} most frequent mistakes; shares are of the true class's images.",
    sources=SOURCES,
)
def test_confused(results: Results) -> Rows | None:
    """The most confused pairs, where the matrix is too large for numbers; None without mistakes."""
    scores = results.test_scores
    if scores is None or len(scores.predictions.class_names) <= MAX_NUMBERED:
        return None
    pairs = scores.most_confused(NUM_CONFUSED)
    rows = tuple((pair.true, pair.predicted, pair.count, pair.share) for pair in pairs)
    return Rows(("true class", "taken for", "images", "share"), rows) if rows else None


@picture(
    title="ROC curves of the test set",
    caption=(
        "Each class against the rest, as the threshold on its probability falls. Up to eight "
        "classes all are named, of more the five with the smallest area (AUC); the dashed line is "
        "the mean of all. Classes without images have no curve."
    ),
    sources=SOURCES,
)
def test_rocs(results: Results) -> Figure | None:
    """One-vs-rest ROC curves; None if no class has one."""
    return draw_rocs(results.test_scores) if results.test_scores else None


@picture(
    title="Calibration on the test set",
    caption=(
        "Images in 15 bins by the model's probability of its first choice: how many of them are "
        "right, and how many there are. Below the diagonal the model is too sure of itself. The "
        "expected calibration error is the mean distance from the diagonal over all images."
    ),
    sources=SOURCES,
)
def test_calibration(results: Results) -> Figure | None:
    """A reliability diagram; None of an SVM, whose outputs are no probabilities."""
    if results.test_scores is None or not results.gives_probabilities:
        return None
    return draw_calibration(results.test_scores)


@picture(
    title="Test images drawn at random",
    caption=(
        "Not chosen by anyone: drawn with the model's seed, as the network sees them but for its "
        "normalisation. ✓ is right, ✗ is wrong, with the true class below."
    ),
    sources=SOURCES,
)
def test_random_images(results: Results) -> Figure | None:
    """A grid of images with their predictions."""
    return draw_random(results.test) if results.test else None


@picture(
    title="Wrongly classified test images",
    caption=(
        "The mistakes that the model was surest of, at most 30: the true class with the "
        "probability that the model gave it, then the three most probable classes. Some labels may "
        "be wrong rather than the model."
    ),
    sources=SOURCES,
)
def test_mistakes(results: Results) -> Figure | None:
    """The surest mistakes; None without any."""
    return draw_mistakes(results.test) if results.test else None
