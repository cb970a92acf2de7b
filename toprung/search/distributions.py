"""The values that a parameter can have: a check, and a description in words."""

from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import create_trial


def can_be(value: Any, distribution: BaseDistribution) -> bool:
    """Whether a parameter with this distribution can have the value.

    Optuna itself only warns of an enqueued value that is out of range, and then uses it.
    """
    if not isinstance(distribution, CategoricalDistribution) and not isinstance(value, int | float):
        return False  # Optuna would read text as a number
    try:
        # Which validates them.
        create_trial(value=0.0, params={"value": value}, distributions={"value": distribution})
    except ValueError:
        return False
    return True


def in_words(distribution: BaseDistribution) -> str:
    """The values from which a parameter with this distribution is drawn."""
    match distribution:
        case CategoricalDistribution():
            return "one of " + ", ".join(map(str, distribution.choices))
        case FloatDistribution() | IntDistribution():
            scale = " on a log scale" if distribution.log else ""
            step = distribution.step
            steps = (
                f" in steps of {step:g}" if step and (step != 1 or isinstance(step, float)) else ""
            )
            return f"{distribution.low:g} to {distribution.high:g}{steps}{scale}"
    return str(distribution)
