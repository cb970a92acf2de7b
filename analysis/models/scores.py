"""How good a model's predictions for labelled images are: figures with intervals, and curves.

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
"""The number of bins of confidence, as in Guo et al. (2017)."""


@dataclass(frozen=True)
class Measure:
    """One summary figure of a model, and its 95 % interval if one is known."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ClassScore:
    """How well one class is distinguished from the others.

    Attributes:
        name: the name of the class.
        support: the number of images of the class.
        precision: the share of the images predicted as the class that belong to it; None if there
            are none.
        recall: the share of the images of the class that are predicted as it; None without images.
        recall_low: the lower end of the interval of the recall.
        recall_high: the upper end of the interval of the recall.
        accuracy: the share of all images that are correctly predicted as the class or as another.
        auc: the area under its curve (see `Roc`); None without images, or if all images are of the
            class.
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
    """Images of one class predicted as another; `share` is of the true class's images."""

    true: str
    predicted: str
    count: int
    share: float


@dataclass(frozen=True)
class Roc:
    """One class against the rest: false and true positive rates as the threshold decreases."""

    name: str
    false_rates: NDArray[np.float64]
    true_rates: NDArray[np.float64]
    auc: float


@dataclass(frozen=True)
class Reliability:
    """How often the model is right, by its confidence in the predicted class.

    Attributes:
        counts_B: the number of images in each bin of confidence.
        hits_B: how many of them are classified correctly.
        confidence_B: the mean confidence of each bin; nan for an empty bin.
        error: the expected calibration error (Guo et al., 2017).
    """

    counts_B: NDArray[np.int64]
    hits_B: NDArray[np.int64]
    confidence_B: NDArray[np.float64]
    error: float


class Scores:
    """The figures of a model's predictions, each computed on first access.

    Args:
        predictions: the predictions for at least one image.

    Raises:
        SweepFolderError: if an output of the model is not a finite number.
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
        """How many images of each class (rows) were predicted as each class (columns)."""
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
        """Share of images that are classified correctly."""
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
        """The curve of each class; None for a class without images, or with all images."""
        return [self._roc(k) for k in range(len(self.predictions.class_names))]

    @cached_property
    def macro_auc(self) -> Measure:
        """Mean of the areas under the curves of the classes; no value if no class has a curve.

        The interval is that of DeLong et al. (1988), for all classes at once: it uses the variance
        of each image's contribution to the mean area, and the independence of the images.
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
        """The model's confidence in the predicted class against the accuracy."""
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
        """The calibration error expected of a perfectly calibrated model on these images.

        The mean over 100 draws of correct and wrong predictions by the confidences themselves (the
        consistency resampling of Bröcker and Smith, 2007).
        """
        confidence_N = self.predictions.probabilities_NK.max(1)
        bins_N, rng = _bins(confidence_N), np.random.default_rng(0)
        draws = (rng.random(len(bins_N)) < confidence_N for _ in range(100))
        return float(np.mean([_calibration_error(bins_N, d - confidence_N) for d in draws]))

    @cached_property
    def figures(self) -> list[Measure]:
        """The summary figures. The calibration error has no interval: chance only increases it."""
        error = Measure("expected calibration error", self.reliability.error)
        return [self.accuracy, self.loss, self.mean_class_accuracy, self.macro_auc, error]

    @cached_property
    def classes(self) -> list[ClassScore]:
        """The figures of each class, in the model's order."""
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
        """The most frequently confused pairs of classes, the most frequent first."""
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
        """The contribution of each image to a class's area; their mean is the area.

        The placement of an image is the share of the images of the other side that are ranked
        correctly relative to it.
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
    """The bin of each confidence; bins have equal width and include their upper edge."""
    edges = np.linspace(0, 1, NUM_BINS + 1)[1:-1]
    bins: NDArray[np.int64] = np.searchsorted(edges, confidence_N)
    return bins


def _calibration_error(bins_N: NDArray[np.int64], excess_N: NDArray[np.float64]) -> float:
    """The expected calibration error, where the excess is correctness (1 or 0) minus confidence."""
    return float(np.abs(np.bincount(bins_N, excess_N)).sum()) / len(bins_N)


def _measure(name: str, value: float, interval: Interval) -> Measure:
    low, high = interval
    return Measure(name, value, _known(low), _known(high))


def _known(value: float) -> float | None:
    return None if isnan(value) else value
