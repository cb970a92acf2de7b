"""The driver of a sweep that was submitted: where its job begins, on the cluster."""

import json
import os
import sys
from importlib.metadata import version
from platform import node, python_version

from toprung.cluster.jobs.driver_command import STARTED
from toprung.planning.kept_code import IS_SENT
from toprung.trainables.system.terminal import print_only_printable

_JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""What Ray tells a job's driver: whose it is, and the environment for its workers."""


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


if __name__ == "__main__":
    main()
