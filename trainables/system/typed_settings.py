"""The base of every settings class, and the messages about mistakes in settings."""

import difflib
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Self, TypeVar, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)

S = TypeVar("S", bound="Settings")


MAX_EPOCHS = 1_000_000
"""Keeps all counts of epochs within bounds, whoever wrote the config."""
MAX_TRIALS = 1_000_000
"""The trials of a sweep, and anything of which there is at most one for each trial."""
Epochs = Annotated[PositiveInt, Field(le=MAX_EPOCHS)]


class ConfigError(ValueError):
    """A configuration that cannot be used; the message lists every mistake in it."""


class Settings(BaseModel):
    """An immutable value without unknown fields.

    Numbers that are infinite, NaN or beyond 64 bits are refused, and text that is not Unicode.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="after")
    def _can_be_written(self) -> Self:
        """Refuse values that YAML, SQLite, NumPy or torch cannot represent."""
        for name, value in self:
            for part in _parts(value):
                if isinstance(part, int) and not -(2**63) <= part < 2**63:
                    raise ValueError(f"{name} = {shown(part)}: must have at most 64 bits")
                if isinstance(part, str) and has_surrogates(part):
                    raise ValueError(f"{name} = {shown(part)}: must be Unicode text")
        return self


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return (*value.keys(), *value.values())
    return value if isinstance(value, tuple) else (value,)


def has_surrogates(text: str) -> bool:
    """Whether a text is not Unicode, such as a file name with bytes that are not UTF-8."""
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


_SHORT = reprlib.Repr()
_SHORT.maxlevel = 3
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxset = _SHORT.maxdict = 12
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 200
_MAX_SHOWN = 1000


def shown(value: Any) -> str:
    """A value as a message shows it: shortened if it is long; never raises."""
    try:
        text = _SHORT.repr(value)
    except Exception:  # of an integer of more than 4300 digits, for one
        text = f"a {type(value).__name__}"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def default_name(name: str) -> BeforeValidator:
    """A validator that fills in this name if a variant's name is left out."""

    def with_name(values: Any) -> Any:
        return {"name": name, **values} if isinstance(values, Mapping) else values

    return BeforeValidator(with_name)


def parse(settings_type: type[S], values: Mapping[str, Any], where: str) -> S:
    """Validate `values` as a `settings_type`.

    Args:
        settings_type: the settings class.
        values: the values.
        where: where the values come from, for the message.

    Raises:
        ConfigError: listing all mistakes at once, each with its path, its value and the rule.
    """
    try:
        return settings_type.model_validate(values)
    except ValidationError as error:
        mistakes = _merged(_mistake(dict(e), values, settings_type) for e in error.errors())
    if len(mistakes) == 1:
        raise ConfigError(f"{where} has 1 mistake: {mistakes[0]}")
    raise ConfigError("\n  ".join([f"{where} has {len(mistakes)} mistakes:", *mistakes]))


def setting_paths(settings_type: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every path of a setting in this type, in any of its variants.

    A free-form mapping has one path that ends in `*`.
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
    """The choices most similar to `name`, as the end of an error message."""
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


def _merged(mistakes: Iterable[tuple[str, str, str]]) -> list[str]:
    """One line for each path, from (path, subject, rule): a value that fits no type has several."""
    of_path: dict[str, tuple[str, list[str]]] = {}
    for path, subject, rule in mistakes:
        of_path.setdefault(path, (subject, []))[1].append(rule)
    return [
        f"{subject}{': ' if subject else ''}{' or '.join(rules).replace('or must be', 'or')}"
        for path, (subject, rules) in of_path.items()
        if not any(other.startswith(f"{path}/") for other in of_path)
    ]


def _mistake(
    error: Mapping[str, Any], values: Mapping[str, Any], settings_type: type[BaseModel]
) -> tuple[str, str, str]:
    """The path of a mistake, its subject (the path, usually with its value), and the rule."""
    path = _path(error["loc"], values, missing=error["type"] == "missing")
    context = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            paths = set(setting_paths(settings_type))
            if path in paths:
                return path, path, f"is not a setting of {error['loc'][-2]}"
            in_list = any(part.isdigit() for part in path.split("/"))
            hint = "" if in_list else nearest(path, paths)
            return path, path, f"there is no such setting{hint}"
        case "missing":
            return path, path, "is missing"
        case "union_tag_not_found":
            path = f"{path}/{context['discriminator'].strip(chr(39))}"
            return path, path, "is missing"
        case "union_tag_invalid":
            choices = [tag.strip("' ") for tag in context["expected_tags"].split(",")]
            path, tag = f"{path}/{context['discriminator'].strip(chr(39))}", context["tag"]
            rule = f"choose from {', '.join(choices)}{nearest(tag, choices)}"
            return path, f"{path} = {shown(tag)}", rule
        case "tuple_type":
            return path, f"{path} = {shown(error['input'])}", "must be a list"
        case "model_attributes_type" | "model_type":
            return path, f"{path} = {shown(error['input'])}", "must be a group of settings"
    rule = error["msg"].removeprefix("Value error, ")
    if error["type"] != "value_error":
        rule = f"must be {rule.removeprefix('Input should be ')}"
    elif not error["loc"]:
        return "", "", rule
    elif isinstance(error["input"], dict):
        return path, path, rule
    return path, f"{path} = {shown(error['input'])}", rule


def _path(location: tuple[str | int, ...], values: Any, *, missing: bool) -> str:
    """The path of a location, without the variant tags and type names that pydantic adds."""
    parts = []
    for index, part in enumerate(location):
        known = isinstance(values, Mapping) and part in values
        in_sequence = isinstance(part, int) and isinstance(values, list | tuple)
        if known or in_sequence or (missing and index == len(location) - 1):
            parts.append(str(part))
            values = values[part] if known or (in_sequence and part < len(values)) else None  # type: ignore[operator]
    return "/".join(parts)
