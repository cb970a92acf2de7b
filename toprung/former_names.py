"""Former import names (`analysis` for `toprung.analysis`), which work for one version more."""

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module, util
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

_MOVED = ("analysis", "search_spaces", "trainables")
_KEPT = ("__all__", "__doc__", "__file__")


class FormerNames:
    """Finds `search_spaces.loading` as `toprung.search_spaces.loading`, and so on.

    Python asks this finder last, so that a user's own module with such a name is found first. It
    has no base class of `importlib.abc`, which would make `toprung --help` slower.
    """

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """The module that a former name refers to; None if the name is not a former one.

        Raises:
            ModuleNotFoundError: if there is no such module; the message suggests similar ones.
        """
        top, _, inner = name.partition(".")
        if top not in _MOVED or (inner and not _is_former(top)):
            return None
        found = _spec_of(f"toprung.{name}")
        if found is None:
            raise ModuleNotFoundError(f"No module named {name!r}{_nearest(name)}", name=name)
        if not inner:
            message = f"import toprung.{name} instead of {name}, which ends with version 0.2"
            warnings.warn(message, FutureWarning, stacklevel=2)
        loader: Any = self
        return ModuleSpec(name, loader, is_package=found.submodule_search_locations is not None)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """A module with the contents of the new one: the same classes, loaded once."""
        meant = vars(import_module(f"toprung.{spec.name}"))
        module = ModuleType(spec.name)
        public = {name: meant[name] for name in meant if name in _KEPT or name[:2] != "__"}
        vars(module).update(public)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: `create_module` has filled the module."""


def keep_former_names() -> None:
    """Make the former names importable in this process."""
    if not any(isinstance(finder, FormerNames) for finder in sys.meta_path):
        sys.meta_path.append(FormerNames())


def _is_former(top: str) -> bool:
    """Whether the imported module of this name is ours, and not a package of the user's."""
    spec = getattr(sys.modules.get(top), "__spec__", None)
    return isinstance(getattr(spec, "loader", None), FormerNames)


def _spec_of(name: str) -> ModuleSpec | None:
    try:
        return util.find_spec(name)
    except ModuleNotFoundError:  # a module above it is not there
        return None


def _nearest(name: str) -> str:
    """A hint with the modules of this name elsewhere in the same top-level folder."""
    top, _, stem = name.partition(".")[0], *name.rpartition(".")[1:]
    folder = Path(__file__).parent
    found = sorted((folder / top).rglob(f"{stem}.py"))
    names = [".".join(path.relative_to(folder.parent).with_suffix("").parts) for path in found]
    moved = f"; the files of {top} have been moved, and some renamed"
    return moved + (f": look at {' or '.join(names)}" if names else f": look in toprung.{top}")
