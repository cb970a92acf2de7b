"""Processes that are struck at one of their write points: killed, or without room on the disk."""

import ctypes
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ray

from toprung.storage import retry
from toprung.trainables.training import checkpoint

_SOURCE = Path(__file__).with_name("write_points.c")
_LIBRARY = "TOPRUNG_WRITE_POINTS"
NEVER, KILL_BEFORE, KILL_IN_THE_MIDDLE, DISK_FULL = range(4)
FOR_GOOD = 10**9


@dataclass(frozen=True)
class Strike:
    """What happens at which write point.

    Attributes:
        mode: one of the constants above. Killed in the middle is, after half of a write, or right
            after what is done or not.
        at: the number of the write point, from 1.
        for_calls: for how many write points the disk is full.
    """

    mode: int
    at: int
    for_calls: int = FOR_GOOD


@dataclass(frozen=True)
class Outcome:
    """What became of a process.

    Attributes:
        code: its exit code; negative if a signal has ended it.
        struck: the call and the file, such as `write /path`; empty if it was not struck.
        error: the traceback of what it raised.
        count: of its write points, if it came to its end.
    """

    code: int
    struck: str
    error: str
    count: int


def load_library() -> None:
    """Start this program again with the library loaded, if it is not yet."""
    if _LIBRARY in os.environ:
        return
    library = Path(tempfile.mkdtemp(prefix="toprung-kills-")) / "write_points.so"
    command = ["cc", "-shared", "-fPIC", "-O2", "-D_LARGEFILE64_SOURCE", "-o", str(library)]
    subprocess.run([*command, str(_SOURCE)], check=True)
    variables = {**os.environ, "LD_PRELOAD": str(library), _LIBRARY: str(library)}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], variables)


def run_struck(action: Callable[[], None], below: Path, strike: Strike | None) -> Outcome:
    """Do something in a process of its own, which is struck where it writes below a folder."""
    assert not ray.is_initialized(), "a child of fork waits for ever for its parent's Ray"
    told, tells = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told)
        os._exit(_act(action, below, strike, tells))
    os.close(tells)
    with os.fdopen(told) as pipe:
        said = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    lines = said.splitlines()
    counts = [int(line.split()[1]) for line in lines if line.startswith("counted ")]
    struck = [line for line in lines[:1] if str(below) in line]
    error = "".join(said.partition("Traceback")[1:]).partition("counted ")[0]
    return Outcome(code, "".join(struck), error, counts[0] if counts else 0)


def _act(action: Callable[[], None], below: Path, strike: Strike | None, tells: int) -> int:
    library = ctypes.CDLL(None) if _LIBRARY in os.environ else None
    _wait_little(strike)
    code = 0
    if library is not None:
        at = strike or Strike(NEVER, 0)
        arm = (os.fsencode(below), at.mode, ctypes.c_long(at.at), ctypes.c_long(at.for_calls))
        library.arm(*arm, tells)
    try:
        action()
    except BaseException:
        os.write(tells, traceback.format_exc().encode())
        code = 1
    if library is not None:
        os.write(tells, f"counted {library.counted()}\n".encode())
    return code


def _wait_little(strike: Strike | None) -> None:
    """For room on the disk: as there is none for good, or for a moment."""
    for_good = strike is not None and strike.for_calls == FOR_GOOD
    for_room = 0.03 if for_good else 30
    for module, name, seconds in (
        (retry, "SECONDS_BETWEEN_TRIES", 0.001),
        (retry, "MAX_SECONDS", for_room),
        (checkpoint, "SECONDS_BETWEEN_ATTEMPTS", 0.001),
        (checkpoint, "WAIT_FOR_ROOM_SECONDS", for_room),
    ):
        setattr(module, name, seconds)
