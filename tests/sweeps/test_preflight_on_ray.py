"""The pre-flight on a Ray that is joined: what nodes answer, and what is told."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from toprung import resources
from toprung.cluster.asking import Node, alive_nodes, ask_all
from toprung.cluster.joining import joined
from toprung.cluster.preflight import check_cluster, check_shared
from toprung.cluster.room import room
from toprung.errors import ToprungError
from toprung.plan import SweepPlan, plan_sweep

pytestmark = pytest.mark.usefixtures("local_ray")


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def _plan(out: Path, console: Console) -> SweepPlan:
    given = {"trials": 2, "max_epochs": 1}
    with joined(None, console):
        return plan_sweep(
            "digits_cnn", None, given, overrides={}, data=None, out=out, name="a", console=console
        )


def _shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_one_line_says_that_the_cluster_is_ready_and_nothing_is_written(
    tmp_path: Path, console: Console
) -> None:
    plan = _plan(tmp_path, console)
    check_cluster(plan)
    cpus = sum(node["CPU"] for node in resources.nodes())
    digest = str(plan.data.first.settings.digest)[:8]
    assert _shown(console).splitlines()[-1] == (
        f"cluster: 1 node, {cpus:g} CPUs; storage {tmp_path}; data {digest} the same on all"
    )
    assert list(tmp_path.iterdir()) == []
    assert room(plan.settings) == (
        f"a trial asks for 1 CPU; free: {cpus:g} of {cpus:g} CPUs (at most {cpus:g} on one node)"
    )


def test_every_node_writes_what_the_driver_sees(tmp_path: Path, console: Console) -> None:
    check_shared(tmp_path, alive_nodes(), console)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ToprungError, match="/proc: cannot be written"):
        check_shared(Path("/proc"), alive_nodes(), console)


def _no() -> None:
    raise ValueError("no\nway")


def test_a_node_that_fails_is_told_and_one_that_is_gone_is_left_out() -> None:
    (here,) = alive_nodes()
    gone = replace(here, id="e" * 56, hostname="spot")
    questions: dict[Node, Callable[[], object]] = {here: _no, gone: _no}
    told: list[str] = []
    assert ask_all([here, gone], questions, told.append) == {here: "ValueError: no way"}
    assert told == [f"warning: spot ({here.address}) went away, and is left out"]


def test_another_cluster_than_the_one_that_was_joined(console: Console) -> None:
    with joined(None, console):
        assert resources.is_joined()
    with (
        pytest.raises(ToprungError, match=r"has joined the Ray at .* already"),
        joined("127.0.0.1:1", console),
    ):
        pytest.fail("that is another one")
    assert resources.is_joined()
