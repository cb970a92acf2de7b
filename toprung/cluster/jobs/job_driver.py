"""The driver of a sweep that was submitted: where its job begins, on the cluster."""

import json
import os
import re
import shlex
import sys
from importlib.metadata import version
from platform import node, python_version

from toprung.planning.kept_code import IS_SENT
from toprung.trainables.system.error_text import last_line
from toprung.trainables.system.terminal import print_only_printable

STARTED = "driver: "
"""What the first line begins with that a sweep's driver prints; others may print before it."""
BEGAN = "sweep began: "
"""What the line begins with that a driver prints when the sweep is its own, and no other's."""
_JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""What Ray tells a job's driver: whose it is, and the environment for its workers."""
_NO_SUCH_PROGRAM, _NOT_EXECUTABLE = 127, 126
"""A shell's exit codes."""


def main() -> None:
    """Run `toprung` as it was asked for on the user's machine."""
    os.environ[IS_SENT] = "1"
    leave_workers_alone()
    sys.argv[0] = "toprung"
    print_only_printable()
    if sys.argv[1:2] != ["status"]:
        software = f"Toprung {version('toprung')}, Python {python_version()}"
        print(f"{STARTED}{software} on {node()}", flush=True)
    from toprung.cli.main import main as toprung

    toprung()


def leave_workers_alone() -> None:
    """Only the driver needs the user's files: trials begin at once in the workers that there are.

    Otherwise each node would fetch the package, and start workers of their own for this job.
    """
    if _JOB_CONFIG in os.environ:
        told = json.loads(os.environ[_JOB_CONFIG])
        os.environ[_JOB_CONFIG] = json.dumps({**told, "runtime_env": {}})


def command(python: str, module: str, *arguments: str) -> str:
    """What a shell on the cluster runs one of Toprung's modules with."""
    return f"exec {shlex.join([python, '-P', '-m', module, *arguments])}"


def has_not_run(exit_code: int | None, log: str) -> bool:
    """Whether a job that printed this was given a Python in which Toprung cannot run."""
    is_program = exit_code not in (_NO_SUCH_PROGRAM, _NOT_EXECUTABLE)
    return not is_program or "No module named" in last_line(log)


def wrong_python(entrypoint: str, exit_code: int | None, log: str) -> str:
    """Why the Python of a job's command has not run Toprung, in a line.

    Args:
        entrypoint: the job's command; see `command`.
        exit_code: with which it ended.
        log: what it has printed.
    """
    _, found, rest = entrypoint.partition("exec ")
    python = shlex.split(rest)[0] if found else entrypoint
    missing = re.search(r"No module named '?([\w.]+)", log)
    if exit_code == _NO_SUCH_PROGRAM:
        why = "there is no such program on the cluster's head"
    elif exit_code == _NOT_EXECUTABLE:
        why = "the cluster's head cannot execute it"
    elif missing:
        why = f"it has no {missing[1].partition('.')[0]} installed"
    else:
        why = f"it does not run Toprung: {last_line(log) or 'it has printed nothing'}"
    return f"python = {python}: {why}; give the Python that has Toprung installed there: --python"


if __name__ == "__main__":
    main()
