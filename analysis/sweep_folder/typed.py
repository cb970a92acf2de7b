"""Checking values from untrusted files against their expected types."""

from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


def typed(kind: type[T], value: Any) -> T:
    """The value as this type, such as a dataclass from a mapping of its fields.

    Raises:
        ValueError: if the value does not have this type; the message states where and why.
    """
    hashable: Any = kind
    try:
        checked: T = _adapter(hashable).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = "/".join(map(str, first["loc"]))
        raise ValueError(f"{where}{': ' if where else ''}{first['msg']}") from None
    return checked


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
