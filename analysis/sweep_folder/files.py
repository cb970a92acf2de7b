"""Writing files so that a reader never sees an incomplete file."""

import json
import math
import os
from pathlib import Path
from typing import Any

from toprung.trainables.files.atomic_files import atomic_file
from toprung.trainables.system.printable import printable_json


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name, flush it to disk, and move it into place."""
    with atomic_file(path) as file:
        # A file's name need not be Unicode; JSON and YAML escape such characters the same way.
        file.write(
            content.encode(errors="backslashreplace") if isinstance(content, str) else content
        )


def real_path(path: str | Path) -> Path:
    """The absolute path without links; unlike `Path.resolve`, it accepts a link to itself."""
    return Path(os.path.realpath(path))


def is_empty(folder: Path) -> bool:
    """Whether a folder has only hidden files, such as a killed process leaves behind.

    Raises:
        OSError: if the folder cannot be read.
    """
    return all(path.name.startswith(".") for path in folder.iterdir())


def json_text(value: Any) -> str:
    """A value as JSON text with every character visible, and null for NaN and infinity."""
    text = json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)
    return printable_json(text) + "\n"


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _finite(v) for key, v in value.items()}
        case list() | tuple():
            return [_finite(v) for v in value]
    return value
