"""The winner's figures on the test set, computed again from what it said of each image."""

import numpy as np
from numpy.typing import NDArray

from benchmarks.recompute import formulas
from benchmarks.recompute.cells import Near, Row, Told, table
from benchmarks.recompute.formulas import NOTHING, wilson
from benchmarks.recompute.raw import RawSweep, Said

_MAX_CONFUSED = 20


def confusion(said: Said) -> NDArray[np.int64]:
    """Images of each class (rows) that were taken for each class (columns)."""
    num = len(said.class_names)
    counts_KK = np.zeros((num, num), np.int64)
    np.add.at(counts_KK, (said.labels_N, said.logits_NK.argmax(1)), 1)
    return counts_KK


def mean_class_accuracy(said: Said) -> float:
    """The mean of the recalls of the classes that have images."""
    counts_KK = confusion(said)
    there = counts_KK.sum(1) > 0
    return float((counts_KK.diagonal()[there] / counts_KK.sum(1)[there]).mean())


@table
def test_figures(raw: RawSweep, told: Told, columns: tuple[str, ...]) -> list[Row]:
    """Accuracy, loss, mean class accuracy, macro AUC, calibration error."""
    del told, columns
    said = raw.test
    assert said is not None
    assert raw.winner is not None
    counts_KK = confusion(said)
    hits, num = int(counts_KK.trace()), len(said.labels_N)
    rows: list[Row] = [("accuracy", hits / num, *wilson(hits, num))]
    losses_N = formulas.losses(said.logits_NK, said.labels_N)
    low, high = formulas.normal_interval(losses_N)
    loss = ("loss", float(losses_N.mean()), None if low is None else max(0.0, low), high)
    classes = formulas.mean_share_interval(counts_KK.diagonal(), counts_KK.sum(1))
    rows += [loss, ("mean class accuracy", mean_class_accuracy(said), *classes), _macro(said)]
    shares_NK = formulas.probabilities(said.logits_NK)
    right_N = said.logits_NK.argmax(1) == said.labels_N
    error = formulas.calibration_error(shares_NK.max(1), right_N)
    rows.append(("expected calibration error", error, None, None))
    if raw.winner.config["model"]["architecture"] == "svm":  # votes, no probabilities
        rows = [row for row in rows if row[0] not in ("loss", "expected calibration error")]
    return rows


def _macro(said: Said) -> Row:
    areas, parts, doubts = [], [], []
    shares_NK = formulas.probabilities(said.logits_NK)
    for k in range(len(said.class_names)):
        is_k_N = said.labels_N == k
        if is_k_N.any() and not is_k_N.all():
            placed_N, doubt = formulas.placements(shares_NK[:, k], is_k_N)
            areas.append(float(placed_N[is_k_N].mean()))
            parts.append(formulas.delong_parts(placed_N, is_k_N))
            doubts.append(doubt)
    if not areas:
        return ("macro AUC", None, None, None)
    low, high = formulas.normal_interval(np.mean(parts, axis=0))
    if low is None or high is None or low == high:
        low, high = NOTHING
    doubt = 1e-9 + float(np.mean(doubts))
    ends = (None if low is None else max(0.0, low), None if high is None else min(1.0, high))
    return ("macro AUC", Near(float(np.mean(areas)), doubt), *(Near(end, doubt) for end in ends))


@table
def test_classes(raw: RawSweep, told: Told, columns: tuple[str, ...]) -> list[Row]:
    """Recall with its interval, precision, accuracy and area of each class."""
    del told, columns
    said = raw.test
    assert said is not None
    counts_KK, shares_NK = confusion(said), formulas.probabilities(said.logits_NK)
    rows = []
    for k, name in enumerate(said.class_names):
        hits, support, taken = (
            int(counts_KK[k, k]),
            int(counts_KK[k].sum()),
            int(counts_KK[:, k].sum()),
        )
        is_k_N = said.labels_N == k
        area = None
        if is_k_N.any() and not is_k_N.all():
            placed_N, doubt = formulas.placements(shares_NK[:, k], is_k_N)
            area = Near(float(placed_N[is_k_N].mean()), 1e-9 + doubt)
        recall, precision = (hits / of if of else None for of in (support, taken))
        right = float(((said.logits_NK.argmax(1) == k) == is_k_N).mean())
        rows.append((name, support, recall, *wilson(hits, support), precision, right, area))
    return rows


@table
def test_confused(raw: RawSweep, told: Told, columns: tuple[str, ...]) -> list[Row]:
    """The most frequent mistakes: a tie goes to the class that comes first."""
    del told, columns
    said = raw.test
    assert said is not None
    counts_KK = confusion(said)
    pairs = [
        (-int(counts_KK[i, j]), i, j)
        for i in range(len(counts_KK))
        for j in range(len(counts_KK))
        if i != j and counts_KK[i, j]
    ]
    names = said.class_names
    return [
        (names[i], names[j], -count, -count / int(counts_KK[i].sum()))
        for count, i, j in sorted(pairs)[:_MAX_CONFUSED]
    ]
