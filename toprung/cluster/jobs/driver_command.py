"""What a shell on the cluster runs the driver of a submitted sweep with, and why it could not."""

import re
import shlex

from toprung.trainables.system.error_text import last_line

DRIVER = "toprung.cli.job_driver"
"""The module with which such a job begins."""
STARTED = "driver: "
"""What the first line begins with that a sweep's driver prints; others may print before it."""
_MISSING = re.compile(r"(?:No module named|__path__ attribute not found on) '?([\w.]+)")
"""What Python says of a module that it does not find."""
_NO_SUCH_PROGRAM, _NOT_EXECUTABLE = 127, 126
"""A shell's exit codes."""


def command(python: str, module: str, *arguments: str) -> str:
    """What a shell on the cluster runs one of Toprung's modules with."""
    return f"exec {shlex.join([python, '-P', '-m', module, *arguments])}"


def has_not_run(exit_code: int | None, log: str) -> bool:
    """Whether a job that printed this was given a Python in which Toprung cannot run."""
    is_program = exit_code not in (_NO_SUCH_PROGRAM, _NOT_EXECUTABLE)
    return not is_program or _MISSING.search(last_line(log)) is not None


def wrong_python(entrypoint: str, exit_code: int | None, log: str) -> str:
    """Why the Python of a job's command has not run Toprung, in a line.

    Args:
        entrypoint: the job's command; see `command`.
        exit_code: with which it ended.
        log: what it has printed.
    """
    _, found, rest = entrypoint.partition("exec ")
    python = shlex.split(rest)[0] if found else entrypoint
    missing = _MISSING.search(log)
    if exit_code == _NO_SUCH_PROGRAM:
        why = "there is no such program on the cluster's head"
    elif exit_code == _NOT_EXECUTABLE:
        why = "the cluster's head cannot execute it"
    elif missing and missing[1].startswith("toprung."):
        why = "it has another version of Toprung installed"
    elif missing:
        why = f"it has no {missing[1].partition('.')[0]} installed"
    else:
        why = f"it does not run Toprung: {last_line(log) or 'it has printed nothing'}"
    return f"python = {python}: {why}; give the Python that has Toprung installed there: --python"
