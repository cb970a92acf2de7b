"""The files in clusters/, as far as they can be checked without AWS, Kubernetes and Slurm."""

import itertools
import json
import os
import re
import subprocess
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
CLUSTERS = ROOT / "clusters"
FIELDS = Path(__file__).with_name("raycluster_fields.json")
KEY_OF_TOKEN = re.compile(r"RAY_AUTH_TOKEN\b(?!_PATH)")
LONG_WORD = re.compile(r"\b[0-9a-f]{32,}\b")
FIRST_LINUX_GIVES_OUT = 32768
"""The lowest port that Linux gives to outgoing connections."""


@pytest.fixture(scope="module")
def aws() -> Any:
    return yaml.safe_load((CLUSTERS / "aws.yaml").read_text())


@pytest.fixture(scope="module")
def manifests() -> dict[str, Any]:
    documents = yaml.safe_load_all((CLUSTERS / "kuberay.yaml").read_text())
    return {document["kind"]: document for document in documents}


@pytest.fixture(scope="module")
def pods(manifests: dict[str, Any]) -> list[Any]:
    spec = manifests["RayCluster"]["spec"]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups]


def test_the_launcher_takes_the_aws_file(aws: Any) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(aws)
    validate_config(config)
    nodes = config["available_node_types"]
    assert {name: (node["min_workers"], node["max_workers"]) for name, node in nodes.items()} == {
        "head": (0, 0),
        "gpu": (0, 8),
    }
    assert nodes["gpu"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}


def test_the_launcher_would_refuse_what_it_does_not_know(aws: Any) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    with pytest.raises(jsonschema.ValidationError, match="idle_timeout"):
        validate_config(prepare_config({**aws, "idle_timeout": 5}))


def test_the_launcher_starts_a_ray_that_asks_for_a_token(aws: Any) -> None:
    assert aws["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    setup = "\n".join(aws["setup_commands"])
    assert "chmod 600 ~/.ray/auth_token" in setup
    assert "RAY_AUTH_MODE=token" in setup
    assert "--dashboard-host=127.0.0.1" in aws["head_start_ray_commands"][-1]


def test_what_the_aws_file_installs_is_this_version(aws: Any) -> None:
    wheel = f"toprung-{version('toprung')}-py3-none-any.whl"
    assert aws["file_mounts"][f"~/{wheel}"] == f"dist/{wheel}"
    assert any(f"pip install ~/{wheel}" in command for command in aws["setup_commands"])


def test_kuberays_fields_are_named_and_typed_right(manifests: dict[str, Any]) -> None:
    jsonschema.validate(manifests["RayCluster"], json.loads(FIELDS.read_text()))
    spec = manifests["RayCluster"]["spec"]
    pinned = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]
    assert f"ray=={spec['rayVersion']}" in pinned["constraint-dependencies"]
    assert spec["authOptions"] == {"mode": "token", "secretName": "toprung-token"}


def test_a_field_that_kuberay_does_not_know_is_seen(manifests: dict[str, Any]) -> None:
    cluster = json.loads(json.dumps(manifests["RayCluster"]))
    cluster["spec"]["workerGroupSpecs"][0]["template"]["spec"]["toleration"] = []
    with pytest.raises(jsonschema.ValidationError, match="toleration"):
        jsonschema.validate(cluster, json.loads(FIELDS.read_text()))


def test_each_pod_mounts_what_it_declares(manifests: dict[str, Any], pods: list[Any]) -> None:
    claim = manifests["PersistentVolumeClaim"]["metadata"]["name"]
    for pod in pods:
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        (container,) = pod["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
        assert volumes["sweeps"]["persistentVolumeClaim"]["claimName"] == claim
    assert len({pod["containers"][0]["image"] for pod in pods}) == 1


def test_only_the_clusters_own_pods_reach_it(manifests: dict[str, Any]) -> None:
    name = manifests["RayCluster"]["metadata"]["name"]
    own = {"matchLabels": {"ray.io/cluster": name}}
    fence = manifests["NetworkPolicy"]["spec"]
    assert fence["podSelector"] == own
    assert fence["ingress"] == [{"from": [{"podSelector": own}]}]


@pytest.mark.parametrize("file", sorted(CLUSTERS.iterdir()), ids=lambda file: file.name)
def test_no_secret_is_in_any_file(file: Path) -> None:
    text = file.read_text()
    assert not KEY_OF_TOKEN.findall(text)
    assert not LONG_WORD.findall(text)


FAKES = {
    "scontrol": 'printf "a\\n"; sleep .1; printf "b\\n"',
    "getent": 'echo "10.0.0.1 STREAM a"',
    "srun": 'mkdir -p "$STEPS"; out=$(mktemp "$STEPS/XXXX"); echo "$@" > "$out"\n'
    "for word; do case $word in --output=*) log=${word#--output=};; esac; done\n"
    'echo "Ray runtime started." > "${log/\\%N/a}"; exec sleep 60',
    "toprung": 'until [ "$(find "$STEPS" -type f -size +0 | wc -l)" = 2 ]; do sleep .05; done\n'
    'stat -c %a "$RAY_AUTH_TOKEN_PATH" "$(dirname "$RAY_AUTH_TOKEN_PATH")"\n'
    'wc -c < "$RAY_AUTH_TOKEN_PATH"; echo "$RAY_AUTH_MODE $@"; exit 7',
}
"""Programs that the script calls, as far as it can tell."""


@pytest.fixture
def slurm(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the script with stand-ins for Slurm and Toprung: these are no part of what is tested."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, script in FAKES.items():
        (bin_folder / name).write_text(f"#!/bin/bash\n{script}\n")
        (bin_folder / name).chmod(0o755)
    environment = {
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "USER": "someone",
        "STEPS": str(tmp_path / "steps"),
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_JOB_ID": "12345",
        "SLURM_JOB_NODELIST": "a,b",
        "SLURM_NNODES": "2",
        "SLURM_CPUS_PER_TASK": "8",
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        script = str(CLUSTERS / "slurm.sh")
        return subprocess.run(
            ["bash", script, *arguments], env=environment, capture_output=True, text=True
        )

    return run


def test_the_slurm_job_runs_the_sweep_on_its_own_ray(
    slurm: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    ended = slurm("run", "digits_cnn", "--out", "/shared/my sweeps")
    port = 10000 + 12345 % 90 * 250
    *facts, command = ended.stdout.splitlines()
    assert ended.returncode == 7, ended.stderr
    assert facts == ["600", "700", "64"]
    assert command == f"token run digits_cnn --out /shared/my sweeps --address 10.0.0.1:{port}"
    steps = [step.read_text() for step in (tmp_path / "steps").iterdir()]
    head, worker = sorted(steps, key=lambda step: "--head" not in step)
    assert f"--nodelist=a ray start --head --node-ip-address 10.0.0.1 --port {port} " in head
    assert f"--exclude=a ray start --address 10.0.0.1:{port} " in worker
    assert not list(tmp_path.glob(".toprung-*"))


def test_two_slurm_jobs_share_no_port() -> None:
    text = (CLUSTERS / "slurm.sh").read_text()
    offsets = [int(offset) for offset in re.findall(r"port \+ (\d+)", text)]
    assert max(offsets) < 250
    starts = [10000 + job % 90 * 250 for job in range(90)]
    assert all(after - before == 250 for before, after in itertools.pairwise(starts))
    assert starts[-1] + 249 < FIRST_LINUX_GIVES_OUT
