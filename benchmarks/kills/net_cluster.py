"""A Ray cluster whose nodes are in network namespaces of this machine: their links can be cut.

It needs root and `ip`, and there can be one at a time. All its addresses are inside the
namespaces; nothing listens outside.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import IO

_RAY = Path(sys.executable).parent / "ray"
_NETWORK = "10.77.0"
_BRIDGE = "toprungbr"
_PORT = 6379
_SECONDS_TO_START = 120.0
_ATTEMPTS = 5
_LEAN = [
    "--num-cpus=1",
    f"--object-store-memory={80 * 2**20}",
    "--include-log-monitor=false",
    "--no-monitor",
    "--disable-usage-stats",
]


class NetNode:
    """One node: a network namespace with an address, and `ray start --block` in it.

    Args:
        number: of the node, from 1, which is the head.
        folder: for its files; its path must be short, since Ray's sockets are below it.
        env: variables of its processes.
        ending: ends the node when the cluster ends.
    """

    def __init__(
        self, number: int, folder: Path, env: Mapping[str, str], ending: ExitStack
    ) -> None:
        self.number = number
        self.address = f"{_NETWORK}.{number}"
        self._name = f"toprung{number}"
        self._folder = folder / f"n{number}"
        self._folder.mkdir(exist_ok=True)
        self._env = {**env, "TOPRUNG_CACHE_DIR": str(folder / "cache")}
        self.process: subprocess.Popen[bytes] | None = None
        self._make_network(ending)

    def start(self) -> None:
        """Start Ray here, again if it has ended; it has joined when this returns."""
        for _ in range(_ATTEMPTS):  # Ray waits 30 s for itself, which a busy machine may exceed
            if self._started():
                return
            self.kill()
        raise RuntimeError(f"ray start: {self._output.read_text()}")

    def _started(self) -> bool:
        heads = ["--head", f"--port={_PORT}", "--include-dashboard=false"]
        place = heads if self.number == 1 else [f"--address={self.head}"]
        where = [f"--node-ip-address={self.address}", f"--temp-dir={self._folder / 'ray'}"]
        with self._output.open("wb") as told:
            self.process = self.run(
                [str(_RAY), "start", "--block", *place, *where, *_LEAN], stdout=told
            )
        deadline = monotonic() + _SECONDS_TO_START
        while "will now block forever" not in self._output.read_text():
            if self.process.poll() is not None or monotonic() > deadline:
                return False
            sleep(0.1)
        return True

    @property
    def _output(self) -> Path:
        return self._folder / "output"

    @property
    def head(self) -> str:
        """The address at which the cluster is joined."""
        return f"{_NETWORK}.1:{_PORT}"

    def run(self, command: list[str], stdout: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a program in the node's network, in a session of its own."""
        return subprocess.Popen(
            ["ip", "netns", "exec", self._name, *command],
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def cut(self) -> None:
        """Take the network away; what is underway to or from here is lost."""
        _ip("link", "set", f"toprung-v{self.number}", "down")

    def mend(self) -> None:
        """Give the network back."""
        _ip("link", "set", f"toprung-v{self.number}", "up")

    def processes(self) -> dict[int, str]:
        """The ids and titles of all that runs in this network."""
        told = subprocess.run(
            ["ip", "netns", "pids", self._name], capture_output=True, text=True, check=False
        )
        return {int(pid): _title(int(pid)) for pid in told.stdout.split()}

    def workers(self) -> list[int]:
        """The processes that train a trial."""
        return [pid for pid, title in self.processes().items() if "ImplicitFunc" in title]

    def raylet(self) -> list[int]:
        """The process of Ray that makes this a node."""
        return [pid for pid, title in self.processes().items() if title.endswith("raylet")]

    def kill(self) -> None:
        """End all of it with kill -9, as a machine that loses its power."""
        while pids := self.processes():
            kill(pids)
            sleep(0.05)
        if self.process is not None:
            self.process.wait()

    def end(self) -> None:
        """End it, and take its network away."""
        self.kill()
        _ip("netns", "del", self._name)

    def _make_network(self, ending: ExitStack) -> None:
        outer, inner = f"toprung-v{self.number}", "eth0"
        _ip("netns", "add", self._name)
        ending.callback(self.end)
        _ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", self._name)
        _ip("link", "set", outer, "master", _BRIDGE, "up")
        _ip("-n", self._name, "addr", "add", f"{self.address}/24", "dev", inner)
        _ip("-n", self._name, "link", "set", inner, "up")
        _ip("-n", self._name, "link", "set", "lo", "up")


class NetCluster:
    """A head and further nodes, each of one CPU, which ask for a token.

    Args:
        folder: for all they write; its path must be short.
        ending: ends the nodes.
    """

    def __init__(self, folder: Path, ending: ExitStack) -> None:
        self._folder = folder
        self._ending = ending
        token = folder / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        lean = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
        others = {name: of for name, of in os.environ.items() if not name.startswith("RAY_")}
        self._env = others | own | lean
        self.nodes: list[NetNode] = []

    @property
    def address(self) -> str:
        """At which the cluster is joined."""
        return self.nodes[0].head

    def add_node(self) -> NetNode:
        """Start a further node, the first time the head."""
        node = NetNode(len(self.nodes) + 1, self._folder, self._env, self._ending)
        self.nodes.append(node)
        node.start()
        return node


@contextmanager
def net_cluster(folder: Path) -> Iterator[NetCluster]:
    """A cluster without nodes; those that are added end with it, each whatever the others do.

    Raises:
        SystemExit: with what is missing, or is left from a run that was killed.
    """
    if os.geteuid() != 0 or shutil.which("ip") is None:
        raise SystemExit("network namespaces need root, and the command ip (of iproute2)")
    if left := _left():
        raise SystemExit(f"another run goes on, or was killed; then take away what it left: {left}")
    with ExitStack() as ending:
        _ip("link", "add", _BRIDGE, "type", "bridge")
        ending.callback(_ip, "link", "del", _BRIDGE)
        _ip("link", "set", _BRIDGE, "up")
        yield NetCluster(folder, ending)


def _left() -> str:
    """Commands that take away what there is of such a cluster; empty if there is nothing."""
    names = sorted(place.name for place in Path("/run/netns").glob("toprung[0-9]*"))
    commands = [f"ip netns del {name}" for name in names]
    if Path("/sys/class/net", _BRIDGE).exists():
        commands.append(f"ip link del {_BRIDGE}")
    return "; ".join(commands)


def kill(pids: Iterable[int]) -> None:
    """Send kill -9 to processes, by their ids."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _title(pid: int) -> str:
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
    except OSError:
        return ""
    return text


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
