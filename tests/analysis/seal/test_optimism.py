"""The expected maximum of several independent errors."""

import numpy as np
import pytest

from toprung.analysis.seal.optimism import expected_maximum, optimism


@pytest.mark.parametrize(
    ("num_models", "expected"),
    [(1, 0.0), (2, 0.56418958), (3, 0.84628438), (5, 1.16296447), (10, 1.53875273)],
)
def test_the_tables_of_order_statistics(num_models: int, expected: float) -> None:
    assert expected_maximum(num_models) == pytest.approx(expected, abs=1e-7)


def test_many_models() -> None:
    rng = np.random.default_rng(0)
    maxima = rng.normal(size=(4000, 300)).max(1)
    error = maxima.std() / np.sqrt(len(maxima))
    assert expected_maximum(300) == pytest.approx(maxima.mean(), abs=4 * error)


def test_of_accuracies() -> None:
    adjusted = 92 / 104
    error = np.sqrt(adjusted * (1 - adjusted) / 104)
    assert optimism(0.9, 100, 2) == pytest.approx(error * 0.56418958)
    assert optimism(0.9, 100, 1) == 0


def test_of_few_images_that_are_all_correct() -> None:
    """The standard error of a proportion of 1 is 0, and that of its estimate is not."""
    assert optimism(1.0, 24, 2) == pytest.approx(0.0275, abs=1e-4)
    assert optimism(1.0, 24, 2) > optimism(1.0, 2400, 2) > 0
