"""Whether any secret of a user's is in what a sweep leaves, lists, prints, or runs.

Command:  uv run python -m benchmarks.secrets

Secrets (`tests.support.canaries`) are in fourteen variables of the user's shell, in files beside
the search space, and in an error of one of its trials. Sweeps are run and resumed on this
machine, on a cluster of two nodes from one of these, through Ray's client and as jobs there; to a
folder and to an S3 server. Each is searched: its folder or objects, the files of every Ray of it
(logs, packages), what the commands print, what `ray list` tells of actors, jobs, workers and
runtime environments, and, several times a second, the environment of every process that is there
but for the user's own commands.

The cluster's nodes have a secret of their own for the store, which is looked for everywhere but in
their processes.
"""

import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from tests.support.canaries import (
    CANARY,
    OF_A_NODE,
    VARIABLES,
    files_with_canaries,
    found_in,
    processes_with_canaries,
)
from tests.support.real_cluster import RAY, RealCluster, real_cluster
from tests.support.s3 import BUCKET, ENVIRONMENT, S3Server
from toprung.trainables.files.object_store import ObjectStore

FILES = {
    "config.yaml": f"aws_secret_access_key: {CANARY}{'wJalrXUtnF' * 3}\n",
    "hub.toml": f'hub = "hf_{CANARY}{"aB3dE5gH7j" * 3}"\n',
    "database.py": f"URL = 'postgresql://me:{CANARY}1@host/db'\n",
    "notes.txt": f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}\n",
    "secrets.yaml": f"anything: {CANARY}\n",
    ".env": f"KEY={CANARY}\n",
}
_SECONDS_BETWEEN_LOOKS = 0.2
_COMMANDS = ("toprung.cli.main import main", "benchmarks.secrets")
"""The user's own: they have the user's environment."""


@dataclass
class User:
    """Somebody with secrets, in a folder with others.

    Attributes:
        folder: of the search space.
        environment: of the shell.
        seen: processes that had a secret though they need none.
        printed: what the commands have printed.
    """

    folder: Path
    environment: Mapping[str, str]
    seen: set[str]
    printed: str = ""

    def __call__(self, *arguments: str, code: int = 0) -> None:
        """Run `toprung`."""
        done = subprocess.run(
            [sys.executable, "-c", "from toprung.cli.main import main; main()", *arguments],
            cwd=self.folder,
            env={**self.environment, **VARIABLES},
            capture_output=True,
            text=True,
        )
        self.printed += done.stdout + done.stderr
        if done.returncode != code:
            raise RuntimeError(f"toprung {' '.join(arguments)}: {done.stdout}{done.stderr}")


@contextmanager
def watched(user: User) -> Iterator[None]:
    """Look at every process's environment all the while."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_SECONDS_BETWEEN_LOOKS):
            user.seen |= {
                command
                for command in processes_with_canaries()
                if not any(own in command for own in _COMMANDS)
            }

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def on_this_machine(user: User, out: str) -> None:
    """A Ray of the sweep's own."""
    user("run", "space.py", "--name", "local", "--out", out)
    user("resume", f"{out}/local", "--trials", "+1")


def from_a_node(user: User, out: str, cluster: RealCluster) -> None:
    """The driver joins the cluster from one of its nodes."""
    user("run", "space.py", "--name", "joined", "--out", out, "--address", cluster.address)
    user("resume", f"{out}/joined", "--trials", "+1", "--address", cluster.address)


def through_client(user: User, out: str, cluster: RealCluster) -> None:
    """The driver runs on the head, and is followed through Ray's client."""
    client = f"ray://{cluster.head.address}:{cluster.client_port}"
    user("run", "space.py", "--name", "client", "--out", out, "--address", client)


def as_jobs(user: User, out: str, cluster: RealCluster) -> None:
    """The driver is a job on the cluster."""
    at = ("--address", cluster.http_address)
    user("submit", "space.py", "--name", "sent", "--out", out, *at)
    user("logs", "-f", "sent", *at)
    user("resume", f"{out}/sent", "--trials", "+1", *at)
    user("logs", "-f", "sent", *at)
    user("status", "sent", *at)


def listed(cluster: RealCluster, environment: dict[str, str]) -> str:
    """What Ray lists of the cluster's actors and jobs, in detail."""
    lists = ""
    for what in ("actors", "jobs", "workers", "runtime-envs"):
        command = [str(RAY), "list", what, "--detail", "--limit=1000"]
        lists += subprocess.run(
            [*command, f"--address={cluster.http_address}"],
            env=environment | {"RAY_AUTH_MODE": "token"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
    assert "ImplicitFunc" in lists, lists  # the trials' actors are among them
    return lists


def row(
    where: str, user: User, out: Path | ObjectStore, rays: list[Path], lists: str
) -> list[object]:
    """The row of the table for what was run: how often a secret was found, and in what."""
    if isinstance(out, Path):
        left = files_with_canaries(out)
    else:
        objects = {name: (out.read(name) or b"").decode("latin-1") for name in out.list()}
        left = [name for name, content in objects.items() if found_in([content])]
    printed, told = (found_in(text.splitlines()) for text in (user.printed, lists))
    found = [left, files_with_canaries(*rays), sorted(user.seen), printed, told]
    for place in chain(*found):
        print(f"  found: {place}")
    return [where, *map(len, found)]


def run_all(place: Path, s3: S3Server) -> list[list[object]]:
    """All of it: a row of the table for each way and kind of storage."""
    project = place / "project"
    project.mkdir()
    (project / "space.py").write_text((Path(__file__).parent / "space.py").read_text())
    for name, content in FILES.items():
        (project / name).write_text(content)
    store = ENVIRONMENT | {"AWS_ENDPOINT_URL": s3.endpoint, "AWS_SECRET_ACCESS_KEY": OF_A_NODE}
    rows = []
    with real_cluster(num_cpus=2, env=store) as cluster:
        cluster.add_node(2)
        environment = cluster.client_env() | store
        own_places = {"RAY_TMPDIR": str(place), "TOPRUNG_STATE_DIR": str(place / "state")}
        rays = [node.folder for node in cluster.nodes]
        ways: dict[str, Callable[[User, str], None]] = {
            "this machine": on_this_machine,
            "a cluster's node": lambda user, out: from_a_node(user, out, cluster),
            "Ray's client": lambda user, out: through_client(user, out, cluster),
            "jobs on a cluster": lambda user, out: as_jobs(user, out, cluster),
        }
        for way, run in ways.items():
            name = re.sub(r"\W+", "-", way)
            for kind in ("folder", "S3"):
                out = place / name if kind == "folder" else ObjectStore(f"s3://{BUCKET}/{name}")
                user = User(project, environment | own_places, set())
                with watched(user):
                    run(user, str(out))
                own = [place / "ray"] if way == "this machine" else rays
                assert any(folder.rglob("*.log") for folder in own)
                lists = "" if way == "this machine" else listed(cluster, environment)
                rows.append(row(f"{way}, {kind}", user, out, own, lists))
                print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Run, print the table, and fail if a secret was found."""
    s3 = S3Server()
    s3.start()
    try:
        os.environ.update(ENVIRONMENT, AWS_ENDPOINT_URL=s3.endpoint)
        with tempfile.TemporaryDirectory(prefix="ts-", dir="/tmp") as place:
            rows = run_all(Path(place), s3)
    finally:
        s3.stop()
    print("| secrets found in | what it left | Ray's files | processes | prints | ray list |")
    print("|---|---|---|---|---|---|")
    for cells in rows:
        print(f"| {' | '.join(map(str, cells))} |")
    sys.exit(any(any(counts) for _, *counts in rows))


if __name__ == "__main__":
    main()
