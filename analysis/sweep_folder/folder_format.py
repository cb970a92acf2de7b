"""The format of a sweep's folder: a number in `sweep.yaml`, which grows when its files change.

* 1 (no number): openings of the test set have no intent.
* 2: every opening of the test set has an intent in `test_openings/`.

A folder keeps the format that it was created with, also when a newer Toprung resumes it. Each
format up to `FORMAT` can be read and resumed.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

FORMAT = 2
RECORDS_INTENTS = 2
"""The first format in which every opening of the test set has an intent."""
FormatNumber = Annotated[int, Field(ge=1, strict=True)]


def format_of(description: Mapping[str, Any]) -> int:
    """The format of the folder whose `sweep.yaml` this is."""
    number: int = description.get("format", 1)
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
