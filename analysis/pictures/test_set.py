"""The winner on the test set; nothing is shown before the test set was opened for the winner."""

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
"""Figures that are meaningless for an SVM, whose outputs are votes."""


@table(
    title="The winner on the test set",
    caption=(
        "With 95 % intervals: for the accuracy, Wilson's (1927); for the loss, a mean over images, "
        "the normal approximation; for the mean class accuracy, Wilson's with the effective number "
        "of images (Korn and Graubard, 1998); for the macro AUC, the mean of the one-vs-rest areas "
        "of the classes, DeLong's (1988). The expected calibration error (Guo et al., 2017, 15 "
        "bins) has no interval, because chance can only increase it. The intervals describe the "
        "variation with other test images, not the variation with another training run."
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
        "Recall is the share of the images of the class that were classified correctly, with its "
        "Wilson interval; precision, the share of the images predicted as the class that belong to "
        "it; accuracy, the share of all images correctly predicted as the class or as another; "
        "AUC, the area under the one-vs-rest ROC curve of the class."
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
        "Rows are true classes, columns predicted classes. The colour is the share of the true "
        "class's images, on a scale that makes small shares visible. Numbers, where there is room, "
        "are numbers of images."
    ),
    sources=SOURCES,
)
def test_confusion(results: Results) -> Figure | None:
    """The confusion matrix."""
    return draw_confusion(results.test_scores) if results.test_scores else None


@table(
    title="Classes that were confused most often",
    caption=f"The {NUM_CONFUSED} most frequent confusions; shares are of the true class's images.",
    sources=SOURCES,
)
def test_confused(results: Results) -> Rows | None:
    """The most confused pairs; None without errors, or if the confusion matrix has numbers."""
    scores = results.test_scores
    if scores is None or len(scores.predictions.class_names) <= MAX_NUMBERED:
        return None
    pairs = scores.most_confused(NUM_CONFUSED)
    rows = tuple((pair.true, pair.predicted, pair.count, pair.share) for pair in pairs)
    columns = ("true class", "taken for", "images", "share")
    return Rows(columns, rows, {"taken for": "predicted class"}) if rows else None


@picture(
    title="ROC curves of the test set",
    caption=(
        "Each class against the rest, over all thresholds on its probability. With up to eight "
        "classes, every class is named; with more, the five with the smallest area under the curve "
        "(AUC). The dashed line is the mean over all classes. Classes without images have no "
        "curve."
    ),
    sources=SOURCES,
)
def test_rocs(results: Results) -> Figure | None:
    """One-vs-rest ROC curves; None if no class has one."""
    return draw_rocs(results.test_scores) if results.test_scores else None


@picture(
    title="Calibration on the test set",
    caption=(
        "Images in 15 bins by the probability of the predicted class. Above: the accuracy in each "
        "bin; below: the number of images. Below the diagonal the model is overconfident. The "
        "expected calibration error is the mean distance from the diagonal over all images."
    ),
    sources=SOURCES,
)
def test_calibration(results: Results) -> Figure | None:
    """A reliability diagram; None for an SVM, whose outputs are not probabilities."""
    if results.test_scores is None or not results.gives_probabilities:
        return None
    return draw_calibration(results.test_scores)


@picture(
    title="Test images drawn at random",
    caption=(
        "Drawn at random with the model's seed, and shown as the network receives them, but "
        "without normalisation. ✓ marks a correct prediction, ✗ a wrong one, with the true class "
        "below it."
    ),
    sources=SOURCES,
)
def test_random_images(results: Results) -> Figure | None:
    """A grid of images with their predictions."""
    return draw_random(results.test) if results.test else None


@picture(
    title="Wrongly classified test images",
    caption=(
        "The highest-confidence errors, at most 30: the true class with its predicted probability, "
        "then the three most probable classes. Some of these labels may be wrong, rather than the "
        "predictions."
    ),
    sources=SOURCES,
)
def test_mistakes(results: Results) -> Figure | None:
    """The highest-confidence errors; None if there are no errors."""
    return draw_mistakes(results.test) if results.test else None
