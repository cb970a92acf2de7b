"""What pyproject.toml asks of a user's environment: for each dependency a window of versions."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PYPROJECT: dict[str, Any] = tomllib.loads(
    (Path(__file__).parent.parent / "pyproject.toml").read_text()
)
PROJECT = PYPROJECT["project"]
PINS = [Requirement(line) for line in PYPROJECT["tool"]["uv"]["constraint-dependencies"]]
PINNED = {canonicalize_name(pin.name): Version(str(pin.specifier)[2:]) for pin in PINS}
EXTRAS = PROJECT["optional-dependencies"].values()


@pytest.mark.parametrize("line", [*PROJECT["dependencies"], *(line for e in EXTRAS for line in e)])
def test_each_goes_up_to_the_major_version_after_the_one_that_is_tested(line: str) -> None:
    requirement = Requirement(line)
    bounds = {part.operator: Version(part.version) for part in requirement.specifier}
    assert bounds.keys() == {">=", "<"}
    tested = PINNED[canonicalize_name(requirement.name)]
    assert bounds[">="] <= tested
    assert bounds["<"] == Version(str(tested.major + 1))
