"""What a cell of a table should be: a value, one that is nearly so, or one that is left out."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.recompute.raw import RawSweep

_DIGITS = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Near:
    """A number that another way of rounding may move so far."""

    value: float | None
    tolerance: float


@dataclass(frozen=True)
class LeftOut:
    """A cell that is not computed again, and why not."""

    reason: str


Row = tuple[Any, ...]
Told = Sequence[Row]
Recompute = Callable[[RawSweep, Told, tuple[str, ...]], Sequence[Row]]

TABLES: dict[str, Recompute] = {}
"""By the name of a part of the report: the function that computes its rows again.

It is given the sweep, the rows as they were told (for their labels alone, where their order is that
of Optuna's importances) and the names of the columns.
"""
LEFT_OUT = {
    "seal": "sentences; the figures in them are those of the openings",
    "normalisation": "the images are outside the sweep's folder",
    "fine_tuning": "takes the network from before training, and the images",
    "fine_tuning_of_classes": "takes the network from before training, and the images",
}
"""Tables that are not computed again, and why not."""


def table(function: Recompute) -> Recompute:
    """Make a function the recomputation of the table of its name."""
    TABLES[function.__name__] = function
    return function


def keyed(told: Told, width: int, expected: Mapping[Row, Row]) -> list[Row]:
    """Rows in the order in which they were told, found by their first cells; missing ones last."""
    missing = dict(expected)
    rows = []
    for row in told:
        key = tuple(row[:width])
        rows.append((*key, *missing.pop(key)) if key in missing else ("no such row",))
    return [*rows, *((*key, *rest) for key, rest in missing.items())]


def agrees(told: Any, expected: Any) -> bool:
    """Whether a cell is as it should be; a number to nine digits."""
    tolerance = 1e-9
    if isinstance(expected, Near):
        expected, tolerance = expected.value, expected.tolerance
    if is_number(expected):
        if not math.isfinite(expected):
            return told is None
        return is_number(told) and math.isclose(told, expected, rel_tol=1e-9, abs_tol=tolerance)
    return bool(told == expected and isinstance(told, bool) == isinstance(expected, bool))


def is_number(value: Any) -> bool:
    """Whether it is a figure; True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def numbers_in(text: str) -> list[str]:
    """The numbers that a text has."""
    return _DIGITS.findall(text)
