"""What every test stands on."""

import gc
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from benchmarks.kills.pretended.sweep import tables_known
from tests.support.canaries import canaries_set
from tests.support.fuzzed_sweep import Place, whole_sweep
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.s3 import S3Server, s3_server
from toprung.analysis.sweep_folder.user_state import STATE_VARIABLE
from toprung.cluster.session import ray_session


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests are spread over processes, keep those that share something together.

    The tests of a file share its fixtures; those of the folder `sweeps` share one Ray.
    """
    tests = Path(__file__).parent
    sweeps = tests / "sweeps"
    for item in items:
        if sweeps in item.path.parents or _SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.server)
        group = "ray" if sweeps in item.path.parents else str(item.path.relative_to(tests))
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=_turn)


_SERVERS = {"browser", "local_ray", "postgres", "s3"}
"""Fixtures that start a program besides Python's own processes."""


def _turn(item: pytest.Item) -> int:
    """The longest first, so that no process is left alone with them; before Ray those that fork."""
    (group,) = (mark.args[0] for mark in item.iter_markers("xdist_group"))
    first = ["toprung/planning/test_resuming.py", "ray"]
    return first.index(group) if group in first else len(first)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Tiny networks are slower on several threads, and their numbers differ with the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests, and the processes that they start, keep away from the user's own records."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _importable() -> Iterator[None]:
    """Processes that tests start find `tests` and `benchmarks`, which no installation has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
        yield


@pytest.fixture(autouse=True, scope="session")
def _quick() -> Iterator[None]:
    """Spare each test two slow steps whose results are the same every time.

    Garbage collection skips the objects that imports made, and opening a study does not look up
    the newest version of Optuna's tables.
    """
    gc.freeze()
    with tables_known():
        yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def local_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The one Ray that all tests share that need one, with a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        with ExitStack() as stack:
            with canaries_set():  # a driver's secrets, which Ray's processes do not get
                session = stack.enter_context(ray_session())
            session.wait()
            yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server; a test that stops it starts it again."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3 server with a bucket; this process's environment leads to it."""
    with s3_server() as server:
        yield server


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A small sweep, tested and exported, with its images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "fuzz-cache"))
        return whole_sweep(tmp_path_factory.mktemp("whole") / "place")


@pytest.fixture
def place(
    whole: Place,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Place:
    """A copy of it, to be damaged."""
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "fuzz-cache"))
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path_factory.mktemp("records")))
    copy = whole.copied(tmp_path / "place")
    copy.remember()
    return copy
