"""What is installed on a node. Ray carries this module there, so it needs nothing but Python."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("toprung", "ray", "torch", "torchvision")
"""What a trial's process is made of."""


def versions() -> dict[str, str]:
    """Of Python and of each package, without torch's name for the hardware (`+cpu`)."""
    found = {"Python": ".".join(platform.python_version_tuple()[:2])}
    return found | {name: _installed(name) for name in PACKAGES}


def look(wanted: dict[str, str]) -> str:
    """What is wrong with the versions here; empty if nothing is."""
    there = versions()
    differing = [
        f"no {name}" if not there[name] else f"{name} {there[name]}, here {wanted[name]}"
        for name in wanted
        if there[name] != wanted[name]
    ]
    return f"{', '.join(differing)} ({sys.executable})" if differing else ""


def _installed(name: str) -> str:
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return ""
