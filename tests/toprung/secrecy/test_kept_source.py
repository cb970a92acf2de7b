"""What is said of a search space whose source holds a secret, when a sweep's folder keeps it."""

from pathlib import Path

import pytest

from benchmarks.kills.pretended.sweep import begin


def test_a_secret_in_the_source_that_is_kept_is_named_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KILLS_SHOW", "1")
    space = tmp_path / "mine.py"
    space.write_text("from benchmarks.kills.spaces.small import *\nPASSWORD = 'hunter2!'\n")
    begin(tmp_path / "sweep", str(space), trials=1)
    told = capsys.readouterr().err
    assert (
        "warning: mine: line 2: named secret: looks like a secret, and the sweep's folder" in told
    )
    assert "hunter2" not in told
