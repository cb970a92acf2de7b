"""Other values for names of a library, for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Let a class or a module have another function, or value, for a while."""
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)


def nothing(*arguments: Any, **options: Any) -> None:
    """Do nothing, whatever is asked."""
    del arguments, options
