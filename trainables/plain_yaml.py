"""Reading YAML that a stranger may have written: plain values, and no code is run."""

from typing import Any

import yaml

MAX_DEPTH = 50
"""Groups within groups. libyaml crashes the process at some ten thousand of them."""
_BASE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, where it is there: five times as fast."""


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


def _check_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, _BASE):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise YamlError(f"more than {MAX_DEPTH} groups within each other")
