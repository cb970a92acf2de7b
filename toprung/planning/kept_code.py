"""The user's code of a sweep that was submitted, kept in its folder.

The job's own copy is gone when the job has ended, and the sweep may be resumed then.
"""

import os
from pathlib import Path

from toprung.analysis.sweep_folder.files import write_atomically
from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.planning.code_package import package

IS_SENT = "TOPRUNG_CODE_IS_SENT"
"""The environment variable of a driver whose code was sent to it."""


def keep_code(origin: str, folder: SweepFolder) -> None:
    """Keep what the search space can import from its folder, if it was sent from elsewhere.

    Args:
        origin: of the search space; see `SearchSpace`.
        folder: of the sweep.
    """
    if IS_SENT not in os.environ or "." not in origin:
        return
    home = Path(origin).parent if origin.endswith(".py") else Path.cwd()
    for name, path in package(home).files.items():
        copy = folder.code / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(copy, path.read_bytes())
