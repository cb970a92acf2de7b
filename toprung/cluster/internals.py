"""A name that is not part of Ray's public interface, and whether the installed Ray still has it."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from toprung.cluster.replaced import replaced


@dataclass(frozen=True)
class Internal:
    """Something private of Ray that Toprung uses. The inventories list all of them.

    Attributes:
        place: where it is, as `module:name` or `module:Class.name`.
        why: what Toprung uses it for.
        cost: what is lost where the installed Ray does not have it as it is used here.
        takes: the names of a function's parameters; None if it is not called here, nor replaced.
        on_instances: whether it is an attribute that the class's `__init__` sets.
    """

    place: str
    why: str
    cost: str
    takes: tuple[str, ...] | None = None
    on_instances: bool = False

    def get(self) -> Any:
        """Return the function, class or value."""
        return getattr(self._owner(), self._name)

    def of(self, instance: Any, *default: Any) -> Any:
        """Return the attribute of an instance; the default, if given, where it has none."""
        return getattr(instance, self._name, *default)

    def add(self, instance: Any, number: int) -> None:
        """Add to an attribute of an instance."""
        setattr(instance, self._name, getattr(instance, self._name) + number)

    @contextmanager
    def replaced(self, value: Any) -> Iterator[None]:
        """Let Ray have another function, or value, for a while."""
        with replaced(self._owner(), self._name, value):
            yield

    def misfit(self) -> str:
        """In what the installed Ray differs from what is used here; empty if it does not."""
        try:
            owner = self._owner()
            if self.on_instances:
                is_there = self._name in owner.__init__.__code__.co_names
                return "" if is_there else f"{self.place} is not set"
            found = getattr(owner, self._name)
        except (ImportError, AttributeError):
            return f"{self.place} does not exist"
        return self._misfit_of_call(found) if self.takes is not None else ""

    @property
    def _name(self) -> str:
        return self.place.rpartition(":")[2].rpartition(".")[2]

    def _owner(self) -> Any:
        module, _, path = self.place.partition(":")
        owner: Any = import_module(module)
        for name in path.split(".")[:-1]:
            owner = getattr(owner, name)
        return owner

    def _misfit_of_call(self, found: Any) -> str:
        assert self.takes is not None
        try:
            there = inspect.signature(found).parameters
        except (TypeError, ValueError):
            return f"{self.place} cannot be called"
        optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        needed = [
            name
            for name, parameter in there.items()
            if parameter.default is parameter.empty and parameter.kind not in optional
        ]
        takes_any = any(parameter.kind in optional for parameter in there.values())
        if set(needed) <= set(self.takes) and (takes_any or set(self.takes) <= set(there)):
            return ""
        return f"{self.place} takes ({', '.join(there)}), not ({', '.join(self.takes)})"
