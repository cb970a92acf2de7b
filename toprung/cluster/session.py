"""Ray for the length of a sweep, started while the driver imports what it needs."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from time import monotonic, sleep
from typing import Any

from toprung.cluster import ray_internals
from toprung.cluster.own_ray import OwnRay
from toprung.cluster.placement.resources import this_machine
from toprung.cluster.ray_environment import (
    command_without_secrets,
    environment_without_secrets,
    lend_store_credentials,
)
from toprung.cluster.replaced import nothing
from toprung.cluster.token import have_own_token
from toprung.cluster.worker_ready import READY_FOLDER
from toprung.errors import ToprungError
from toprung.trainables.files.locked_folder import LockedFolder
from toprung.trainables.system.error_text import one_line

RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Tune's automatic loggers cost seconds at the start of each trial; ours are named in `launch`.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # A failed trial reports no score, on purpose; our own metric names are fixed.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # Signals are handled in `launch`, together with the time budget.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Tune would print a table and a path of its own between our lines.
    "RAY_AIR_NEW_OUTPUT": "0",
    # A process that dies is told in one line, by `Deaths`; the study keeps what Ray says of it.
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # Tune would guess that the cluster is too small, between our lines; `RoomWatch` knows.
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "inf",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S_AUTOSCALER": "inf",
}
_WARM_WORKERS = {
    # What a trial's process imports.
    "preload_python_modules": ["toprung.trainables.ray_trainable", "toprung.cluster.worker_ready"],
    # Ray would end a worker that is idle for a second, before the first trial is there.
    "idle_worker_killing_time_threshold_ms": 600_000,
}
_GRPC = "GRPC_EXPERIMENTS"
MAX_WARM_WORKERS = 8
"""On a machine with more cores, Ray's early workers stay as they are: one each would be a crowd."""
MAX_SECONDS_TO_WARM_UP = 30.0


class RaySession:
    """A Ray of our own, or the one that was running already."""

    def __init__(self) -> None:
        prepare_ray()
        import ray

        self.joined = ray.is_initialized()
        self.own: OwnRay | None = None
        self._resources = this_machine()
        few = not self.joined and self._resources["CPU"] <= MAX_WARM_WORKERS
        self._num_warm = self._resources["CPU"] if few else 0
        self._ready_folder = LockedFolder("toprung-ready-")
        os.environ[READY_FOLDER] = str(self._ready_folder.path)

    def start(self, meanwhile: Callable[[], None] = nothing) -> None:
        """Start a Ray on loopback, unless one was joined.

        That is seconds of waiting, in which a thread imports what the driver needs.

        Args:
            meanwhile: does so.

        Raises:
            ToprungError: if it could not be started.
        """
        imports = threading.Thread(target=meanwhile, name="imports")
        imports.start()
        try:
            if not self.joined:
                with signals_kept():
                    self._start_ray()
                self.own = OwnRay.if_known()
        finally:
            imports.join()

    def wait(self) -> None:
        """Return when Ray's early workers are warm.

        Tune takes a trial from an actor that is still starting and gives it to one that is idle;
        if one worker were ready first, and the trials short, the others would start in vain.

        Raises:
            ToprungError: if Ray has lost a process that it needs.
        """
        deadline = monotonic() + MAX_SECONDS_TO_WARM_UP
        warm = self._ready_folder.path
        while len(list(warm.iterdir())) < self._num_warm and monotonic() < deadline:
            self.check()
            sleep(0.05)

    def check(self) -> None:
        """See that the Ray that was started here has all that it needs; before a search watches it.

        Raises:
            ToprungError: if it has lost a process.
        """
        if self.own and self.own.look():
            raise ToprungError(f"{self.own.lost} before the first trial began; start again")

    def lend_credentials(self, url: str) -> None:
        """Let trials write to this store; in a Ray that was running already they can, or cannot."""
        if not self.joined:
            lend_store_credentials(url)

    def end(self) -> None:
        """End the Ray that was started here; leave one alone that was running already."""
        if not self.joined:
            import ray

            if self.own:
                self.own.forget_server()
            ray.shutdown()
        self.end_at_once()
        self._ready_folder.remove()

    def end_at_once(self) -> None:
        """Kill what is left of a Ray that has lost a process; nothing else."""
        if self.own:
            self.own.kill_what_is_left()

    def _start_ray(self) -> None:
        import ray

        have_own_token()
        try:
            with (
                _only_what_trials_need(),
                _signals_for_the_driver_alone(),
                _sockets_closed(),
                environment_without_secrets(),
                command_without_secrets(),
            ):
                ray.init(
                    address="local",
                    num_cpus=self._resources["CPU"],
                    num_gpus=self._resources["GPU"],
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    _node_ip_address="127.0.0.1",
                    _system_config=_WARM_WORKERS if self._num_warm else None,
                )
        except Exception as error:
            raise ToprungError(f"Ray could not be started: {one_line(error)}") from error


def prepare_ray() -> None:
    """Say what Ray is to do, and to leave, in this process; before it starts or is joined."""
    os.environ.update(RAY_ENVIRONMENT)
    # Under `uv run`, Ray would build each worker process an environment of its own. (Its
    # variable of this name is read when ray is imported, which may have been long before.)
    ray_internals.UV_RUN.put(value=False)


@contextmanager
def ray_session(meanwhile: Callable[[], None] = nothing) -> Iterator[RaySession]:
    """Have a Ray, and end it afterwards if it was started here; see `RaySession.start`."""
    session = RaySession()
    try:
        session.start(meanwhile)
        yield session
    finally:
        session.end()


@contextmanager
def _only_what_trials_need() -> Iterator[None]:
    """Ray without its dashboard's server and agents, its autoscaler, its forwarding of logs.

    Nothing here uses them. They are three more Python processes that import for seconds while
    the workers do, and `ray.init` waits for the server, also when told to leave the dashboard out.
    """
    with ExitStack() as stack:
        # What Ray asks before it starts its agents: without the dashboard's packages, they are few.
        stack.enter_context(ray_internals.DASHBOARD_ERROR.patched(lambda _: _left_out))
        for start in (
            ray_internals.START_API_SERVER,
            ray_internals.START_MONITOR,
            ray_internals.START_LOG_MONITOR,
            ray_internals.LISTEN_TO_ERRORS,
        ):
            stack.enter_context(start.patched(lambda _: nothing))
        yield


def _left_out() -> Exception:
    return ImportError("the dashboard is left out")


@contextmanager
def _signals_for_the_driver_alone() -> Iterator[None]:
    """A signal to the driver's process group, as from a terminal, does not reach Ray's processes.

    The driver ends the sweep in order, for which it needs them; they end when it does.
    """
    apart = partial(ray_internals.OPEN_PROCESS.needed(), process_group=0)
    with ray_internals.OPEN_PROCESS.replaced(apart):
        yield


@contextmanager
def _sockets_closed() -> Iterator[None]:
    """Let this process's gRPC close the sockets of clients that are gone, by its EventEngine.

    Otherwise one stays open for each Ray that was started here and has ended (measured with Ray
    2.60, and without anything of ours). gRPC reads the variable once, when it is first used; Ray's
    own processes do not get it.
    """
    os.environ.setdefault(_GRPC, "event_engine_client")
    start = ray_internals.OPEN_PROCESS.needed()

    def started(*arguments: Any, env: dict[str, str], **options: Any) -> Any:
        env = {name: value for name, value in env.items() if name != _GRPC}
        return start(*arguments, env=env, **options)

    with ray_internals.OPEN_PROCESS.replaced(started):
        yield


@contextmanager
def signals_kept() -> Iterator[None]:
    """SIGTERM is answered as before: Ray, started or joined, puts handlers in place that abort."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
