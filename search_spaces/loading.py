"""Loading a search space from a shipped name, a Python file, a module, or a function."""

import difflib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna

SpaceFunction = Callable[[optuna.Trial], Mapping[str, Any]]
_NOT_SPACES = {"loading", "pinned"}


class SearchSpaceError(ValueError):
    """A search space that cannot be found, loaded or used."""


@dataclass(frozen=True)
class SearchSpace:
    """A search space with its name, its sweep defaults and its source code.

    `source_code` is the text of its file, which is stored with the sweep; None for a function from
    an interactive session. `origin` is the argument with which `load` finds it: a shipped name, the
    absolute path of its file, or a module's name; empty for a function.
    """

    name: str
    function: SpaceFunction
    defaults: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    source_code: str | None = None
    origin: str = ""

    def __call__(self, trial: optuna.Trial) -> dict[str, Any]:
        """The config that the search space suggests for this trial.

        Raises:
            SearchSpaceError: if the function raises, or returns something other than a mapping.
        """
        try:
            config = self.function(trial)
        except Exception as error:
            where = _where(error, self.function)
            raise SearchSpaceError(
                f"search space {self.name}: raised {type(error).__name__}: {error}{where}"
            ) from error
        if not isinstance(config, Mapping):
            raise SearchSpaceError(
                f"search space {self.name}: must return a dict of settings, returned {config!r}"
            )
        return _plain_dict(config)


def shipped() -> list[str]:
    """The names of the search spaces that come with Toprung."""
    folder = Path(__file__).parent
    names = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    return sorted(names - _NOT_SPACES)


def load(space: str | SpaceFunction) -> SearchSpace:
    """Load a search space.

    Args:
        space: a shipped name, `path/to/file.py`, `package.module`, or the function itself.

    Raises:
        SearchSpaceError: if there is no such space, naming the nearest ones; or if it cannot be
            imported.
    """
    if not isinstance(space, str):
        return _from_function(space)
    if space in shipped():
        return _from_module(space, importlib.import_module(f"toprung.search_spaces.{space}"), space)
    if space.endswith(".py"):
        path = Path(space).absolute()
        return _from_module(path.stem, _run_file(Path(space), path.parent), str(path))
    if Path(space).is_file():
        raise SearchSpaceError(
            f"search space {space}: is not a Python file (.py); give a trial's config with --config"
        )
    if "." in space:
        return _from_module(space, _import(space), space)
    close = difflib.get_close_matches(space, shipped(), n=3, cutoff=0.4)
    nearest = f"; nearest: {', '.join(close)}" if close else ""
    raise SearchSpaceError(
        f"search space {space!r}: there is none with this name{nearest}. Shipped: "
        f"{', '.join(shipped())}. Or give a path/to/file.py or a package.module."
    )


def _from_function(function: SpaceFunction) -> SearchSpace:
    if not callable(function):
        raise SearchSpaceError(f"search space {function!r}: must be a name or a function")
    name = getattr(function, "__name__", type(function).__name__)
    return SearchSpace(
        name=name.replace("<", "").replace(">", ""),
        function=function,
        defaults=_defaults(name, sys.modules.get(function.__module__)),
        description=inspect.getdoc(function) or "",
        source_code=_source_code(function),
    )


def load_copy(copy: Path, origin: str, home: Path | None = None) -> SearchSpace:
    """Load the copy of a search space that a sweep stored, even if the original changed or is gone.

    Args:
        copy: the file.
        origin: the `origin` of the search space; modules beside that file can be imported.
        home: a folder from which to import instead.

    Raises:
        SearchSpaceError: if the file cannot be run.
    """
    is_file = origin.endswith(".py")
    with _from_source():
        module = _run_file(copy, home or (Path(origin).parent if is_file else Path.cwd()))
    return _from_module(Path(origin).stem if is_file else origin, module, origin)


def _from_module(name: str, module: ModuleType, origin: str) -> SearchSpace:
    function = getattr(module, "search_space", None)
    if not callable(function):
        raise SearchSpaceError(f"search space {name}: has no function `search_space(trial)`")
    return SearchSpace(
        name=name.rpartition(".")[2],
        function=function,
        defaults=_defaults(name, module),
        description=inspect.getdoc(module) or "",
        source_code=_source_code(module),
        origin=origin,
    )


def _defaults(name: str, module: ModuleType | None) -> Mapping[str, Any]:
    defaults = getattr(module, "SWEEP", {})
    if not isinstance(defaults, Mapping):
        raise SearchSpaceError(f"search space {name}: SWEEP must be a dict, is {defaults!r}")
    return defaults


def _run_file(path: Path, home: Path) -> ModuleType:
    if not path.is_file():
        raise SearchSpaceError(f"search space {path}: there is no such file")
    spec = importlib.util.spec_from_file_location(f"toprung_space_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses and pickle look a module up there
    try:
        with _importable(home):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise SearchSpaceError(
            f"search space {path}: cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    return module


def _import(name: str) -> ModuleType:
    try:
        with _importable(Path.cwd()):
            return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        hint = "; give a trial's config with --config" if name.endswith(".yaml") else ""
        raise SearchSpaceError(
            f"search space {name}: cannot be imported: {type(error).__name__}: {error}{hint}"
        ) from error


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """A context in which modules in this folder can be imported, as by a script in it."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@contextmanager
def _from_source() -> Iterator[None]:
    """A context in which modules are imported from source: compiled files are not read or written.

    The user has agreed to run a sweep's source code; a compiled file can contain other code.
    """
    before = sys.pycache_prefix, sys.dont_write_bytecode
    sys.pycache_prefix, sys.dont_write_bytecode = f"{os.devnull}/none", True
    try:
        yield
    finally:
        sys.pycache_prefix, sys.dont_write_bytecode = before


def _source_code(thing: Any) -> str | None:
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        return None


def _where(error: Exception, function: SpaceFunction) -> str:
    """The line of the search space's own file that raised, or called the code that raised."""
    file = getattr(getattr(function, "__code__", None), "co_filename", None)
    frames = traceback.walk_tb(error.__traceback__)
    lines = [line for frame, line in frames if frame.f_code.co_filename == file]
    return f" ({Path(str(file)).name}:{lines[-1]})" if lines else ""


def _plain_dict(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _plain_dict(v) if isinstance(v, Mapping) else v for k, v in values.items()}
