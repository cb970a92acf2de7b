"""The base of every settings class, and how a mistake in one is told to its user."""

import difflib
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

S = TypeVar("S", bound="Settings")


class ConfigError(ValueError):
    """A configuration that cannot be used; the message lists every mistake in it."""


class Settings(BaseModel):
    """A frozen value without unknown fields; infinite and NaN numbers are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def parse(settings_type: type[S], values: Mapping[str, Any], where: str) -> S:
    """Check `values` against `settings_type`.

    Raises:
        ConfigError: with all mistakes at once, each with its path, its value and what would be
            right; `where` says whose values these are.
    """
    try:
        return settings_type.model_validate(values)
    except ValidationError as error:
        mistakes = [_mistake(dict(e), values, settings_type) for e in error.errors()]
    noun = "mistake" if len(mistakes) == 1 else "mistakes"
    raise ConfigError("\n  ".join([f"{where} has {len(mistakes)} {noun}:", *mistakes]))


def setting_paths(settings_type: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every path that a value of this type can have, in any of its variants.

    A free-form mapping gives one path that ends in `*`.
    """
    for name, field in settings_type.model_fields.items():
        path = prefix + name
        nested = list(_nested_settings(field.annotation))
        if get_origin(field.annotation) is dict:
            yield f"{path}/*"
        elif not nested:
            yield path
        for variant in nested:
            yield from setting_paths(variant, f"{path}/")


def nearest(name: str, choices: list[str] | set[str]) -> str:
    """The choices most like `name`, as the tail of an error message."""
    close = difflib.get_close_matches(name, sorted(choices), n=3, cutoff=0.5)
    return f"; nearest: {', '.join(close)}" if close else ""


def _nested_settings(annotation: Any) -> Iterator[type[BaseModel]]:
    if get_origin(annotation) is Annotated:
        yield from _nested_settings(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for variant in get_args(annotation):
            yield from _nested_settings(variant)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation


def _mistake(
    error: Mapping[str, Any], values: Mapping[str, Any], settings_type: type[BaseModel]
) -> str:
    path = _path(error["loc"], values)
    context = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            paths = set(setting_paths(settings_type))
            return f"{path}: there is no such setting{nearest(path, paths)}"
        case "missing":
            return f"{path}: is missing"
        case "union_tag_not_found":
            return f"{path}/{context['discriminator'].strip(chr(39))}: is missing"
        case "union_tag_invalid":
            choices = [tag.strip("' ") for tag in context["expected_tags"].split(",")]
            key = context["discriminator"].strip("'")
            tag = context["tag"]
            return (
                f"{path}/{key} = {tag!r}: choose from {', '.join(choices)}{nearest(tag, choices)}"
            )
        case "value_error" if not error["loc"]:
            return str(context["error"])
    rule = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    separator = ": " if error["type"] == "value_error" else ": must be "
    if isinstance(error["input"], dict) and error["type"] == "value_error":
        return f"{path}: {rule}"
    return f"{path} = {error['input']!r}{separator}{rule}"


def _path(location: tuple[str | int, ...], values: Any) -> str:
    """The location without the variant tags and type names that pydantic puts into it."""
    parts = []
    for index, part in enumerate(location):
        known = isinstance(values, Mapping) and part in values
        in_sequence = isinstance(part, int) and isinstance(values, list | tuple)
        last = index == len(location) - 1 and isinstance(values, Mapping)
        if known or in_sequence or last:
            parts.append(str(part))
            values = values[part] if known or (in_sequence and part < len(values)) else None  # type: ignore[operator]
    return "/".join(parts)
