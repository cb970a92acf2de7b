"""The driver of a submitted sweep: the entry point of its job on the cluster."""

import json
import os
import sys
from importlib.metadata import version
from platform import node, python_version

from toprung.cluster.jobs.driver_command import STARTED
from toprung.planning.kept_code import IS_SENT
from toprung.trainables.system.terminal import print_only_printable

_JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""The variable in which Ray passes its metadata and its workers' environment to a job's driver."""


def main() -> None:
    """Run the `toprung` command that the user's machine submitted."""
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
    """Let trials start at once in the workers that exist: only the driver needs the user's files.

    Otherwise each node would fetch the package, and start separate workers for this job.
    """
    if _JOB_CONFIG in os.environ:
        job_config = json.loads(os.environ[_JOB_CONFIG])
        os.environ[_JOB_CONFIG] = json.dumps({**job_config, "runtime_env": {}})


if __name__ == "__main__":
    main()
