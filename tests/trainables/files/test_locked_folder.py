"""Temporary folders that no killed process leaves for ever, and the environment as it was."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from toprung.trainables.files.locked_folder import LockedFolder
from toprung.trainables.system.environment import environment_kept

PREFIX = "toprung-test-"
MAKE_AND_WAIT = f"""
import time
from toprung.trainables.files.locked_folder import LockedFolder
print(LockedFolder({PREFIX!r}).path.name, flush=True)
time.sleep(100)
"""


@pytest.fixture(autouse=True)
def _own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def test_a_folder_goes_with_its_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAKE_AND_WAIT]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        name = next(other.stdout).strip()
        (tmp_path / name / "warm").touch()
        ours = LockedFolder(PREFIX)
        assert {path.name for path in tmp_path.iterdir()} == {name, ours.path.name}
        other.kill()
    again = LockedFolder(PREFIX)
    assert {path.name for path in tmp_path.iterdir()} == {again.path.name, ours.path.name}
    ours.remove()
    again.remove()
    assert not list(tmp_path.iterdir())


def test_nothing_else_is_removed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / f"{PREFIX}file").touch()
    (tmp_path / "toprung-other").mkdir()
    LockedFolder(PREFIX).remove()
    assert len(list(tmp_path.iterdir())) == 4


def test_the_environment_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "mine")
    monkeypatch.setenv("TAKEN", "away")
    before = dict(os.environ)
    with environment_kept():
        os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "NEW": "1"}
        del os.environ["TAKEN"]
    assert dict(os.environ) == before
