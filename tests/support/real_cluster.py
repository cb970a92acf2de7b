"""A Ray cluster of several nodes on this machine, begun as a user does: with `ray start`.

Each node has a loopback address, a folder and a Toprung cache of its own, so that to Ray and to
Toprung they are different machines; only the file system is one.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from toprung.analysis.sweep_folder.user_state import STATE_VARIABLE

RAY = Path(sys.executable).parent / "ray"
_SECONDS_TO_START = 90.0
_TRIAL = b"ray::ImplicitFunc.train"
"""What Ray calls a process in which a trial of Tune's trains."""
_STARTED = "This command will now block forever"
_LEAN = ["--include-log-monitor=false", f"--object-store-memory={80 * 2**20}"]
"""What no test needs: workers' prints at the driver, much shared memory."""
_AUTOSCALER = "--autoscaling-config="


@dataclass
class RealNode:
    """One node: the process `ray start --block`, with all of Ray's below it.

    Attributes:
        address: its IP address.
        folder: for Ray's files of this node, for its cache (`cache`) and its output (`output`).
    """

    address: str
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def output(self) -> str:
        """What `ray start` has printed."""
        return (self.folder / "output").read_text()

    @property
    def cache(self) -> Path:
        """What TOPRUNG_CACHE_DIR is there."""
        return self.folder / "cache"

    @property
    def runs(self) -> bool:
        """Whether `ray start` has not ended."""
        return self.process.poll() is None

    @property
    def trains(self) -> bool:
        """Whether a trial is in one of its processes."""
        return any(_read(pid, "cmdline").startswith(_TRIAL) for pid in self._processes())

    def kill(self) -> None:
        """End all of it at once with kill -9, as a machine that loses its power."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def signal(self, number: int) -> None:
        """Send all its processes a signal: after SIGSTOP it is cut off, after SIGCONT back."""
        for process in self._processes():
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def end(self) -> None:
        """End it in order, as Ctrl-C at `ray start --block` does; by kill -9 what stays on."""
        if self.runs:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=10)
        self.kill()

    def _processes(self) -> list[int]:
        """`ray start` and all below it; also what outlived its parent, by its environment.

        (Ray's workers write their title over their environment; they end when their raylet does.)
        """
        own = f"TOPRUNG_TEST_NODE={self.folder}".encode()
        parents = _parents()
        found = {pid for pid in parents if own in _read(pid, "environ").split(b"\0")}
        found.add(self.process.pid)
        while below := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= below
        return sorted(found & parents.keys())


class RealCluster:
    """A head node with a job server, and any number of further nodes.

    Args:
        folder: for all it writes; its path must be short, since Ray's sockets lie below it.
        num_cpus: logical CPUs of the head node.
        env: variables that all nodes get (and with them drivers of jobs and trials).
        system_config: Ray's own settings, as JSON: `{"health_check_period_ms": 500}`.
        options: further options of the head's `ray start`, such as `("--num-gpus=2",)`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        num_cpus: int = 1,
        env: Mapping[str, str] | None = None,
        system_config: str | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        self._folder = folder
        self._own_env = dict(env or {})
        self.token_file = folder / "token"
        """The token that all nodes ask for; only its owner can read the file."""
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(secrets.token_hex(32))
        self._network = secrets.randbelow(200) + 20  # so that two clusters do not meet
        self._port, dashboard = free_port(), free_port()
        self.client_port = free_port()
        """Of `ray://HOST:PORT`."""
        self._head_options = (
            "--head",
            f"--port={self._port}",
            f"--ray-client-server-port={self.client_port}",
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={dashboard}",
            f"--num-cpus={num_cpus}",
            *([f"--system-config={system_config}"] if system_config else []),
            *options,
        )
        self.http_address = f"http://127.0.0.1:{dashboard}"
        """What `toprung submit --address` takes."""
        self.address = f"{self._node_address(1)}:{self._port}"
        """What `toprung run --address` takes."""
        self.nodes: list[RealNode] = []
        """All that were started, the head first; also those that were killed."""

    @property
    def head(self) -> RealNode:
        """The node that was started first, or the head that took its place."""
        return self.nodes[0]

    def start_head(self) -> RealNode:
        """Start the head node, at first or after it was killed; it answers when this returns."""
        node = self._start(1, self._head_options)
        self.nodes = [node, *self.nodes[1:]]
        return node

    def add_node(self, num_cpus: int = 1, options: tuple[str, ...] = ()) -> RealNode:
        """Start a further node; it has joined when this returns."""
        joins = (f"--address={self.address}", f"--num-cpus={num_cpus}", *options)
        node = self._start(len(self.nodes) + 1, joins)
        self.nodes.append(node)
        return node

    def end(self) -> None:
        """End all nodes that run."""
        for node in reversed(self.nodes):
            node.end()

    def client_env(self, token_file: Path | None = None) -> dict[str, str]:
        """The environment of a user's shell from which this cluster is used.

        Args:
            token_file: another token than the cluster's.
        """
        own = {
            "RAY_AUTH_TOKEN_PATH": str(token_file or self.token_file),
            "RAY_USAGE_STATS_ENABLED": "0",
            "TOPRUNG_CACHE_DIR": str(self._folder / "laptop-cache"),
        }
        return _without_ray() | own

    def _node_address(self, number: int) -> str:
        return f"127.77.{self._network}.{number}"

    def _start(self, number: int, options: tuple[str, ...]) -> RealNode:
        folder = self._folder / f"n{number}"
        shutil.rmtree(folder, ignore_errors=True)  # of a head that was killed
        folder.mkdir()
        address = self._node_address(number)
        ports = ("dashboard-agent-listen", "node-manager", "object-manager", "runtime-env-agent")
        command = [str(RAY), "start", *options, *_LEAN, "--block", "--disable-usage-stats"]
        if not any(option.startswith(_AUTOSCALER) for option in options):
            command.append("--no-monitor")
        command += [f"--node-ip-address={address}", f"--temp-dir={folder / 'ray'}"]
        command += [f"--{name}-port={free_port()}" for name in ports]
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(
                command,
                env=self._node_env(folder),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        node = RealNode(address, folder, process)
        _wait_for_start(node)
        return node

    def _node_env(self, folder: Path) -> dict[str, str]:
        own = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_file),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            "TOPRUNG_CACHE_DIR": str(folder / "cache"),
            "TOPRUNG_TEST_NODE": str(folder),
        }
        return _without_ray() | own | self._own_env


@contextmanager
def real_cluster(
    *,
    num_cpus: int = 1,
    env: Mapping[str, str] | None = None,
    system_config: str | None = None,
    options: tuple[str, ...] = (),
) -> Iterator[RealCluster]:
    """A cluster whose head runs; at the end all its nodes are ended and its files taken away."""
    with tempfile.TemporaryDirectory(prefix="tr-", dir="/tmp", ignore_cleanup_errors=True) as place:
        cluster = RealCluster(
            Path(place), num_cpus=num_cpus, env=env, system_config=system_config, options=options
        )
        try:
            cluster.start_head()
            yield cluster
        finally:
            cluster.end()


def free_port() -> int:
    """A TCP port that nothing listens on."""
    with socket.socket() as free:
        free.bind(("", 0))
        return int(free.getsockname()[1])


def _wait_for_start(node: RealNode) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while _STARTED not in node.output:
        if not node.runs or time.monotonic() > deadline:
            node.end()
            raise RuntimeError(f"ray start: {node.output}")
        time.sleep(0.1)


def _parents() -> dict[int, int]:
    """The parent of every process, by id."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    fields = {pid: _read(pid, "stat").rpartition(b")")[2].split() for pid in pids}
    return {pid: int(found[1]) for pid, found in fields.items() if found}


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # it has ended, or is another user's
        return b""


def _without_ray() -> dict[str, str]:
    """This process's environment without what it says of a Ray, and of a test.

    The records of sweeps are the tests' own, as if the user had one home on all machines.
    """
    mine = ("RAY_", "TOPRUNG_", "PYTEST_", "TUNE_", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
    return kept | {STATE_VARIABLE: os.environ[STATE_VARIABLE]}
