"""Intervals against scipy's, and how often they hold the truth."""

from collections.abc import Callable
from math import isnan

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest, norm, t

from toprung.analysis.models.intervals import (
    Interval,
    large_mean_interval,
    mean_interval,
    mean_of_shares_interval,
    share_interval,
)


@pytest.mark.parametrize(
    ("hits", "count"), [(0, 5), (5, 5), (1, 1), (7, 9), (354, 359), (1, 10000)]
)
def test_share_is_scipy_s_wilson(hits: int, count: int) -> None:
    expected = binomtest(hits, count).proportion_ci(method="wilson")
    assert share_interval(hits, count) == pytest.approx((expected.low, expected.high))


def test_a_share_of_all_or_nothing_ends_there_exactly() -> None:
    assert share_interval(0, 35)[0] == 0
    assert share_interval(35, 35)[1] == 1
    assert share_interval(35, 35)[0] < 0.95


@pytest.mark.parametrize("values", [[0.91, 0.94], [0.91, 0.94, 0.9], [3.0, 1.0, 2.0, 7.5, 1.25]])
def test_mean_of_few_is_student_s(values: list[float]) -> None:
    error = np.std(values, ddof=1) / len(values) ** 0.5
    expected = t.interval(0.95, len(values) - 1, np.mean(values), error)
    assert mean_interval(values) == pytest.approx(expected)


def test_mean_of_many_is_the_normal_distribution_s() -> None:
    values = np.random.default_rng(0).exponential(size=400)
    expected = norm.interval(0.95, values.mean(), values.std(ddof=1) / 20)
    assert large_mean_interval(values) == pytest.approx(expected)


def test_what_has_no_interval() -> None:
    unknown = [share_interval(0, 0), mean_interval([]), mean_interval([0.5])]
    unknown += [large_mean_interval(np.array([0.5])), _of_classes([0, 0], [0, 0])]
    assert all(isnan(low) and isnan(high) for low, high in unknown)


class TestMeanOfShares:
    def test_of_one_class_is_almost_its_own(self) -> None:
        assert _of_classes([70], [100]) == pytest.approx(share_interval(70, 100), abs=1e-3)

    def test_classes_without_images_are_left_out(self) -> None:
        assert _of_classes([7, 0, 9], [9, 0, 12]) == _of_classes([7, 9], [9, 12])

    def test_all_right_and_all_wrong_still_have_a_width(self) -> None:
        assert _of_classes([5, 5], [5, 5]) == pytest.approx(share_interval(10, 10))
        assert _of_classes([0, 0], [5, 5]) == pytest.approx(share_interval(0, 10))

    def test_a_small_class_makes_it_wide(self) -> None:
        even, uneven = _of_classes([40, 40], [50, 50]), _of_classes([4, 76], [5, 95])
        assert uneven[1] - uneven[0] > 2 * (even[1] - even[0])


def _of_classes(hits: list[int], counts: list[int]) -> Interval:
    return mean_of_shares_interval(np.array(hits), np.array(counts))


def _draw_share(rng: np.random.Generator) -> Interval:
    return share_interval(int(rng.binomial(60, 0.9)), 60)


def _draw_mean(rng: np.random.Generator) -> Interval:
    return mean_interval(rng.normal(0.9, 0.02, 3).tolist())


def _draw_large_mean(rng: np.random.Generator) -> Interval:
    return large_mean_interval(rng.exponential(0.9, 300))


def _draw_classes(rng: np.random.Generator) -> Interval:
    recalls_K = np.linspace(0.8, 1, 10)
    counts_K = np.arange(10, 60, 5)
    hits_K: NDArray[np.int64] = rng.binomial(counts_K, recalls_K)
    return mean_of_shares_interval(hits_K, counts_K)


@pytest.mark.parametrize("draw", [_draw_share, _draw_mean, _draw_large_mean, _draw_classes])
def test_95_of_100_hold_the_truth(draw: Callable[[np.random.Generator], Interval]) -> None:
    rng = np.random.default_rng(3)
    intervals = [draw(rng) for _ in range(1500)]
    held = np.mean([low <= 0.9 <= high for low, high in intervals])
    assert held == pytest.approx(0.95, abs=0.02)
