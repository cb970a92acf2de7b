"""The actor on the cluster below which the driver of a `ray://` client runs."""

import io
import os
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import deque
from typing import IO

from toprung.cluster.jobs.driver_command import DRIVER
from toprung.planning.code_package import FOLDER

SECONDS_WITHOUT_CLIENT = 60.0
_SECONDS_TO_WAIT = 1.0


class RemoteDriver:
    """Runs `toprung` as a process of its own, and keeps what it prints until it is asked for.

    It belongs to no client, so that Ray does not kill it with one: it ends its process in order
    when its client has not asked for a minute.

    Args:
        arguments: of `toprung`; the address is put in.
        package: the user's files, as `toprung.planning.code_package` writes them.
    """

    def __init__(self, arguments: list[str], package: bytes) -> None:
        import ray

        self._place = tempfile.TemporaryDirectory(prefix="toprung-")
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            archive.extractall(self._place.name)
        first, *rest = arguments
        address = ray.get_runtime_context().gcs_address
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", DRIVER, first, f"--address={address}", *rest],
            cwd=f"{self._place.name}/{FOLDER}",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._lines: deque[tuple[bool, str]] = deque()
        self._asked = time.monotonic()
        streams = ((self._process.stdout, False), (self._process.stderr, True))
        self._readers = [
            threading.Thread(target=self._read, args=stream, daemon=True) for stream in streams
        ]
        for thread in (*self._readers, threading.Thread(target=self._watch, daemon=True)):
            thread.start()

    def more(self) -> tuple[list[tuple[bool, str]], int | None]:
        """Lines (and whether each is of stderr) printed since the last call; the exit code."""
        deadline = time.monotonic() + _SECONDS_TO_WAIT
        while not self._lines and self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        code = self._process.poll()
        if code is not None:
            for thread in self._readers:
                thread.join(_SECONDS_TO_WAIT)
            self._place.cleanup()  # here, because the client now kills this actor
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        self._asked = time.monotonic()
        return lines, code

    def interrupt(self) -> None:
        """As Ctrl-C: the first ends the sweep in order, a second one at once."""
        if self._process.poll() is None:
            self._process.terminate()  # SIGINT is ignored below one of Ray's workers

    def _read(self, stream: IO[str] | None, is_error: bool) -> None:
        assert stream is not None
        with stream:
            for line in stream:
                self._lines.append((is_error, line.rstrip("\n")))

    def _watch(self) -> None:
        """End in order if nobody asks any more."""
        while time.monotonic() - self._asked < SECONDS_WITHOUT_CLIENT:
            time.sleep(1.0)
        self.interrupt()
        self._process.wait()
        self._place.cleanup()
        os._exit(0)
