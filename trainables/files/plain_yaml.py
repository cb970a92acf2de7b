"""Reading and writing YAML from strangers: plain values only, no code is run, memory is bounded."""

from contextlib import suppress
from typing import Any

import yaml

from toprung.trainables.files.untrusted_files import MAX_TEXT_BYTES
from toprung.trainables.system.printable import printable

MAX_DEPTH = 50
"""The depth of nested groups. libyaml crashes the process at a depth of some ten thousand."""
MAX_VALUES = 150_000
"""The values of a text, with aliases expanded: a sweep's text names each class, and each image that
cannot be read. Reading this many takes two seconds and 100 MB."""
_MAX_DIGITS = 100
"""The digits of a number. Parsing a number in base 60 (`1:59:59`) takes quadratic time."""
_MAX_DIGITS_OF_KEY = 20
"""The digits of a number that is a key: of longer ones, arbitrarily many can have the same hash."""
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_BASE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's loader if it is installed, which is five times as fast."""


_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""libyaml's dumper if it is installed: a sweep writes a config for each trial."""


class YamlError(ValueError):
    """A text that is not YAML, or is refused; the message says why and where."""


class _Loader(_BASE):  # type: ignore[misc, valid-type]
    """Refuses duplicate keys, of which YAML's own loaders silently drop the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            _check_number(key, _MAX_DIGITS_OF_KEY)
            if (key.tag, key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value[:200]!r} occurs twice", key.start_mark
                )
            seen.add((key.tag, key.value))
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping

    def construct_scalar(self, node: yaml.ScalarNode) -> Any:
        _check_number(node, _MAX_DIGITS)
        return super().construct_scalar(node)


def _check_number(node: yaml.Node, most: int) -> None:
    if node.tag in _NUMBERS and len(node.value) > most:
        raise yaml.constructor.ConstructorError(
            None, None, f"a number of {len(node.value)} digits, more than {most}", node.start_mark
        )


def read_yaml(text: str) -> Any:
    """Parse a YAML text into plain values, without running code.

    Raises:
        YamlError: if the text is not YAML, has a duplicate key, is too long, has too many values,
            or is too deeply nested.
    """
    if len(text) > MAX_TEXT_BYTES:
        raise YamlError(f"more than {MAX_TEXT_BYTES:,} characters")
    try:
        _check_size(text)
        return yaml.load(text, _Loader)
    except YamlError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise YamlError(f"{error.problem or error.context}{where}") from None
    except yaml.YAMLError as error:
        raise YamlError(" ".join(str(error).split())) from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # PyYAML raises these for values that do not fit their tag, such as `!!int x`.
        raise YamlError(f"a value cannot be read: {error}") from None


def write_yaml(value: Any) -> str:
    """A plain value as YAML, in the order of its keys, with every character visible.

    If there is a hidden character, all characters beyond ASCII are written as YAML's escapes.
    """
    with suppress(UnicodeEncodeError):  # from libyaml, for a file name that is not Unicode
        text: str = yaml.dump(value, Dumper=_DUMPER, sort_keys=False, allow_unicode=True)
        if printable(text) == text:
            return text
    return yaml.safe_dump(value, sort_keys=False)


def _check_size(text: str) -> None:
    """Count the values with aliases expanded, so that a few lines cannot expand to billions."""
    count = 0
    groups: list[tuple[str | None, int]] = []  # the open groups: anchor, count at the start
    sizes: dict[str, int] = {}
    for event in yaml.parse(text, _BASE):
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, start = groups.pop()
            if anchor is not None:
                sizes[anchor] = count - start
        elif isinstance(event, yaml.AliasEvent):
            assert event.anchor is not None
            if event.anchor in {anchor for anchor, _ in groups}:
                raise YamlError(f"*{event.anchor} is within the group that it refers to")
            count += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.NodeEvent):
            count += 1
            if isinstance(event, yaml.CollectionStartEvent):
                groups.append((event.anchor, count - 1))
            elif event.anchor is not None:
                sizes[event.anchor] = 1
        if len(groups) > MAX_DEPTH:
            raise YamlError(f"more than {MAX_DEPTH} nested groups")
        if count > MAX_VALUES:
            raise YamlError(f"more than {MAX_VALUES:,} values")
