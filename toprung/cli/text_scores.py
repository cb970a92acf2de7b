"""What `toprung evaluate` prints."""

from collections.abc import Iterator

from toprung.analysis.drawing.style import short
from toprung.analysis.evaluating.evaluation import NUM_CONFUSED, Evaluation
from toprung.analysis.models.scores import Scores
from toprung.cli.text_sweep import table
from toprung.console import joined

MAX_NAME = 40
"""Characters of a class's name that a table in the terminal shows."""


def evaluation(done: Evaluation) -> str:
    """The remarks, the figures with intervals, each class, and the most frequent confusions."""
    scores = Scores(done.predictions)
    lines = [
        f"{done.model} on {len(done.predictions.labels_N)} images of {done.data}",
        *(f"  note: {remark}" for remark in done.remarks),
        "",
        *_figures(scores),
        "",
        *_classes(scores),
        *_confused(scores),
    ]
    return joined(lines)


def _figures(scores: Scores) -> Iterator[str]:
    rows = [(f.name, *map(_number, (f.value, f.low, f.high))) for f in scores.figures]
    yield from table([("figure", "value", "95 % from", "to"), *rows], num_left=1)


def _classes(scores: Scores) -> Iterator[str]:
    columns = ("class", "images", "recall", "95 % from", "to", "precision", "accuracy", "AUC")
    rows = [
        (
            short(c.name, MAX_NAME),
            str(c.support),
            *map(_number, (c.recall, c.recall_low, c.recall_high, c.precision, c.accuracy, c.auc)),
        )
        for c in scores.classes
    ]
    yield from table([columns, *rows], num_left=1)


def _confused(scores: Scores) -> Iterator[str]:
    pairs = scores.most_confused(NUM_CONFUSED)
    rows = [
        (short(p.true, MAX_NAME), short(p.predicted, MAX_NAME), str(p.count), f"{p.share:.1%}")
        for p in pairs
    ]
    if rows:
        yield ""
        yield from table([("true class", "taken for", "images", "share"), *rows], num_left=2)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
