"""Which deaths are held to be kills for memory: each kill accounts for one death on its node."""

from typing import Any

import pytest

from toprung.cluster.messages import Node
from toprung.tune.callbacks import oom_watch
from toprung.tune.callbacks.oom_watch import OomWatch
from toprung.tune.callbacks.watcher import TrialStates

LEFT, RIGHT = (Node(name, name, f"10.0.0.{n}", 1, 0, False) for n, name in ((1, "l"), (2, "r")))


def death(node: Node | None) -> str:
    """The lines of Ray's text that count."""
    ip = f"\tip: {node.address}\n" if node else ""
    return f"The actor died unexpectedly.\n\tpid: 7\n{ip}The actor is dead because its worker …"


class Nodes:
    """The nodes of a cluster, each with its counter; `silent` ones do not answer."""

    def __init__(self) -> None:
        self.kills: dict[Node | None, int | None] = {None: 0, LEFT: 0, RIGHT: 0}
        self.silent: set[Node] = set()

    def ask(self, node: Node, question: Any) -> tuple[Node, int | None]:
        del question
        return node, self.kills[node]

    def alive(self) -> list[Node]:
        return [node for node in self.kills if node]


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Nodes:
    nodes = Nodes()

    def wait(references: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        del timeout
        return [answer for answer in references if answer[0] not in nodes.silent], []

    monkeypatch.setattr(oom_watch, "oom_kills", lambda: nodes.kills[None])
    monkeypatch.setattr(oom_watch, "alive_nodes", nodes.alive)
    monkeypatch.setattr(oom_watch, "ask", nodes.ask)
    monkeypatch.setattr(oom_watch, "answered", lambda references: wait(references, 0)[0])
    monkeypatch.setattr(oom_watch, "heard", lambda _, reference: reference[1])
    monkeypatch.setattr("ray.wait", wait)
    return nodes


def test_each_kill_accounts_for_one_death(nodes: Nodes) -> None:
    nodes.kills[None] = 5  # from before the sweep
    watch = OomWatch(None)
    assert watch.accounts_for(death(LEFT)) is False
    nodes.kills[None] = 7
    assert [watch.accounts_for(death(LEFT)) for _ in range(3)] == [True, True, False]


def test_a_machine_that_does_not_count_says_nothing(nodes: Nodes) -> None:
    nodes.kills[None] = None
    assert OomWatch(None).accounts_for(death(LEFT)) is None


def test_a_kill_on_one_node_does_not_account_for_a_death_on_another(nodes: Nodes) -> None:
    watch = OomWatch([LEFT, RIGHT])
    nodes.kills[LEFT] = 1
    assert watch.accounts_for(death(RIGHT)) is False
    assert watch.accounts_for(death(LEFT)) is True
    assert watch.accounts_for(death(LEFT)) is False


def test_a_node_that_came_later_is_asked_before_a_trial_dies_there(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = OomWatch([LEFT])
    monkeypatch.setattr(oom_watch, "SECONDS_BETWEEN_LOOKS", -1.0)
    watch.on_step(TrialStates([]))
    nodes.kills[RIGHT] = 1
    assert watch.accounts_for(death(RIGHT)) is True


def test_what_a_node_did_not_say_is_not_known_until_the_next_death(nodes: Nodes) -> None:
    nodes.silent, nodes.kills[RIGHT] = {RIGHT}, 3
    watch = OomWatch([LEFT])
    assert watch.accounts_for(death(RIGHT)) is None
    nodes.silent = set()
    assert watch.accounts_for(death(RIGHT)) is None
    nodes.kills[RIGHT] = 4
    assert watch.accounts_for(death(RIGHT)) is True


def test_a_death_whose_node_is_unknown_or_gone(nodes: Nodes) -> None:
    watch = OomWatch([LEFT, RIGHT])
    assert watch.accounts_for(death(None)) is None
    del nodes.kills[LEFT]
    assert watch.accounts_for(death(LEFT)) is None
