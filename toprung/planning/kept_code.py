"""The user's code of a submitted sweep, kept in the sweep's folder.

Ray deletes the job's copy when the job has ended, but the sweep may be resumed later.
"""

import os
from pathlib import Path

from toprung.analysis.sweep_folder.files import write_atomically
from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.planning.code_package import package

IS_SENT = "TOPRUNG_CODE_IS_SENT"
"""The environment variable that marks a driver whose code was sent to the cluster."""


def keep_code(origin: str, folder: SweepFolder) -> None:
    """Keep the modules that the search space can import from its folder, if they were sent here.

    Args:
        origin: the origin of the search space; see `SearchSpace`.
        folder: the sweep's folder.
    """
    if IS_SENT not in os.environ or "." not in origin:
        return
    home = Path(origin).parent if origin.endswith(".py") else Path.cwd()
    for name, path in package(home).files.items():
        copy = folder.code / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(copy, path.read_bytes())
