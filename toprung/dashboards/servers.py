"""A sweep in the browser: optuna-dashboard and TensorBoard, live, each in its own process."""

import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from typing import IO
from urllib.request import ProxyHandler, build_opener

from toprung.analysis.sweep_folder.folder import SweepFolder, SweepFolderError
from toprung.analysis.sweep_folder.sqlite_file import check_study_file
from toprung.analysis.sweep_folder.study_limits import check_size
from toprung.dashboards.child import HOST
from toprung.errors import ToprungError
from toprung.trainables.files.untrusted_files import check_folder
from toprung.trainables.system.secrecy import without_secrets

_SECONDS_TO_START = 120
_SECONDS_TO_END = 5
_SECONDS_BETWEEN_LOOKS = 0.1
_LINES_SHOWN = 10


@dataclass(frozen=True)
class Server:
    """A running server process.

    Attributes:
        name: the name of the program.
        url: the URL of its start page.
        process: the process.
        output: the file with its stdout and stderr.
    """

    name: str
    url: str
    process: subprocess.Popen[bytes]
    output: IO[bytes]

    def check(self) -> None:
        """Check that the process is still running.

        Raises:
            ToprungError: if it is not; the message has the last lines of its output.
        """
        code = self.process.poll()
        if code is not None:
            self.output.seek(0)
            lines = self.output.read().decode(errors="replace").splitlines()[-_LINES_SHOWN:]
            printed = "\n  ".join(["; its output:", *lines]) if lines else ""
            raise ToprungError(f"{self.name} ended unexpectedly (exit code {code}){printed}")

    def answers(self) -> bool:
        """Whether the server responds over HTTP."""
        try:
            with build_opener(ProxyHandler({})).open(self.url, timeout=10) as response:
                return bool(response.status == 200)
        except (OSError, HTTPException):
            return False


@contextmanager
def serving(
    folder: SweepFolder, port: int | None, tensorboard_port: int | None
) -> Iterator[tuple[Server, Server]]:
    """Run optuna-dashboard and TensorBoard for a sweep; yields once both respond.

    Args:
        folder: the sweep's folder.
        port: the port of optuna-dashboard; a free one if None.
        tensorboard_port: the port of TensorBoard; a free one if None.

    Raises:
        ToprungError: if a port cannot be used, or one of the servers does not start.
        SweepFolderError: if the study cannot be read.
    """
    if port is not None and port == tensorboard_port:
        raise ToprungError(f"port {port} is given for both servers; each needs its own")
    _check_study(folder)
    ports = _free_ports(port, tensorboard_port)
    with ExitStack() as stack:
        optuna = stack.enter_context(
            _started("optuna-dashboard", "optuna", str(folder.study), ports[0])
        )
        tensorboard = stack.enter_context(
            _started("TensorBoard", "tensorboard", str(folder.tensorboard), ports[1])
        )
        _wait_until_up((optuna, tensorboard))
        yield optuna, tensorboard


def watch(servers: Sequence[Server]) -> None:
    """Wait until one of the servers ends, which it should not.

    Raises:
        ToprungError: when a server has ended.
    """
    while True:
        for server in servers:
            server.check()
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _check_study(folder: SweepFolder) -> None:
    if folder.tensorboard.is_dir():
        check_folder(folder.tensorboard)  # TensorBoard would follow links
    try:
        check_study_file(folder.study)
        check_size(folder.study)
        with closing(sqlite3.connect(f"{folder.study.as_uri()}?mode=ro", uri=True)) as study:
            study.execute("SELECT study_name FROM studies").fetchall()
    except (OSError, ValueError, sqlite3.Error) as error:
        raise SweepFolderError(f"{folder.study}: cannot be read: {error}") from None


def _free_ports(*asked: int | None) -> list[int]:
    """The ports that are asked for, if they are free, and any free port for None; all distinct."""
    with ExitStack() as stack:
        return [
            _bound(stack.enter_context(socket.socket()), port).getsockname()[1] for port in asked
        ]


def _bound(server: socket.socket, port: int | None) -> socket.socket:
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((HOST, port or 0))
    except OSError as error:
        raise ToprungError(f"port {port}: cannot be used: {error.strerror}") from None
    return server


@contextmanager
def _started(name: str, server: str, path: str, port: int) -> Iterator[Server]:
    command = [sys.executable, "-P", "-m", "toprung.dashboards.child", server, path, str(port)]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            env=without_secrets(os.environ),
            stdin=subprocess.PIPE,  # the child ends when it is closed
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches only this process, which ends the child
        )
        try:
            yield Server(name, f"http://{HOST}:{port}/", process, output)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_up(servers: Sequence[Server]) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    for server in servers:
        while not server.answers():
            server.check()
            if time.monotonic() > deadline:
                raise ToprungError(f"{server.name} has not responded within {_SECONDS_TO_START} s")
            time.sleep(_SECONDS_BETWEEN_LOOKS)
