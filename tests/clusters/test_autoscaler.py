"""A sweep on a cluster that has no place for a trial until its autoscaler starts nodes."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import toprung
from tests.support.real_cluster import RealCluster

HEAD = "f" * 51 + "0" * 5
"""The id by which Ray's emulated provider of nodes knows the head."""
AUTOSCALER = {
    "RAY_FAKE_CLUSTER": "1",
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD,
    "RAY_CLOUD_INSTANCE_ID": HEAD,
}


def launcher_config(address: str) -> dict[str, Any]:
    """As for Ray's cluster launcher; up to two nodes of one CPU, which run on this machine."""
    emulated = {
        "type": "fake_multinode",
        "gcs_address": address,
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    }
    head = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
    small = {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2}
    commands = ("initialization", "setup", "head_setup", "worker_setup")
    starts = ("head_start_ray", "worker_start_ray")
    return {
        "cluster_name": "emulated",
        "max_workers": 2,
        "idle_timeout_minutes": 1,
        "provider": emulated,
        **{part: {} for part in ("auth", "docker", "file_mounts")},
        "cluster_synced_files": [],
        "available_node_types": {"ray.head.default": head, "small": small},
        "head_node_type": "ray.head.default",
        **{f"{name}_commands": [] for name in (*commands, *starts)},
    }


@pytest.fixture
def cluster() -> Iterator[RealCluster]:
    with tempfile.TemporaryDirectory(prefix="tr-", dir="/tmp", ignore_cleanup_errors=True) as place:
        config = Path(place) / "config.json"
        options = (f"--autoscaling-config={config}",)
        cluster = RealCluster(Path(place), num_cpus=0, env=AUTOSCALER, options=options)
        config.write_text(json.dumps(launcher_config(cluster.address)))
        try:
            cluster.start_head()
            yield cluster
        finally:
            cluster.end()


@pytest.mark.autoscaler
def test_nodes_come_as_trials_wait_for_them(cluster: RealCluster, tmp_path: Path) -> None:
    budget = ["--trials", "6", "--max-epochs", "20", "--set", "training/batch_size=8"]
    place = ["--name", "grown", "--out", str(tmp_path), "--address", cluster.address]
    command = [
        sys.executable,
        "-c",
        "from toprung.cli.main import main; main()",
        "run",
        "digits_cnn",
    ]
    done = subprocess.run(
        [*command, *budget, *place],
        env=cluster.client_env(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout + done.stderr
    assert "cluster: 1 node; none of them can train a trial yet" in told
    assert "the autoscaler may bring one" in told
    assert "trials there may fail" not in told
    assert "cluster: 3 nodes now; trials at a time: 2" in told
    assert len(toprung.open(tmp_path / "grown").trials()) == 6
