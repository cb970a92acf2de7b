"""How many trials run at a time on a cluster whose nodes come and go."""

from typing import Any

import pytest

from toprung.cluster.placement import free_resources, resources
from toprung.cluster.placement.autoscaling import has_kinds_of_nodes
from toprung.cluster.placement.packing import Packing
from toprung.cluster.placement.resources import settle
from toprung.settings import SweepSettings
from toprung.trainables.system.typed_settings import parse
from toprung.tune.capacity import SECONDS_BETWEEN_LOOKS, SECONDS_TO_GROW, Capacity

SMALL = {"CPU": 1.0, "GPU": 0.0}
LARGE = {"CPU": 8.0, "GPU": 2.0}


class Cluster:
    """Nodes, a clock, and what is told of them."""

    def __init__(self, *nodes: dict[str, float], **given: Any) -> None:
        self.nodes = list(nodes)
        self.now = 0.0
        self.looks = 0
        self.told: list[str] = []
        settings = settle(parse(SweepSettings, given, "the sweep"), self.nodes, elastic=True)
        self.packing = Packing(settings)
        self.autoscales = False
        self.capacity = Capacity(
            self.packing,
            self.told.append,
            nodes=self.look,
            autoscales=lambda: self.autoscales,
            clock=lambda: self.now,
        )

    def look(self) -> list[dict[str, float]]:
        self.looks += 1
        return self.nodes

    def later(self) -> int:
        self.now += SECONDS_BETWEEN_LOOKS + 0.1
        return self.capacity()


def test_a_node_that_comes_is_used_and_one_that_goes_is_not() -> None:
    cluster = Cluster(SMALL, SMALL)
    assert cluster.capacity() == 2
    cluster.nodes.append(LARGE | {"GPU": 0.0})
    assert cluster.later() == 10
    del cluster.nodes[1:]
    assert cluster.later() == 1
    assert cluster.told == [
        "cluster: 3 nodes now; trials at a time: 10, before 2",
        "cluster: 1 node now; trials at a time: 1, before 10",
    ]


def test_nodes_are_looked_up_every_two_seconds() -> None:
    cluster = Cluster(SMALL)
    for _ in range(100):
        cluster.capacity()
        cluster.now += 0.1  # Tune asks ten times a second
    assert cluster.looks == 5


def test_only_nodes_with_a_gpu_count_where_trials_have_one() -> None:
    cluster = Cluster(SMALL, LARGE, gpus_per_trial=0.5)
    assert cluster.capacity() == 4
    del cluster.nodes[1]
    assert cluster.later() == 0


def test_what_the_user_said_stays() -> None:
    cluster = Cluster(SMALL, SMALL, concurrency=1)
    cluster.nodes.append(LARGE)
    assert (cluster.later(), cluster.looks, cluster.told) == (1, 0, [])


def test_packing_that_is_loosened_lowers_it() -> None:
    cluster = Cluster(LARGE, gpus_per_trial=0.25)
    assert cluster.capacity() == 8
    cluster.packing.settings = cluster.packing.settings.model_copy(update={"gpus_per_trial": 0.5})
    assert cluster.later() == 4


def test_how_many_share_a_gpu_as_was_found_holds_against_what_was_asked_for() -> None:
    cluster = Cluster(LARGE, gpus_per_trial="auto", concurrency=6)
    cluster.packing.settings = Packing.auto(cluster.packing.settings, 4, 1).settings
    cluster.packing.trials_per_gpu = 4
    assert (cluster.capacity(), cluster.told) == (6, [])
    cluster.packing.loosen({"CPU": 1.0, "GPU": 0.25})
    assert [cluster.later(), cluster.later()] == [4, 4]
    assert cluster.told == ["concurrency = 6: the GPUs hold 4 trials at a time"]


def test_a_trial_that_waits_though_there_is_room_is_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(free_resources, "free_machines", lambda: [SMALL])
    monkeypatch.setattr(resources, "nodes", lambda: [SMALL, LARGE])
    assert (
        free_resources.why_none_begins(SweepSettings())
        == "there is room, and its process is starting"
    )
    assert free_resources.why_none_begins(SweepSettings(cpus_per_trial=2)) == (
        "a trial asks for 2 CPUs; free: 1 of 9 CPUs (at most 1 on one node)"
    )


def test_an_autoscaler_is_shown_trials_that_wait() -> None:
    cluster = Cluster(SMALL)
    cluster.autoscales = True
    assert cluster.capacity() == 2
    cluster.nodes.append(LARGE | {"GPU": 0.0})
    assert cluster.later() == 18
    cluster.now += SECONDS_TO_GROW  # it brings no more: suggestions are not to wait in vain
    assert cluster.later() == 10
    cluster.nodes.clear()
    assert cluster.later() == 1


def test_a_monitor_without_an_autoscaler_names_no_kinds_of_nodes() -> None:
    assert has_kinds_of_nodes({"autoscaler_report": {"active_nodes": {"ray.head.default": 1}}})
    mapped = {"active_nodes": {}, "node_type_mapping": {"ff01": "ray.head.default"}}
    assert has_kinds_of_nodes({"autoscaler_report": mapped})
    node = f"node_{'0a1b' * 14}"
    alone = {"active_nodes": {node: 2}, "node_type_mapping": {"0a1b": node}}
    assert not has_kinds_of_nodes({"autoscaler_report": alone})
    for kind in ("node_gpu", "node_a"):
        assert has_kinds_of_nodes({"autoscaler_report": {"active_nodes": {kind: 1}}})
    assert not has_kinds_of_nodes({})
