"""The format of a sweep's folder: a number in `sweep.yaml`, which grows when its files change.

* 1 (no number): an opening of the test set may have no intent.
* 2: every opening of the test set has an intent in `test_openings/`.

A folder keeps the format that it was created with, also when a newer Toprung resumes it. Each
format up to `FORMAT` can be read and resumed.
"""

from collections.abc import Mapping
from typing import Any

FORMAT = 2
RECORDS_INTENTS = 2
"""The first format in which every opening of the test set has an intent."""


def format_of(description: Mapping[str, Any]) -> int:
    """The format of the folder whose `sweep.yaml` this is.

    Raises:
        ValueError: if it is not a number from 1 on.
    """
    number: Any = description.get("format", 1)
    if type(number) is not int or number < 1:
        raise ValueError(f"format = {number!r}: must be a whole number from 1 on")
    return number


def too_new(description: Mapping[str, Any]) -> str:
    """Why this Toprung cannot read such a folder; empty if it can."""
    number = format_of(description)
    if number <= FORMAT:
        return ""
    by = (description.get("versions") or {}).get("toprung")
    return (
        f"has format {number}, and this Toprung reads formats up to {FORMAT}; use the version that "
        f"created the sweep{f' (Toprung {by})' if by else ''}, or a newer one"
    )
