"""By how much the best of several test figures is expected to be optimistic."""

from math import sqrt

import numpy as np

_GRID = np.linspace(-10, 10, 4001)
"""Steps of 0.005 standard deviations: the sum over them is accurate to 10 digits."""


def expected_maximum(num_models: int) -> float:
    """The expected maximum of `num_models` independent draws from the standard normal distribution.

    The integral of x k phi(x) Phi(x)^(k-1) (David and Nagaraja, Order Statistics, 3rd edition,
    2003, section 3.1; Blom, 1958, has an approximation): 0 for one draw, 0.564 for two, 1.539 for
    ten.
    """
    from scipy.special import ndtr  # not at the top: `toprung status` rarely needs it

    density = np.exp(-(_GRID**2) / 2) / sqrt(2 * np.pi)
    weights = num_models * density * ndtr(_GRID) ** (num_models - 1)
    return max(0.0, float((_GRID * weights).sum() * (_GRID[1] - _GRID[0])))


def optimism(accuracy: float, num_images: int, num_models: int) -> float:
    """By how much the best accuracy of `num_models` models on the same test images is too high.

    The expected maximum of that number of independent errors with the accuracy's standard error
    after Agresti and Coull (1998, The American Statistician 52): two correct and two wrong answers
    are added, because sqrt(p (1 - p) / n) is 0 where all answers are correct. This is an upper
    bound for equally good models: errors of models on the same images are correlated, which makes
    the best less optimistic. It is not a bound if later models were made with earlier test figures
    in mind (Dwork et al., 2015, The reusable holdout, Science 349).
    """
    count = num_images + 4
    adjusted = (accuracy * num_images + 2) / count
    standard_error = sqrt(adjusted * (1 - adjusted) / count)
    return standard_error * expected_maximum(num_models)
