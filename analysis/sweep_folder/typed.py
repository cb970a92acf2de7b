"""Values out of files that anybody may have written, held against the types they should have."""

from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


def typed(kind: type[T], value: Any) -> T:
    """The value as this type, such as a dataclass from a mapping of its fields.

    Raises:
        ValueError: it is none; says where and why.
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
