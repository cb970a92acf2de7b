"""A command in a process of its own, watched: what it says, reaches for, opens, and costs."""

import json
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.support.watchers import files_opened, refuse_sockets

MAX_CPU_SECONDS = 5.0
"""Beyond what the command takes on a sound folder."""
MAX_WALL_SECONDS = 60
MAX_BYTES = 2**30
_RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters and bidirectional marks, but for tabs and ends of lines."""


@dataclass(frozen=True)
class Watched:
    """What a command did.

    Attributes:
        code: its exit code; None if it was killed.
        said: on stdout and stderr.
        refused: the sockets that it asked for.
        outside: files that it opened, changed or removed outside the places that it may.
        cpu_seconds: of its process.
        peak_bytes: of memory, of the process.
    """

    code: int | None
    said: str
    refused: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    cpu_seconds: float = 0.0
    peak_bytes: int = 0

    def problems(self, usual_seconds: float) -> list[str]:
        """What it should not have done."""
        found = [f"a socket: {one}" for one in self.refused]
        found += [f"outside: {one}" for one in self.outside]
        if self.code is None:
            found.append("was killed: it hung, or took too much")
        elif self.code not in (0, 2):
            found.append(f"exit code {self.code}")
        if "Traceback (most recent call last)" in self.said:
            found.append(f"a traceback: {self.said[-300:]!r}")
        if raw := _RAW.search(self.said):
            found.append(f"raw {raw.group()!r} in {self.said[max(0, raw.start() - 60) :][:120]!r}")
        errors = [line for line in self.said.splitlines() if line.lower().startswith("error: ")]
        if self.code == 2 and len(errors) != 1:
            found.append(f"not one error: {self.said[-300:]!r}")
        if self.cpu_seconds > usual_seconds + MAX_CPU_SECONDS:
            found.append(f"{self.cpu_seconds:.1f} s of CPU")
        if self.peak_bytes > MAX_BYTES:
            found.append(f"{self.peak_bytes / 2**20:.0f} MiB of memory")
        return found


def watch(command: Callable[[], tuple[int, str]], allowed: list[Path]) -> Watched:
    """Run a command in a child process, which begins with all that is imported here.

    Args:
        command: returns its exit code, and what it said.
        allowed: folders in which it may open files, besides those of Python and of the system.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _run_and_tell(command, allowed, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return Watched(**json.loads(told)) if told else Watched(None, "")


def _run_and_tell(
    command: Callable[[], tuple[int, str]], allowed: list[Path], writing: int
) -> None:
    """The child's life; it ends here."""
    signal.alarm(MAX_WALL_SECONDS)
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_WALL_SECONDS, MAX_WALL_SECONDS))
    # Of all memory, so that a bomb ends the child and not the machine.
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 4 * MAX_BYTES,) * 2)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    started = time.process_time()
    with refuse_sockets() as refused, files_opened() as opened:
        try:
            code, said = command()
        except BaseException as error:  # the command line would show it as a traceback
            code, said = 1, f"Traceback (most recent call last): {type(error).__name__}: {error}"
        cpu_seconds = time.process_time() - started
    fits = [*map(str, allowed), *_of_the_system()]
    outside = {f"{event} {path}" for event, path in opened if not str(path).startswith(tuple(fits))}
    told = Watched(code, said, refused, sorted(outside), cpu_seconds, _peak_bytes())
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(json.dumps(asdict(told)).encode("utf-8", "surrogatepass"))
    os._exit(0)


def _of_the_system() -> list[str]:
    """What any Python process reads."""
    imported = [str(Path(entry).absolute()) for entry in sys.path]
    return [
        sys.prefix,
        sys.base_prefix,
        *imported,
        "/usr/",
        "/proc/",
        "/sys/",
        "/dev/null",
        "/etc/",
    ]


def _peak_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024
