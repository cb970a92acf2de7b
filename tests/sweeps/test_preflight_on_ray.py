"""The pre-flight on a Ray that is joined: what nodes answer, and what is told."""

import io
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import ray
from ray.exceptions import RayActorError
from rich.console import Console

from toprung.cluster.joining import joined
from toprung.cluster.lost_node import is_node_lost
from toprung.cluster.messages import Node, alive_nodes, ask_all
from toprung.cluster.placement import resources
from toprung.cluster.placement.free_resources import room
from toprung.cluster.preflight import check_cluster, check_shared
from toprung.errors import ToprungError
from toprung.planning.plan import SweepPlan, plan_sweep
from toprung.tune.callbacks import newcomers
from toprung.tune.callbacks.newcomers import Newcomers
from toprung.tune.callbacks.watcher import TrialStates
from toprung.tune.crashes import is_killed_by_ray

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


class TestNewcomers:
    @pytest.fixture
    def plan(self, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch) -> SweepPlan:
        monkeypatch.setattr(newcomers, "SECONDS_BETWEEN_LOOKS", -1.0)
        plan = _plan(tmp_path, console)
        plan.folder.path.mkdir()
        plan.folder.settings.write_text("what was asked for")
        return plan

    def heard(self, newcomers: Newcomers) -> None:
        """Until each has answered all; the first step asks, and each that hears may ask again."""
        newcomers.on_step(TrialStates([]))
        while waiting := list(newcomers._asked):
            ray.wait(waiting, timeout=60)
            newcomers.on_step(TrialStates([]))

    def test_one_that_is_well_is_not_spoken_of(self, plan: SweepPlan) -> None:
        told: list[str] = []
        watch = Newcomers(plan, [], told.append)
        self.heard(watch)
        assert told == []
        watch.on_step(TrialStates([]))
        assert watch._asked == {}  # it is known now

    def test_those_that_were_looked_at_are_not_asked(self, plan: SweepPlan) -> None:
        watch = Newcomers(plan, alive_nodes(), pytest.fail)
        watch.on_step(TrialStates([]))
        assert watch._asked == {}

    def test_one_with_another_folder_is_warned_of(self, plan: SweepPlan, tmp_path: Path) -> None:
        told: list[str] = []
        watch = Newcomers(plan, [], told.append)
        watch.on_step(TrialStates([]))
        plan.folder.settings.write_text("what another sweep was asked for")
        self.heard(watch)
        (here,) = alive_nodes()
        assert told == [
            f"warning: {here} has come, and trials there may fail: storage {tmp_path}: is not "
            "there, or another folder; all nodes must share it"
        ]


def test_another_cluster_than_the_one_that_was_joined(console: Console) -> None:
    with joined(None, console):
        assert resources.is_joined()
    with (
        pytest.raises(ToprungError, match=r"has joined the Ray at .* already"),
        joined("127.0.0.1:1", console),
    ):
        pytest.fail("that is another one")
    assert resources.is_joined()


def test_a_process_that_is_killed_is_told_in_the_words_that_deaths_are_told_apart_by() -> None:
    actor = ray.remote(_Process).options(num_cpus=0).remote()
    os.kill(ray.get(actor.number.remote()), signal.SIGKILL)
    with pytest.raises(RayActorError) as raised:
        ray.get(actor.number.remote(), timeout=60)
    text = str(raised.value)
    (here,) = alive_nodes()
    assert f"\tip: {here.address}\n" in text
    assert "Worker exit type: SYSTEM_ERROR" in text
    assert not is_node_lost(text)
    assert not is_killed_by_ray(text)


class _Process:
    def number(self) -> int:
        return os.getpid()
