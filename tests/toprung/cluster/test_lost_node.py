"""The words by which deaths are told apart are those of the Ray that is installed."""

import mmap
from pathlib import Path

import pytest
import ray
from ray.core.generated.common_pb2 import WorkerExitType
from ray.exceptions import ActorUnavailableError

from tests.support.ray_errors import CUT_OFF, NODE_DIED, WORKER_DIED, actor_died
from toprung.cluster import lost_node
from toprung.cluster.lost_node import is_node_lost
from toprung.tune.callbacks import oom_watch
from toprung.tune.crashes import is_killed_by_ray

_SERVER, _DRIVER = "core/src/ray/gcs/gcs_server", "_raylet.so"
"""Ray's own programs, which make the texts; Python only passes them on."""


@pytest.mark.parametrize(
    ("words", "program"),
    [
        ("node has died", _SERVER),
        ("node was terminated", _SERVER),
        ("The actor is temporarily unavailable", _DRIVER),
        ("Worker exit type: ", _SERVER),
        ("worker process has died", _SERVER),
    ],
)
def test_ray_still_says_so(words: str, program: str) -> None:
    with (
        (Path(ray.__file__).parent / program).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        assert content.find(words.encode()) > 0


def test_no_other_words_are_looked_for() -> None:
    assert lost_node._SAYS_SO.pattern.split("|") == [
        "node has died",
        "node was terminated",
        "The actor is temporarily unavailable",
    ]


def test_the_kinds_of_ends_have_these_names() -> None:
    assert {"SYSTEM_ERROR", "NODE_OUT_OF_MEMORY"} <= set(WorkerExitType.keys())


def test_which_deaths_are_a_node_s() -> None:
    cut_off = ActorUnavailableError(CUT_OFF, b"\x2d" * 16)
    assert is_node_lost(str(cut_off))
    assert is_node_lost(str(actor_died(NODE_DIED)))
    assert not is_node_lost(str(actor_died(WORKER_DIED)))


def test_which_deaths_are_the_memory_monitor_s() -> None:
    killed = WORKER_DIED.replace("SYSTEM_ERROR", "NODE_OUT_OF_MEMORY")
    assert is_killed_by_ray(str(actor_died(killed)))
    assert not is_killed_by_ray(str(actor_died(WORKER_DIED)))  # which names the OOM killer


def test_the_address_of_the_node_is_in_what_ray_says_of_a_death() -> None:
    found = oom_watch._ADDRESS.search(str(actor_died(WORKER_DIED, address="10.0.0.7")))
    assert found is not None
    assert found[1] == "10.0.0.7"
