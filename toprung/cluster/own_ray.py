"""The processes of a Ray that was started here: noticed when one is gone, and all ended in the end.

Ray itself notices the end of its server (`gcs_server`) only after a minute, and then ends this
process where it stands (`RAY_gcs_rpc_server_reconnect_timeout_s`).
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from toprung.cluster import ray_internals

_NEEDED = ("gcs_server", "raylet")
"""Without either of them, no trial can begin, report or end."""
_SECONDS_BETWEEN_LOOKS = 0.2


class OwnRay:
    """The Ray that this process has started, as it runs now."""

    @classmethod
    def if_known(cls) -> "OwnRay | None":
        """Return it; None where the installed Ray does not show its processes."""
        names = (ray_internals.GLOBAL_NODE, ray_internals.ALL_PROCESSES)
        return None if any(name.misfit() for name in names) else cls()

    def __init__(self) -> None:
        self._node: Any = ray_internals.GLOBAL_NODE.get()
        self._processes = {n: self._node.all_processes[n][0].process for n in _NEEDED}
        self._left: list[Any] = []
        self.lost: str | None = None

    def look(self) -> bool:
        """Whether a process that Ray needs has ended by itself; `lost` says which then, and how."""
        if self.lost is None:
            for name, process in self._processes.items():
                code = process.poll()
                if code is not None:
                    self._left = self._children()
                    self.lost = f"Ray's {name} {_in_words(code)}"
                    break
        return self.lost is not None

    def forget_server(self) -> None:
        """Close this process's own connection to the server, which would outlive it otherwise."""
        ray_internals.GCS_CLIENT.set(self._node, None)

    def kill_what_is_left(self) -> None:
        """End what would go on without the process that is lost: raylet, workers, agents.

        Agents, for one, try for a minute to reach a server that is gone.
        """
        if self.lost is None:
            return
        import psutil  # type: ignore[import-untyped]

        for needed in self._processes.values():
            needed.kill()
        for started in self._left:
            with suppress(psutil.NoSuchProcess):
                started.kill()  # which sees that its number is not another's by now

    def _children(self) -> list[Any]:
        """What the raylet has started: workers and agents. They end by themselves if it has."""
        import psutil

        with suppress(psutil.NoSuchProcess):
            raylet = psutil.Process(self._processes["raylet"].pid)
            return list(raylet.children(recursive=True))
        return []


@contextmanager
def watched(own: OwnRay | None, tell_lost: Callable[[str], None]) -> Iterator[None]:
    """Notice when a Ray loses a process that it needs, and say so once, from a thread.

    Args:
        own: the Ray that was started here; None if it is somebody else's.
        tell_lost: is told which process, and how it ended.
    """
    if own is None:
        yield
        return
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_SECONDS_BETWEEN_LOOKS):
            if own.look():
                tell_lost(str(own.lost))
                return

    thread = threading.Thread(target=watch, daemon=True, name="watch Ray")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _in_words(code: int) -> str:
    """How a process ended whose exit code this is."""
    if code >= 0:
        return f"has ended (exit code {code})"
    try:
        return f"was killed ({signal.Signals(-code).name})"
    except ValueError:
        return f"was killed (signal {-code})"
