"""How good a model's predictions of labelled images are: figures with their intervals, curves.

Shape letters: N images, K classes, B bins of confidence.
"""

from dataclasses import dataclass
from functools import cached_property
from math import isnan

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from scipy.stats import rankdata
from sklearn.metrics import auc, confusion_matrix, precision_recall_fscore_support, roc_curve

from toprung.analysis.models.intervals import (
    UNKNOWN,
    Interval,
    large_mean_interval,
    mean_of_shares_interval,
    share_interval,
)
from toprung.analysis.models.predictions import Predictions
from toprung.analysis.sweep_folder.folder import SweepFolderError

NUM_BINS = 15
"""Of confidence, as in Guo et al. (2017)."""


@dataclass(frozen=True)
class Measure:
    """One number that sums up a model, and its 95 % interval where one is known."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ClassScore:
    """How well one class is told from the others.

    Attributes:
        name: of the class.
        support: images that are of it.
        precision: share of the images taken for it that are of it; None if there were none.
        recall: share of its images that were taken for it; None without images.
        recall_low: of the interval of the recall; likewise `recall_high`.
        accuracy: share of all images rightly said to be of it or not.
        auc: area under its curve (see `Roc`); None without images, or if all are of it.
    """

    name: str
    support: int
    precision: float | None
    recall: float | None
    recall_low: float | None
    recall_high: float | None
    accuracy: float
    auc: float | None


@dataclass(frozen=True)
class Confusion:
    """Images of one class that were taken for another; `share` is of the true class's images."""

    true: str
    predicted: str
    count: int
    share: float


@dataclass(frozen=True)
class Roc:
    """One class against the rest: rates of false and true alarms as the threshold falls."""

    name: str
    false_rates: NDArray[np.float64]
    true_rates: NDArray[np.float64]
    auc: float


@dataclass(frozen=True)
class Reliability:
    """How often the model is right where it is so and so sure of its first choice.

    Attributes:
        counts_B: images whose confidence falls into each bin.
        hits_B: those of them that are right.
        confidence_B: mean confidence of each bin; nan where it is empty.
        error: expected calibration error (Guo et al., 2017).
    """

    counts_B: NDArray[np.int64]
    hits_B: NDArray[np.int64]
    confidence_B: NDArray[np.float64]
    error: float


class Scores:
    """The figures of a model's predictions, each worked out when it is first asked for.

    Args:
        predictions: of at least one image.

    Raises:
        SweepFolderError: if the model gave something for an image that is no number.
    """

    def __init__(self, predictions: Predictions) -> None:
        odd = np.flatnonzero(~np.isfinite(predictions.logits_NK).all(1))
        if len(odd):
            raise SweepFolderError(
                f"the model's outputs are not finite numbers for {len(odd)} of "
                f"{len(predictions.names)} images, such as {predictions.names[odd[0]]}"
            )
        self.predictions = predictions

    @cached_property
    def confusion_KK(self) -> NDArray[np.int64]:
        """How many images of each class (rows) were taken for each class (columns)."""
        matrix: NDArray[np.int64] = confusion_matrix(
            self.predictions.labels_N,
            self.predictions.predicted_N,
            labels=np.arange(len(self.predictions.class_names)),
        )
        return matrix

    @cached_property
    def support_K(self) -> NDArray[np.int64]:
        """How many images each class has."""
        support: NDArray[np.int64] = self.confusion_KK.sum(1)
        return support

    @cached_property
    def accuracy(self) -> Measure:
        """Share of images whose most probable class is theirs."""
        hits, count = int(self.confusion_KK.trace()), len(self.predictions.labels_N)
        return _measure("accuracy", hits / count, share_interval(hits, count))

    @cached_property
    def loss(self) -> Measure:
        """Mean cross-entropy in nats."""
        labels_N = self.predictions.labels_N
        log_NK = log_softmax(self.predictions.logits_NK.astype(np.float64), axis=1)
        losses_N = -log_NK[np.arange(len(labels_N)), labels_N]
        low, high = large_mean_interval(losses_N)
        return _measure(
            "loss", float(losses_N.mean()), (low if isnan(low) else max(0.0, low), high)
        )

    @cached_property
    def mean_class_accuracy(self) -> Measure:
        """Mean of the classes' recalls, over the classes that have images."""
        hits_K, seen_K = self.confusion_KK.diagonal(), self.support_K > 0
        mean = float((hits_K[seen_K] / self.support_K[seen_K]).mean())
        interval = mean_of_shares_interval(hits_K, self.support_K)
        return _measure("mean class accuracy", mean, interval)

    @cached_property
    def rocs(self) -> list[Roc | None]:
        """The curve of each class; None without images of it, or if all are of it."""
        return [self._roc(k) for k in range(len(self.predictions.class_names))]

    @cached_property
    def macro_auc(self) -> Measure:
        """Mean of the areas under the classes' curves; no value if no class has a curve.

        The interval is that of DeLong et al. (1988), taken over the classes at once: each image's
        part in the mean area has a variance, and the images are independent.
        """
        curves = {k: roc for k, roc in enumerate(self.rocs) if roc}
        if not curves:
            return Measure("macro AUC", None)
        parts_N = np.mean([self._parts_in_auc(k) for k in curves], axis=0)
        low, high = large_mean_interval(parts_N)
        interval = UNKNOWN if low == high else (max(0.0, low), min(1.0, high))
        return _measure("macro AUC", float(np.mean([r.auc for r in curves.values()])), interval)

    @cached_property
    def reliability(self) -> Reliability:
        """The model's confidence in its first choice against how often that is right."""
        confidence_N = self.predictions.probabilities_NK.max(1)
        right_N = self.predictions.predicted_N == self.predictions.labels_N
        bins_N = _bins(confidence_N)
        counts_B = np.bincount(bins_N, minlength=NUM_BINS)
        with np.errstate(invalid="ignore"):
            confidence_B = np.bincount(bins_N, confidence_N, NUM_BINS) / counts_B
        return Reliability(
            counts_B=counts_B,
            hits_B=np.bincount(bins_N[right_N], minlength=NUM_BINS),
            confidence_B=confidence_B,
            error=_calibration_error(bins_N, right_N - confidence_N),
        )

    @cached_property
    def calibration_error_by_chance(self) -> float:
        """The error to be expected of a model whose confidences are true, of so many images.

        The mean of 100 draws of right and wrong by the confidences themselves (the consistency
        resampling of Bröcker and Smith, 2007).
        """
        confidence_N = self.predictions.probabilities_NK.max(1)
        bins_N, rng = _bins(confidence_N), np.random.default_rng(0)
        draws = (rng.random(len(bins_N)) < confidence_N for _ in range(100))
        return float(np.mean([_calibration_error(bins_N, d - confidence_N) for d in draws]))

    @cached_property
    def figures(self) -> list[Measure]:
        """What sums up the model. The calibration error has no interval: chance only adds to it."""
        error = Measure("expected calibration error", self.reliability.error)
        return [self.accuracy, self.loss, self.mean_class_accuracy, self.macro_auc, error]

    @cached_property
    def classes(self) -> list[ClassScore]:
        """Each class's figures, in the model's order."""
        predictions, count = self.predictions, len(self.predictions.labels_N)
        precision_K, recall_K, _, _ = precision_recall_fscore_support(
            predictions.labels_N,
            predictions.predicted_N,
            labels=np.arange(len(predictions.class_names)),
            zero_division=np.nan,
        )
        scores = []
        for k, name in enumerate(predictions.class_names):
            hits, support, roc = int(self.confusion_KK[k, k]), int(self.support_K[k]), self.rocs[k]
            low, high = share_interval(hits, support)
            wrong = support - hits + int(self.confusion_KK[:, k].sum()) - hits
            scores.append(
                ClassScore(
                    name=name,
                    support=support,
                    precision=_known(float(precision_K[k])),
                    recall=_known(float(recall_K[k])),
                    recall_low=_known(low),
                    recall_high=_known(high),
                    accuracy=1 - wrong / count,
                    auc=roc.auc if roc else None,
                )
            )
        return scores

    def most_confused(self, num: int) -> list[Confusion]:
        """The pairs of classes that were taken for each other most often, most first."""
        wrong_KK = self.confusion_KK - np.diag(self.confusion_KK.diagonal())
        shares_KK = wrong_KK / np.maximum(self.support_K, 1)[:, None]
        names = self.predictions.class_names
        order = np.argsort(-wrong_KK, axis=None, kind="stable")[:num]
        pairs = zip(*np.unravel_index(order, wrong_KK.shape), strict=True)
        return [
            Confusion(names[i], names[j], int(wrong_KK[i, j]), float(shares_KK[i, j]))
            for i, j in pairs
            if wrong_KK[i, j] > 0
        ]

    def _roc(self, k: int) -> Roc | None:
        if self.support_K[k] in (0, len(self.predictions.labels_N)):
            return None
        is_k_N = self.predictions.labels_N == k
        false_rates, true_rates, _ = roc_curve(is_k_N, self.predictions.probabilities_NK[:, k])
        return Roc(
            self.predictions.class_names[k],
            false_rates,
            true_rates,
            float(auc(false_rates, true_rates)),
        )

    def _parts_in_auc(self, k: int) -> NDArray[np.float64]:
        """What each image adds to a class's area; their mean is the area.

        An image's placement is the share of the other side's images that stand on the right side
        of it.
        """
        scores_N, is_k_N = self.predictions.probabilities_NK[:, k], self.predictions.labels_N == k
        ranks_N, area = rankdata(scores_N), self.rocs[k]
        assert area is not None
        parts_N = np.empty(len(scores_N))
        for side, sign in ((is_k_N, 1), (~is_k_N, -1)):
            num_others = len(scores_N) - side.sum()
            below = (ranks_N[side] - rankdata(scores_N[side])) / num_others
            placement = below if sign == 1 else 1 - below
            parts_N[side] = (placement - area.auc) / side.mean() + area.auc
        return parts_N


def _bins(confidence_N: NDArray[np.float64]) -> NDArray[np.int64]:
    """Of equal width, each with its upper edge."""
    edges = np.linspace(0, 1, NUM_BINS + 1)[1:-1]
    bins: NDArray[np.int64] = np.searchsorted(edges, confidence_N)
    return bins


def _calibration_error(bins_N: NDArray[np.int64], excess_N: NDArray[np.float64]) -> float:
    """Of what each image is more right (1 or 0) than it was sure to be."""
    return float(np.abs(np.bincount(bins_N, excess_N)).sum()) / len(bins_N)


def _measure(name: str, value: float, interval: Interval) -> Measure:
    low, high = interval
    return Measure(name, value, _known(low), _known(high))


def _known(value: float) -> float | None:
    return None if isnan(value) else value
