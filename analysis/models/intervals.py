"""95 % intervals of the figures in a report."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

CONFIDENCE = 0.95
Z = float(ndtri((1 + CONFIDENCE) / 2))

Interval = tuple[float, float]
"""Low and high; both are nan if the variance is unknown, as with a single run."""

UNKNOWN: Interval = (float("nan"), float("nan"))


def share_interval(num_hits: int, num_all: int) -> Interval:
    """Wilson's score interval (1927) of a share, such as an accuracy.

    It stays within [0, 1], and has a width at 0 and 1 too, unlike the normal approximation.
    """
    return _wilson(num_hits / num_all, num_all) if num_all else UNKNOWN


def _wilson(share: float, num_all: float) -> Interval:
    spread = Z**2 / num_all
    centre = (share + spread / 2) / (1 + spread)
    half = sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    # Despite rounding, the ends are exactly 0 and 1 at shares of 0 and 1.
    return (centre - half if share > 0 else 0.0), (centre + half if share < 1 else 1.0)


def mean_interval(values: Sequence[float]) -> Interval:
    """Student's t interval (1908) of the mean of few values, such as runs with different seeds."""
    num_values = len(values)
    if num_values < 2:
        return UNKNOWN
    half = stdtrit(num_values - 1, (1 + CONFIDENCE) / 2) * _standard_error(np.asarray(values))
    mean = float(np.mean(values))
    return mean - float(half), mean + float(half)


def large_mean_interval(values_N: NDArray[np.floating]) -> Interval:
    """Normal interval of the mean of many values, such as the losses of the images."""
    if len(values_N) < 2:
        return UNKNOWN
    half = Z * _standard_error(values_N)
    mean = float(np.mean(values_N))
    return mean - half, mean + half


def mean_of_shares_interval(hits_K: NDArray[np.int64], counts_K: NDArray[np.int64]) -> Interval:
    """Interval of the mean of independent shares, such as the accuracies of classes.

    Wilson's interval for the number of images with which one share would have the variance of this
    mean: the effective sample size of surveys (Korn and Graubard, 1998). For the variance, each
    share is shrunk to the mean by one image; otherwise a class of few images that are all correct
    would have none. Classes without images are left out.
    """
    hits_K, counts_K = hits_K[counts_K > 0], counts_K[counts_K > 0]
    if not len(counts_K):
        return UNKNOWN
    mean = float((hits_K / counts_K).mean())
    drawn_K = (hits_K + mean) / (counts_K + 1)
    # At means of 0 and 1 all shares are equal, and their factors cancel out.
    shape_K = drawn_K * (1 - drawn_K) / (mean * (1 - mean)) if 0 < mean < 1 else 1
    return _wilson(mean, float(len(counts_K) ** 2 / (shape_K / counts_K).sum()))


def _standard_error(values_N: NDArray[np.floating]) -> float:
    return float(np.std(values_N, ddof=1)) / sqrt(len(values_N))
