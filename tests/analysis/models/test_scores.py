"""Figures of predictions against scikit-learn's."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.calibration import calibration_curve

from toprung.analysis.models.intervals import Interval, share_interval
from toprung.analysis.models.predictions import Predictions, collect
from toprung.analysis.models.scores import NUM_BINS, Measure, Scores
from toprung.analysis.sweep_folder.folder import SweepFolderError


def predictions(
    logits_NK: NDArray[np.floating], labels_N: NDArray[np.int64], names: tuple[str, ...] = ()
) -> Predictions:
    """Predictions of images without anything on them."""
    num_images, num_classes = logits_NK.shape
    return collect(
        logits_NK.astype(np.float32),
        labels_N,
        np.zeros((num_images, 2, 2, 1), np.uint8),
        tuple(f"{n}.png" for n in range(num_images)),
        names or tuple(f"class {k}" for k in range(num_classes)),
        ((0.5,), (0.25,)),
        seed=0,
    )


def drawn(num_images: int, num_classes: int, signal: float = 1.5, seed: int = 0) -> Predictions:
    """Predictions of a model that is right more often than not."""
    rng = np.random.default_rng(seed)
    labels_N = rng.integers(0, num_classes, num_images)
    logits_NK = rng.normal(size=(num_images, num_classes))
    logits_NK[np.arange(num_images), labels_N] += signal
    return predictions(2 * logits_NK, labels_N)


def known(measure: Measure) -> tuple[float, Interval]:
    """A figure that has an interval."""
    assert measure.value is not None
    assert measure.low is not None
    assert measure.high is not None
    return measure.value, (measure.low, measure.high)


@pytest.fixture(params=[2, 7, 40])
def scores(request: pytest.FixtureRequest) -> Scores:
    return Scores(drawn(1000, request.param))


class TestAgainstScikitLearn:
    def test_figures(self, scores: Scores) -> None:
        of = scores.predictions
        values = {figure.name: figure.value for figure in scores.figures}
        accuracy = metrics.accuracy_score(of.labels_N, of.predicted_N)
        class_accuracy = metrics.balanced_accuracy_score(of.labels_N, of.predicted_N)
        assert values["accuracy"] == pytest.approx(accuracy)
        assert values["mean class accuracy"] == pytest.approx(class_accuracy)
        loss = metrics.log_loss(of.labels_N, of.probabilities_NK)
        assert values["loss"] == pytest.approx(loss, rel=1e-5)
        truth = of.labels_N[:, None] == np.arange(len(of.class_names))
        area = metrics.roc_auc_score(truth, of.probabilities_NK, average="macro")
        assert values["macro AUC"] == pytest.approx(area)

    def test_each_lies_in_its_interval(self, scores: Scores) -> None:
        for figure in scores.figures[:4]:
            value, (low, high) = known(figure)
            assert low < value < high

    def test_classes(self, scores: Scores) -> None:
        of = scores.predictions
        report = metrics.classification_report(
            of.labels_N, of.predicted_N, target_names=of.class_names, output_dict=True
        )
        for k, score in enumerate(scores.classes):
            said = report[score.name]
            assert (score.recall, score.precision) == (said["recall"], said["precision"])
            assert score.support == said["support"]
            is_k_N = of.labels_N == k
            accuracy = metrics.accuracy_score(is_k_N, of.predicted_N == k)
            assert score.accuracy == pytest.approx(accuracy)
            area = metrics.roc_auc_score(is_k_N, of.probabilities_NK[:, k])
            assert score.auc == pytest.approx(area)
            hits = round(said["recall"] * score.support)
            assert (score.recall_low, score.recall_high) == share_interval(hits, score.support)

    def test_confusion(self, scores: Scores) -> None:
        of = scores.predictions
        expected = metrics.confusion_matrix(of.labels_N, of.predicted_N)
        assert (scores.confusion_KK == expected).all()

    def test_rocs(self, scores: Scores) -> None:
        of = scores.predictions
        for k, roc in enumerate(scores.rocs):
            assert roc is not None
            false_rates, true_rates, _ = metrics.roc_curve(
                of.labels_N == k, of.probabilities_NK[:, k]
            )
            assert np.array_equal(roc.false_rates, false_rates)
            assert np.array_equal(roc.true_rates, true_rates)

    def test_calibration(self, scores: Scores) -> None:
        of, reliability = scores.predictions, scores.reliability
        confidence_N = of.probabilities_NK.max(1)
        right_N = of.predicted_N == of.labels_N
        shares, confidences = calibration_curve(right_N, confidence_N, n_bins=NUM_BINS)
        filled = reliability.counts_B > 0
        counts_B = reliability.counts_B[filled]
        assert reliability.hits_B[filled] / counts_B == pytest.approx(shares)
        assert reliability.confidence_B[filled] == pytest.approx(confidences)
        error = (np.abs(shares - confidences) * counts_B).sum() / counts_B.sum()
        assert reliability.error == pytest.approx(error)


class TestMacroAuc:
    def test_the_interval_is_delong_s(self) -> None:
        scores = Scores(drawn(600, 2))
        of = scores.predictions
        positive, negative = (of.probabilities_NK[of.labels_N == k, 1] for k in (1, 0))
        above = (positive[:, None] > negative).astype(float)
        variance = above.mean(1).var(ddof=1) / len(positive)
        variance += above.mean(0).var(ddof=1) / len(negative)
        _, (low, high) = known(scores.macro_auc)
        assert high - low == pytest.approx(2 * 1.96 * variance**0.5, rel=0.01)

    def test_95_of_100_hold_the_truth(self) -> None:
        truth, _ = known(Scores(drawn(40_000, 4, seed=1000)).macro_auc)
        found = [known(Scores(drawn(150, 4, seed=seed)).macro_auc) for seed in range(200)]
        assert np.mean([low <= truth <= high for _, (low, high) in found]) > 0.9

    def test_a_faultless_model_has_no_interval(self) -> None:
        labels_N = np.arange(30) % 3
        scores = Scores(predictions(9 * np.eye(3)[labels_N], labels_N))
        assert (scores.macro_auc.value, scores.macro_auc.low) == (1, None)


class TestCalibrationByChance:
    def test_of_a_calibrated_model_it_is_what_is_seen(self) -> None:
        rng = np.random.default_rng(5)
        logits_NK = 2 * rng.normal(size=(4000, 5))
        shares_NK = np.exp(logits_NK) / np.exp(logits_NK).sum(1, keepdims=True)
        labels_N = (rng.random((4000, 1)) > shares_NK.cumsum(1)).sum(1)
        scores = Scores(predictions(logits_NK, labels_N))
        assert scores.reliability.error == pytest.approx(
            scores.calibration_error_by_chance, rel=0.5
        )
        too_sure = Scores(predictions(3 * logits_NK, labels_N))
        assert too_sure.reliability.error > 10 * too_sure.calibration_error_by_chance


class TestOddSets:
    def test_classes_without_images_and_never_predicted(self) -> None:
        logits_NK = np.array([[3, 1, 0, 0], [3, 0, 1, 0], [0, 3, 0, 1], [3, 0, 0, 1]])
        scores = Scores(predictions(logits_NK, np.array([0, 0, 1, 1])))
        assert [score.support for score in scores.classes] == [2, 2, 0, 0]
        absent = scores.classes[2]
        assert (absent.recall, absent.recall_low, absent.precision, absent.auc) == (None,) * 4
        assert absent.accuracy == 1
        assert scores.mean_class_accuracy.value == 0.75
        assert [roc is None for roc in scores.rocs] == [False, False, True, True]
        (confused,) = scores.most_confused(9)
        assert (confused.true, confused.predicted) == ("class 1", "class 0")
        assert (confused.count, confused.share) == (1, 0.5)

    def test_images_of_one_class_have_no_curve(self) -> None:
        scores = Scores(predictions(np.eye(3), np.zeros(3, int)))
        assert scores.macro_auc.value is None
        assert scores.classes[0].recall == pytest.approx(1 / 3)

    def test_one_image(self) -> None:
        scores = Scores(predictions(np.eye(3)[:1], np.zeros(1, int)))
        assert scores.accuracy.value == 1
        assert (scores.loss.low, scores.loss.high) == (None, None)

    def test_the_most_confused_come_first(self) -> None:
        scores = Scores(drawn(2000, 6, signal=0.5))
        pairs = scores.most_confused(5)
        counts = [pair.count for pair in pairs]
        assert counts == sorted(counts, reverse=True)
        off_diagonal = scores.confusion_KK - np.diag(scores.confusion_KK.diagonal())
        assert counts == sorted(off_diagonal.ravel().tolist(), reverse=True)[:5]

    def test_outputs_that_are_no_numbers(self) -> None:
        logits_NK = np.eye(3)
        logits_NK[1, 2] = np.nan
        with pytest.raises(SweepFolderError, match=r"not finite numbers for 1 of 3 .* 1\.png"):
            Scores(predictions(logits_NK, np.arange(3)))
