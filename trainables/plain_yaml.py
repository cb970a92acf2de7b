"""YAML as a stranger may have written it, and as it may be shown: plain values; no code is run."""

from contextlib import suppress
from typing import Any

import yaml

from trainables.system.printable import printable

MAX_DEPTH = 50
"""Groups within groups. libyaml crashes the process at some ten thousand of them."""
_BASE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, where it is there: five times as fast."""


_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""libyaml's too: a sweep writes a config for each trial."""


class YamlError(ValueError):
    """A text that is no YAML, or not such as is read here; the message says why and where."""


class _Loader(_BASE):  # type: ignore[misc, valid-type]
    """Refuses a key that is there twice, where YAML's own loaders drop the first of them."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if (key.tag, key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} is there twice", key.start_mark
                )
            seen.add((key.tag, key.value))
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping


def read_yaml(text: str) -> Any:
    """The value that a YAML text says; runs no code of it.

    Raises:
        YamlError: it is no YAML, has a key twice, or groups within groups without end.
    """
    try:
        _check_depth(text)
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise YamlError(f"{error.problem or error.context}{where}") from None
    except yaml.YAMLError as error:
        raise YamlError(" ".join(str(error).split())) from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # What PyYAML raises for values that are not what their tag says, such as `!!int x`.
        raise YamlError(f"a value cannot be read: {error}") from None


def write_yaml(value: Any) -> str:
    """A plain value as YAML, in the order of its keys, with every character visible.

    A string with a hidden character has YAML's escapes; then all beyond ASCII has them.
    """
    with suppress(UnicodeEncodeError):  # libyaml's, of a file's name that is not Unicode
        text: str = yaml.dump(value, Dumper=_DUMPER, sort_keys=False, allow_unicode=True)
        if printable(text) == text:
            return text
    return yaml.safe_dump(value, sort_keys=False)


def _check_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, _BASE):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise YamlError(f"more than {MAX_DEPTH} groups within each other")
