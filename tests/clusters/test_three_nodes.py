"""A sweep on a cluster of three nodes, from a laptop that is shut in between, as a user does it."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import toprung
from tests.support.real_cluster import RealCluster, real_cluster
from toprung import events
from toprung.analysis.models.model import load_model
from toprung.analysis.sweep_folder import attributes

pytestmark = pytest.mark.three_nodes

NUM_TRIALS, NUM_EPOCHS = 3, 8
SPACE = f'''"""A small CNN, with a choice from a module of the user's own."""

import optuna

from my_choices import FILTERS

SWEEP = {{
    "data": "digits",
    "trials": {NUM_TRIALS},
    "max_epochs": {NUM_EPOCHS},
    "trial_scheduler": "none",
    "confirm": 0,
}}


def search_space(trial: optuna.Trial) -> dict:
    filters = trial.suggest_categorical("model/filters", FILTERS)
    lr = trial.suggest_float("optimizer/lr", 1e-3, 1e-2, log=True)
    return {{
        "model": {{"num_blocks": 2, "filters": filters}},
        "optimizer": {{"name": "adam", "lr": lr}},
        "training": {{"batch_size": 16}},
    }}
'''


@pytest.fixture(scope="module")
def cluster() -> Iterator[RealCluster]:
    quick_to_miss = json.dumps({"health_check_period_ms": 500, "health_check_failure_threshold": 2})
    with real_cluster(system_config=quick_to_miss) as cluster:
        cluster.add_node()
        cluster.add_node()
        yield cluster


class Laptop:
    """A user's shell in a folder of its own."""

    def __init__(self, folder: Path, cluster: RealCluster) -> None:
        self.folder = folder
        self._environment = cluster.client_env()
        self._at = ["--address", cluster.http_address]

    def toprung(self, *arguments: str) -> str:
        """What a command prints that goes well."""
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "from toprung.cli.main import main; main()",
                *arguments,
                *self._at,
            ],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def test_a_node_dies_while_the_laptop_is_shut(cluster: RealCluster, tmp_path: Path) -> None:
    shared, folder = tmp_path / "shared", tmp_path / "laptop"
    shared.mkdir()
    folder.mkdir()
    (folder / "my_space.py").write_text(SPACE)
    (folder / "my_choices.py").write_text("FILTERS = [4, 8]\n")
    (folder / ".env").write_text("SECRET=1\n")
    laptop = Laptop(folder, cluster)
    decisions = shared / "mine" / "decisions.jsonl"

    said = laptop.toprung("submit", "my_space.py", "--name", "mine", "--out", str(shared))
    assert "cluster: 3 nodes" in said
    assert "toprung-mine" in said

    _wait_until(lambda: all_have_reported(decisions) and cluster.nodes[2].trains)
    cluster.nodes[2].kill()

    log = laptop.toprung("logs", "-f", "toprung-mine")
    assert "its node was lost" in log
    laptop.toprung("fetch", "mine", "--to", "here")
    here = toprung.open(folder / "here")
    assert [trial.ended for trial in here.trials()] == [attributes.FINISHED] * NUM_TRIALS, log
    each_epoch_once = {number: list(range(1, NUM_EPOCHS + 1)) for number in range(NUM_TRIALS)}
    assert reported(folder / "here" / "decisions.jsonl") == each_epoch_once
    assert len(json.loads(here.folder.sealed_test.read_text())) == 1
    assert load_model(here.folder.best).class_names == tuple("0123456789")
    assert here.folder.report.joinpath("report.html").is_file()


def reported(decisions: Path) -> dict[int, list[float]]:
    """The epochs that each trial has reported."""
    lines = decisions.read_text().splitlines() if decisions.exists() else []
    epochs: dict[int, list[float]] = {}
    for event in map(json.loads, lines):
        if event["event"] == "suggested":
            epochs[event["trial"]] = []
        if event["event"] == events.REPORTED:
            epochs[event["trial"]].append(event["epoch"])
    return epochs


def all_have_reported(decisions: Path) -> bool:
    epochs = reported(decisions)
    return len(epochs) == NUM_TRIALS and all(epochs.values())


def _wait_until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.1)
