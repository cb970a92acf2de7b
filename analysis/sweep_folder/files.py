"""Writing files so that a reader never sees half of one."""

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
        # No Unicode may come from a file's name; in JSON and YAML this is how it is written.
        file.write(
            content.encode(errors="backslashreplace") if isinstance(content, str) else content
        )


def real_path(path: str | Path) -> Path:
    """Absolute, without links; unlike `Path.resolve`, also where a link leads to itself."""
    return Path(os.path.realpath(path))


def is_empty(folder: Path) -> bool:
    """Whether nothing is in it but hidden files, such as a killed process leaves half-written.

    Raises:
        OSError: if it cannot be read.
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
