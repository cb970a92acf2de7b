"""Rounding the numbers in the tables of a report: a column at a time, so that they align."""

import math
from collections.abc import Sequence
from typing import TypeGuard

from toprung.analysis.drawing.picture import Cell, Rows

_NOTHING = "\N{EN DASH}"


def texts(rows: Rows) -> list[list[str]]:
    """The text of each cell, row by row."""
    columns = [_column(cells) for cells in zip(*rows.rows, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def numeric_columns(rows: Rows) -> list[bool]:
    """For each column, whether it holds only numbers, which are aligned to the right."""
    columns = zip(*rows.rows, strict=True)
    return [all(_is_number(cell) for cell in _present(cells)) for cells in columns]


def _column(cells: Sequence[Cell]) -> list[str]:
    numbers = [cell for cell in cells if _is_number(cell)]
    plain = len(numbers) < len(_present(cells)) or not any(isinstance(n, float) for n in numbers)
    decimals = None if plain else _decimals([abs(number) for number in numbers])
    return [_text(cell, decimals) for cell in cells]


def _decimals(values: Sequence[float]) -> int | None:
    """How many decimals to show; None if the values differ too much for a common number."""
    sizes = [value for value in values if math.isfinite(value) and value > 0] or [0.1]
    smallest, largest = min(sizes), max(sizes)
    if all(float(size).is_integer() for size in sizes) and 1 < largest < 1e6:  # for example epochs
        return 0
    # A few figures near zero, such as a tiny gap, may be rounded to zero among larger ones.
    few_are_tiny = sum(size < 1e-4 for size in sizes) <= len(sizes) / 4
    if largest < 100 and (smallest >= 1e-3 or (few_are_tiny and largest >= 0.1)):
        return 4
    return 1 if smallest >= 0.1 and largest < 1e6 else None


def _text(cell: Cell, decimals: int | None) -> str:
    if cell is None:
        return _NOTHING
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return f"{cell:,.{decimals}f}" if decimals is not None else f"{cell:.4g}"
    return f"{cell:,}" if isinstance(cell, int) and abs(cell) >= 10_000 else str(cell)


def _is_number(cell: Cell) -> TypeGuard[int | float]:
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _present(cells: Sequence[Cell]) -> list[Cell]:
    return [cell for cell in cells if cell is not None]
