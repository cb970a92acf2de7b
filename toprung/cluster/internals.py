"""A name that is not part of Ray's public interface, and whether the installed Ray still has it."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from toprung.cluster.replaced import replaced
from toprung.errors import ToprungError


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

    def put(self, value: Any) -> None:
        """Set a value for good, if Ray has it."""
        if not self.misfit():
            setattr(self._owner(), self._name, value)

    def of(self, instance: Any, *default: Any) -> Any:
        """Return the attribute of an instance; the default, if given, where it has none."""
        return getattr(instance, self._name, *default)

    def set(self, instance: Any, value: Any) -> None:
        """Set the attribute of an instance."""
        setattr(instance, self._name, value)

    def add(self, instance: Any, number: int) -> None:
        """Add to an attribute of an instance."""
        setattr(instance, self._name, getattr(instance, self._name) + number)

    @contextmanager
    def replaced(self, value: Any) -> Iterator[None]:
        """Let Ray have another function, or value, for a while."""
        with replaced(self._owner(), self._name, value):
            yield

    @contextmanager
    def patched(self, made_from: Callable[[Any], Any]) -> Iterator[None]:
        """Do the same, from what Ray has; Ray stays as it is where it does not fit.

        Args:
            made_from: makes the replacement.
        """
        if self.misfit():
            yield
            return
        with self.replaced(made_from(self.get())):
            yield

    def needed(self) -> Any:
        """Return the function, class or value.

        Raises:
            ToprungError: if the installed Ray does not have it as it is used here.
        """
        self.check()
        return self.get()

    def check(self) -> None:
        """See that the installed Ray has it as it is used here.

        Raises:
            ToprungError: if not.
        """
        if misfit := self.misfit():
            raise ToprungError(
                f"Ray {ray_version()}: {misfit}: {self.cost}; install a version of Ray that "
                "Toprung supports (pyproject.toml says which)"
            )

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


def warn_of(names: Sequence[Internal], warn: Callable[[str], None]) -> None:
    """Warn, in a line each, of what is lost because the installed Ray does not have these.

    Args:
        names: what is to be compared with the installed Ray.
        warn: shows the user a line.
    """
    warn_of_costs({name.cost: misfit for name in names if (misfit := name.misfit())}, warn)


def warn_of_costs(misfits: Mapping[str, str], warn: Callable[[str], None]) -> None:
    """Warn of each cost, with what the installed Ray lacks."""
    for cost, misfit in misfits.items():
        warn(f"warning: Ray {ray_version()} is not as Toprung knows it ({misfit}): {cost}")


def ray_version() -> str:
    """The version of the installed Ray."""
    import ray

    return str(ray.__version__)
