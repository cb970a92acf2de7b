"""The report's statistics, written out in NumPy.

Shape letters: N images, K classes, B bins.
"""

from collections.abc import Sequence
from math import comb, erf, pi, sqrt, tan
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Z = NormalDist().inv_cdf(0.975)
Pair = tuple[float | None, float | None]
NOTHING: Pair = (None, None)


def wilson(hits: float, num: float) -> Pair:
    """Wilson's interval (1927) of a share, as the roots of (p - x)² = z² x (1 - x) / n."""
    if num == 0:
        return NOTHING
    share = hits / num
    a, b, c = 1 + Z**2 / num, -(2 * share + Z**2 / num), share**2
    root = sqrt(max(0.0, b * b - 4 * a * c))
    low, high = (-b - root) / (2 * a), (-b + root) / (2 * a)
    return (0.0 if share == 0 else low), (1.0 if share == 1 else high)


def normal_interval(values_N: NDArray[np.float64]) -> Pair:
    """Of the mean of many values."""
    if len(values_N) < 2:
        return NOTHING
    mean, half = float(values_N.mean()), Z * float(values_N.std(ddof=1)) / sqrt(len(values_N))
    return mean - half, mean + half


def student_interval(values: Sequence[float]) -> Pair:
    """Of the mean of few values."""
    if len(set(values)) < 2:
        return NOTHING
    half = student_quantile(len(values) - 1) * float(np.std(values, ddof=1)) / sqrt(len(values))
    mean = float(np.mean(values))
    return mean - half, mean + half


def student_quantile(freedom: int) -> float:
    """The t within ± which 95 % of Student's distribution lie.

    With t = sqrt(n) tan(a), the density is proportional to cos(a) ** (n - 1); a is found by
    halving.
    """
    places, weights = np.polynomial.legendre.leggauss(100)

    def area(end: float) -> float:
        return float(end / 2 * (weights * np.cos(end / 2 * (places + 1)) ** (freedom - 1)).sum())

    low, high = 0.0, pi / 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if area(middle) < 0.95 * area(pi / 2) else (low, middle)
    return sqrt(freedom) * tan(low)


def mean_share_interval(hits_K: NDArray[np.int64], counts_K: NDArray[np.int64]) -> Pair:
    """Of the mean of shares: Wilson's, with the number of images of the same variance."""
    there = counts_K > 0
    hits_K, counts_K = hits_K[there], counts_K[there]
    num = len(counts_K)
    mean = float(np.mean(hits_K / counts_K))
    if mean in (0.0, 1.0):
        effective = num**2 / float((1 / counts_K).sum())
    else:
        drawn_K = (hits_K + mean) / (counts_K + 1)
        variance = float((drawn_K * (1 - drawn_K) / counts_K).sum()) / num**2
        effective = mean * (1 - mean) / variance
    return wilson(mean * effective, effective)


def probabilities(logits_NK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Softmax."""
    powers = np.exp(logits_NK - logits_NK.max(1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(1, keepdims=True)
    return shares


def losses(logits_NK: NDArray[np.float64], labels_N: NDArray[np.int64]) -> NDArray[np.float64]:
    """Cross-entropy of each image, in nats."""
    top_N = logits_NK.max(1)
    sums_N = np.log(np.exp(logits_NK - top_N[:, None]).sum(1)) + top_N
    of_labels: NDArray[np.float64] = sums_N - logits_NK[np.arange(len(labels_N)), labels_N]
    return of_labels


def placements(
    scores_N: NDArray[np.float64], is_k_N: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """Each image's share of the other side that stands on the right side of it, pair by pair.

    Returns:
        The shares, half a point for a tie; and the share of pairs that are nearly tied, by which
        rounding of the softmax may move the area.
    """
    difference_PN = scores_N[is_k_N][:, None] - scores_N[~is_k_N][None, :]
    right_PN = (difference_PN > 0) + 0.5 * (difference_PN == 0)
    placed_N = np.empty(len(scores_N))
    placed_N[is_k_N], placed_N[~is_k_N] = right_PN.mean(1), right_PN.mean(0)
    return placed_N, float((np.abs(difference_PN) < 1e-12).mean())


def delong_parts(placed_N: NDArray[np.float64], is_k_N: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Each image's part in the area, whose mean the area is (DeLong et al., 1988)."""
    area = float(placed_N[is_k_N].mean())
    weight_N = np.where(is_k_N, len(is_k_N) / is_k_N.sum(), len(is_k_N) / (~is_k_N).sum())
    parts: NDArray[np.float64] = area + (placed_N - area) * weight_N
    return parts


def calibration_error(confidence_N: NDArray[np.float64], right_N: NDArray[np.bool_]) -> float:
    """Expected calibration error over 15 bins of equal width, each with its upper edge."""
    error = 0.0
    for number in range(15):
        low, high = number / 15, (number + 1) / 15
        inside_N = (confidence_N > low) & (confidence_N <= high)
        if inside_N.any():
            error += abs(float((right_N[inside_N] - confidence_N[inside_N]).sum()))
    return error / len(confidence_N)


def ranks(values: ArrayLike) -> NDArray[np.float64]:
    """From 1; equal values share their mean rank."""
    values_N = np.asarray(values, dtype=float)
    below_N = (values_N[None, :] < values_N[:, None]).sum(1)
    equal_N = (values_N[None, :] == values_N[:, None]).sum(1)
    mean_ranks: NDArray[np.float64] = below_N + (equal_N + 1) / 2
    return mean_ranks


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Rank correlation; None of fewer than 5 pairs, or where one of the two is constant."""
    if len(first) < 5 or len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return float(np.corrcoef(ranks(first), ranks(second))[0, 1])


def best_of(values: Sequence[float], num_draws: int, sign: int) -> float:
    """The best of so many different ones of some values, in the mean over all ways to draw."""
    ordered = sorted(values, key=lambda value: sign * value)  # the best last
    total = comb(len(ordered), num_draws)
    ways = [comb(place, num_draws - 1) for place in range(len(ordered))]
    return sum(way / total * value for way, value in zip(ways, ordered, strict=True) if way)


def expected_maximum(num: int) -> float:
    """Of so many standard normal values: the mean of x under the density of their largest."""
    places = np.linspace(0, 12, 24_001)
    above = np.array([(1 + erf(place / sqrt(2))) / 2 for place in places])
    # By parts, which needs no density: the integral of 1 - F over x > 0, less that of F over x < 0.
    step = places[1] - places[0]
    return float(np.trapezoid(1 - above**num, dx=step) - np.trapezoid((1 - above) ** num, dx=step))
