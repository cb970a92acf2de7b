"""A sweep of pretended trials: all of Toprung's driver, without Ray and without training."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from optuna.storages import RDBStorage
from optuna.storages._rdb.storage import _VersionManager
from ray import tune
from rich.console import Console

import toprung
from benchmarks.kills.pretended.trials import pretended_fit
from benchmarks.kills.pretended.tune import PretendTuner
from toprung import api
from toprung.cluster.replaced import nothing, replaced
from toprung.trainables.training import trial_in_folder

SPACE = "benchmarks.kills.spaces.small"


def begin(path: Path | str, space: str = SPACE, **settings: Any) -> None:
    """Run a new sweep in this folder, or at this URL, with one trial at a time."""
    out, _, name = str(path).rpartition("/")
    with _pretended() as console:
        at_a_time = {"concurrency": 1} | settings
        toprung.run(space, out=out, name=name, console=console, **at_a_time)


def go_on(path: Path | str, **given: Any) -> None:
    """Resume it."""
    with _pretended() as console:
        toprung.resume(path, console=console, **given)


@contextmanager
def tables_known() -> Iterator[None]:
    """Let Optuna find out once how new its tables are: a fifth of the time of such a sweep."""
    head = RDBStorage("sqlite://").get_head_version()
    with replaced(_VersionManager, "get_head_version", lambda _: head):
        yield


@contextmanager
def _pretended() -> Iterator[Console]:
    """No Ray, and nothing shown, unless the environment has KILLS_SHOW."""
    with ExitStack() as stack:
        stack.enter_context(replaced(tune, "Tuner", PretendTuner))
        stack.enter_context(replaced(api, "ray_session", _no_session))
        stack.enter_context(replaced(trial_in_folder, "fit_any", pretended_fit))
        yield Console(stderr=True, quiet="KILLS_SHOW" not in os.environ)


@contextmanager
def _no_session(meanwhile: Callable[[], None]) -> Iterator[SimpleNamespace]:
    del meanwhile
    yield SimpleNamespace(
        joined=False,
        own=None,
        wait=nothing,
        check=nothing,
        lend_credentials=nothing,
        end_at_once=nothing,
    )
