"""95 % intervals of the figures that a report shows: how far chance may have moved them."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

CONFIDENCE = 0.95
Z = float(ndtri((1 + CONFIDENCE) / 2))

Interval = tuple[float, float]
"""Low and high; of a quantity whose chance nobody can tell, such as one run's, both are nan."""

UNKNOWN: Interval = (float("nan"), float("nan"))


def share_interval(num_hits: int, num_all: int) -> Interval:
    """Of a share, such as an accuracy: Wilson's score interval (Wilson, 1927).

    It stays within [0, 1] and is of use at 0 and at 1 too, where the textbook's has no width.
    """
    return _wilson(num_hits / num_all, num_all) if num_all else UNKNOWN


def _wilson(share: float, num_all: float) -> Interval:
    spread = Z**2 / num_all
    centre = (share + spread / 2) / (1 + spread)
    half = sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    # Rounding must not keep the ends from being exactly 0 and 1.
    return (centre - half if share > 0 else 0.0), (centre + half if share < 1 else 1.0)


def mean_interval(values: Sequence[float]) -> Interval:
    """Of the mean of few values, such as of runs with different seeds: Student's t (1908)."""
    num_values = len(values)
    if num_values < 2:
        return UNKNOWN
    half = stdtrit(num_values - 1, (1 + CONFIDENCE) / 2) * _standard_error(np.asarray(values))
    mean = float(np.mean(values))
    return mean - float(half), mean + float(half)


def large_mean_interval(values_N: NDArray[np.floating]) -> Interval:
    """Of the mean of many values, such as of the loss of each image: the normal distribution's."""
    if len(values_N) < 2:
        return UNKNOWN
    half = Z * _standard_error(values_N)
    mean = float(np.mean(values_N))
    return mean - half, mean + half


def mean_of_shares_interval(hits_K: NDArray[np.int64], counts_K: NDArray[np.int64]) -> Interval:
    """Of the mean of independent shares, such as of the classes' accuracies.

    Wilson's, for the number of images that would give one share the variance of this mean: the
    effective sample size of surveys (Korn and Graubard, 1998). For the variance each share is drawn
    to the mean by one image, or few images that are all right would have none. Shares of nothing
    are left out.
    """
    hits_K, counts_K = hits_K[counts_K > 0], counts_K[counts_K > 0]
    if not len(counts_K):
        return UNKNOWN
    mean = float((hits_K / counts_K).mean())
    drawn_K = (hits_K + mean) / (counts_K + 1)
    # At 0 and 1 all shares are the same, and cancel out.
    shape_K = drawn_K * (1 - drawn_K) / (mean * (1 - mean)) if 0 < mean < 1 else 1
    return _wilson(mean, float(len(counts_K) ** 2 / (shape_K / counts_K).sum()))


def _standard_error(values_N: NDArray[np.floating]) -> float:
    return float(np.std(values_N, ddof=1)) / sqrt(len(values_N))
