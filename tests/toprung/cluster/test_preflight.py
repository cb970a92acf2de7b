"""What each node of a cluster is asked before a sweep begins, and what is told of it."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.helpers import tiny_config
from toprung.cluster import node_look, versions
from toprung.cluster.machine_checks import GIB
from toprung.cluster.messages import Node
from toprung.cluster.node_look import DRIVER_FILE, look_at_folder, look_at_inputs, weights_digest
from toprung.cluster.placement.free_resources import room_text
from toprung.cluster.placement.packing import Packing
from toprung.cluster.placement.resources import Resources
from toprung.cluster.preflight import can_train, summary
from toprung.settings import SweepSettings
from toprung.trainables.data import DataSettings, prepare
from toprung.trainables.system.typed_settings import parse
from toprung.tune.callbacks.starvation_watch import SECONDS_TO_WAIT, RoomWatch
from toprung.tune.callbacks.watcher import TrialStates

SHARED = "nonce"


def _node(cpus: float, gpus: float) -> Node:
    return Node("id", "host", "10.0.0.1", cpus, gpus, False)


def test_versions_that_differ_are_told_together() -> None:
    here = versions.versions()
    assert versions.look(here) == ""
    told = versions.look(here | {"ray": "9.9", "torch": "1.0"})
    assert told.startswith(f"ray {here['ray']}, here 9.9, torch {here['torch']}, here 1.0 (")


def test_the_hardware_that_torch_is_built_for_is_no_difference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(versions, "version", lambda _: "2.15.0+cpu")
    here = versions.versions()
    monkeypatch.setattr(versions, "version", lambda _: "2.15.0+cu128")
    assert versions.look(here) == ""


def test_a_folder_that_is_shared_is_written_for_the_driver_to_see(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    node_look.leave(shared, SHARED)
    assert look_at_folder(shared, SHARED, "node").problem == ""
    assert node_look.read_soon(shared / "node" / DRIVER_FILE) == SHARED


def test_a_folder_that_is_another_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_look, "_SECONDS_TO_APPEAR", 0.0)
    told = look_at_folder(tmp_path / "shared", SHARED, "node").problem
    assert told.startswith(f"storage {tmp_path}: is another folder there")
    told = look_at_folder(tmp_path / "missing" / "shared", SHARED, "node").problem
    assert told.startswith(f"storage {tmp_path / 'missing'}: is not there")


def test_a_full_disk_is_a_problem_and_one_that_may_fill_up_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    node_look.leave(shared, SHARED)
    free = GIB
    monkeypatch.setattr(node_look.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))  # type: ignore[attr-defined]
    answer = look_at_folder(shared, SHARED, "node")
    assert answer.problem == ""
    assert answer.warning.startswith("1.0 GiB of disk free for its cache")
    free = GIB // 10
    answer = look_at_folder(shared, SHARED, "node")
    assert answer.problem.startswith("only 0.1 GiB of disk free for its cache")


def test_the_data_must_be_the_drivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = prepare(DataSettings(source="digits", image_size=8, channels=1)).settings
    assert look_at_inputs([pinned], []).problem == ""
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path))  # on a node that has no store of it
    other = pinned.model_copy(update={"digest": "0" * 32})
    told = look_at_inputs([other], []).problem
    assert told.startswith("data digits: other images, or in other splits, than the driver's")
    assert str(pinned.digest)[:8] in told
    gone = other.model_copy(update={"source": str(tmp_path / "gone")})
    assert "gone" in look_at_inputs([gone], []).problem


def test_a_file_of_weights_must_be_the_drivers(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    file.write_bytes(b"some")
    config = tiny_config(model__weights=str(file))
    digest = weights_digest(config)
    assert look_at_inputs([], [(config, digest)]).problem == ""
    file.write_bytes(b"others")
    told = look_at_inputs([], [(config, digest)]).problem
    assert told == f"weights {file}: another file than the driver's"
    file.unlink()
    assert (
        look_at_inputs([], [(config, digest)]).problem == f"weights {file}: there is no such file"
    )


def test_nodes_that_no_trial_is_given_to_are_not_asked() -> None:
    on_gpu = parse(SweepSettings, {"gpus_per_trial": 0.5, "cpus_per_trial": 2}, "the sweep")
    on_cpu = parse(SweepSettings, {"gpus_per_trial": 0}, "the sweep")
    nodes = [_node(0, 0), _node(2, 0), _node(1, 1), _node(4, 2)]
    assert [can_train(node, on_gpu) for node in nodes] == [False, False, False, True]
    assert [can_train(node, on_cpu) for node in nodes] == [False, True, True, True]
    assert summary(nodes) == "4 nodes, 7 CPUs, 3 GPUs"
    assert summary(nodes[1:2]) == "1 node, 2 CPUs"


def test_what_is_asked_for_and_what_is_free() -> None:
    there: list[Resources] = [{"CPU": 4.0, "GPU": 1.0}, {"CPU": 2.0, "GPU": 0.0}]
    free: list[Resources] = [{"CPU": 3.0, "GPU": 0.5}, {"CPU": 2.0, "GPU": 0.0}]
    assert room_text({"CPU": 4.0, "GPU": 1.0}, free, there) == (
        "a trial asks for 4 CPUs and 1 GPU; free: 5 of 6 CPUs (at most 3 on one node) and "
        "0.5 of 1 GPU (at most 0.5 on one node)"
    )


def test_trials_that_wait_while_none_runs_are_told_every_half_minute() -> None:
    now = [0.0]
    told: list[str] = []
    settings = parse(SweepSettings, {}, "the sweep")
    watch = RoomWatch(Packing(settings), told.append, lambda _: "nothing is free", lambda: now[0])

    def step(at: float, *states: str) -> int:
        now[0] = at
        trials = [SimpleNamespace(status=state, config={"number": 0}) for state in states]
        watch.on_step(TrialStates(trials))
        return len(told)

    assert step(SECONDS_TO_WAIT + 1, "TERMINATED") == 0
    assert step(SECONDS_TO_WAIT + 2, "PENDING") == 0
    assert step(2 * SECONDS_TO_WAIT + 2, "PENDING") == 1
    assert told == ["no trial has begun for 30 s: nothing is free"]
    assert step(4 * SECONDS_TO_WAIT, "PENDING", "RUNNING") == 1
    assert step(5 * SECONDS_TO_WAIT - 1, "PENDING") == 1
