"""The versions of the software that produced a result."""

import platform
from importlib.metadata import version

_PACKAGES = ("toprung", "torch", "torchvision", "ray", "optuna", "numpy", "pillow")


def software_versions() -> dict[str, str]:
    """The versions of Python and of the packages that determine a trial's numbers."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}
