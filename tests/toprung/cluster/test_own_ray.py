"""A Ray that loses a process: noticed at once, said in one line, and nothing of it left running."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray._private import worker

from toprung.cluster.own_ray import OwnRay, watched
from toprung.settings import SweepSettings
from toprung.tune import stopping
from toprung.tune.patches import lean_tune
from toprung.tune.stopping import Ending

SECONDS = 30
RAYLET = """
import subprocess, sys, time
children = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"]) for _ in "ab"]
print(*(child.pid for child in children), flush=True)
time.sleep(100)
"""


def sleeper() -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"], text=True)


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Two that stand for Ray's server and its raylet, which has started two itself."""
    raylet = subprocess.Popen([sys.executable, "-c", RAYLET], stdout=subprocess.PIPE, text=True)
    started = {"gcs_server": sleeper(), "raylet": raylet}
    infos = {name: [SimpleNamespace(process=process)] for name, process in started.items()}
    node = SimpleNamespace(all_processes=infos, _gcs_client=object())
    monkeypatch.setattr(worker, "_global_node", node)
    with raylet, started["gcs_server"]:
        yield started
        for process in started.values():
            process.kill()


def children_of(raylet: subprocess.Popen[str]) -> list[int]:
    assert raylet.stdout is not None
    return [int(pid) for pid in next(raylet.stdout).split()]


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until_gone(pids: list[int]) -> bool:
    given_up = threading.Event()
    timer = threading.Timer(SECONDS, given_up.set)
    timer.start()
    while not all(map(is_gone, pids)) and not given_up.wait(0.02):
        pass
    timer.cancel()
    return all(map(is_gone, pids))


@pytest.mark.parametrize("name", ["gcs_server", "raylet"])
def test_a_process_that_is_killed(name: str, processes: dict[str, subprocess.Popen[str]]) -> None:
    children = children_of(processes["raylet"])
    own, said, heard = OwnRay(), [], threading.Event()
    assert not own.look()

    def tell(what: str) -> None:
        said.append(what)
        heard.set()

    with watched(own, tell):
        processes[name].kill()
        assert heard.wait(SECONDS)
    assert said == [f"Ray's {name} was killed (SIGKILL)"]
    own.kill_what_is_left()
    assert wait_until_gone([process.pid for process in processes.values()])
    if name == "gcs_server":  # the raylet's own end with it
        assert wait_until_gone(children)
    for pid in children:
        if not is_gone(pid):
            os.kill(pid, signal.SIGKILL)


def test_a_process_that_ends(processes: dict[str, subprocess.Popen[str]]) -> None:
    own = OwnRay()
    own._processes["raylet"] = subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"])
    own._processes["raylet"].wait()
    assert own.look()
    assert own.lost == "Ray's raylet has ended (exit code 7)"


def test_nothing_is_killed_of_a_ray_that_lives(
    processes: dict[str, subprocess.Popen[str]],
) -> None:
    own, said = OwnRay(), list[str]()
    with watched(own, said.append):
        pass
    own.kill_what_is_left()
    assert not said
    assert all(process.poll() is None for process in processes.values())


def test_somebody_else_s_ray_is_not_watched() -> None:
    before = threading.active_count()
    with watched(None, print):
        assert threading.active_count() == before


class TestEnding:
    @pytest.fixture
    def said(self) -> list[str]:
        return []

    @pytest.fixture
    def an_ending(self, said: list[str]) -> Ending:
        searcher: Any = SimpleNamespace(verdict="")
        patience: Any = SimpleNamespace(lost=None, end=lambda: said.append("waits no more"))
        return Ending(
            SweepSettings(),
            searcher,
            patience,
            said.append,
            kill_ray=lambda: said.append("killed"),
        )

    def test_in_order(self, an_ending: Ending, said: list[str]) -> None:
        an_ending.close()
        an_ending.lose_ray("lost")
        assert an_ending.stop_all()
        assert an_ending.ended == "interrupted"
        assert an_ending.ray_is_lost
        assert "killed" not in said
        assert said[0] == "lost"

    def test_where_tune_waits_for_ray(
        self, an_ending: Ending, said: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ended = threading.Event()

        def leave(code: int) -> None:
            said.append(f"exit {code}")
            ended.set()

        monkeypatch.setattr(stopping, "MAX_SECONDS_TO_END", 0)
        monkeypatch.setattr("toprung.tune.stopping.os._exit", leave)
        an_ending.lose_ray("lost")
        assert ended.wait(SECONDS)
        assert said == ["lost", "waits no more", "killed", "exit 130"]


@pytest.mark.parametrize("is_lost", [False, True])
def test_tune_asks_nothing_of_a_ray_that_is_lost(is_lost: bool) -> None:
    from ray.tune.execution.tune_controller import TuneController

    asked = list[bool]()
    manager = SimpleNamespace(cleanup=lambda: asked.append(True))
    with lean_tune(lambda: is_lost):
        TuneController._cleanup_trials(SimpleNamespace(_actor_manager=manager))
    assert asked == [] if is_lost else [True]
