"""Watching what a piece of code reaches out to: sockets, files, servers that are set up as bait.

`refuse_sockets` and `files_opened` see what Python does (by its audit hooks); `touched` and `Bait`
also see what C libraries do: libpq, SQLite, pyarrow, torch.
"""

import ctypes
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SOCKET_EVENTS = {
    *("socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind"),
    *("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"),
}
_OF_ONE_FILE = {
    *("open", "sqlite3.connect", "os.listdir", "os.scandir", "os.chdir", "os.mkdir", "os.rmdir"),
    *("os.remove", "os.truncate", "os.chmod", "os.chown", "os.utime", "shutil.rmtree"),
}
_OF_TWO_FILES = {"os.rename", "os.link", "os.symlink", "shutil.copyfile", "shutil.move"}
Listener = Callable[[str, tuple[Any, ...]], None]
_listeners: list[Listener] = []


@contextmanager
def refuse_sockets() -> Iterator[list[str]]:
    """No socket of this process connects, and no name is looked up: `PermissionError` instead.

    Yields:
        What was refused, which is more than none also where the code caught the error.
    """
    refused: list[str] = []

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _SOCKET_EVENTS:
            refused.append(f"{event} {arguments[-1]!r}")
            raise PermissionError(f"a test refuses {refused[-1]}")

    with _listening(refuse):
        yield refused


@contextmanager
def files_opened() -> Iterator[list[tuple[str, Path]]]:
    """Every file and folder that this process opens, lists, makes, changes or removes meanwhile.

    Yields:
        The name of each event (see Python's table of audit events), and the absolute path.
    """
    opened: list[tuple[str, Path]] = []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        number = 1 if event in _OF_ONE_FILE else 2 if event in _OF_TWO_FILES else 0
        opened.extend((event, path) for path in map(_as_path, arguments[:number]) if path)

    with _listening(note):
        yield opened


@contextmanager
def touched(folder: Path) -> Iterator[list[str]]:
    """What any process reads, opens, lists or changes in a folder meanwhile, however deep it lies.

    Yields:
        A list that holds the names of what was touched at the end, relative to the folder.
    """
    names: list[str] = []
    library = ctypes.CDLL(None, use_errno=True)
    handle = library.inotify_init1(os.O_NONBLOCK)
    assert handle >= 0, os.strerror(ctypes.get_errno())
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    watched = {
        library.inotify_add_watch(handle, os.fsencode(path), _ALL_EVENTS): path for path in folders
    }
    assert -1 not in watched, os.strerror(ctypes.get_errno())
    try:
        yield names
    finally:
        names.extend(_events(handle, watched, folder))
        os.close(handle)


class Bait:
    """A server on 127.0.0.1 that must hear nothing; what it hears is kept.

    Args:
        answers: what it answers to each message, by a function of the message's bytes.
    """

    def __init__(self, answers: Callable[[bytes], bytes] = lambda _: b"") -> None:
        self._answers = answers
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.heard: list[bytes] = []
        """One entry for each connection: all that came through it."""
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(10)

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.heard.append(b"")
            with connection:
                connection.settimeout(10)
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        try:
            while message := connection.recv(65_536):
                self.heard[-1] += message
                if not (answer := self._answers(message)):
                    return
                connection.sendall(answer)
        except OSError:
            return


@contextmanager
def bait(answers: Callable[[bytes], bytes] = lambda _: b"") -> Iterator[Bait]:
    """A `Bait` that is ended."""
    server = Bait(answers)
    try:
        yield server
    finally:
        server.close()


def greedy_postgres(message: bytes) -> bytes:
    """A PostgreSQL server without TLS that wants the password in clear text, and then has enough.

    See https://www.postgresql.org/docs/current/protocol-message-formats.html
    """
    if message[4:8] in (_SSL_REQUEST, _GSS_REQUEST):
        return b"N"
    if message[:1] == b"p":
        return b""
    return b"R" + struct.pack(">II", 8, 3)  # AuthenticationCleartextPassword


_SSL_REQUEST, _GSS_REQUEST = struct.pack(">I", 80_877_103), struct.pack(">I", 80_877_104)
_ALL_EVENTS = 0xFFF
"""Of inotify: accessed, modified, opened, closed, moved, made, deleted."""


@contextmanager
def _listening(listener: Listener) -> Iterator[None]:
    _install()
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    for listener in _listeners:
        listener(event, arguments)


def _install(done: list[bool] = []) -> None:  # noqa: B006  # a hook cannot be removed: one for all
    if not done:
        done.append(True)
        sys.addaudithook(_hook)


def _as_path(argument: object) -> Path | None:
    """The path that an event is about; None for an open file's number, or no file."""
    if not isinstance(argument, str | bytes | os.PathLike) or argument == ":memory:":
        return None
    return Path(os.fsdecode(argument).removeprefix("file:").partition("?")[0]).absolute()


def _events(handle: int, watched: dict[int, Path], folder: Path) -> Iterator[str]:
    try:
        content = os.read(handle, 1_000_000)
    except BlockingIOError:
        return
    while content:
        watch, _, _, length = struct.unpack_from("iIII", content)
        name = content[16 : 16 + length].rstrip(b"\0").decode()
        yield str((watched[watch] / name).relative_to(folder))
        content = content[16 + length :]
