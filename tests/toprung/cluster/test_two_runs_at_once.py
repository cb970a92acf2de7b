"""Two sweeps of one name that are begun at one moment, in one folder."""

from pathlib import Path

import pytest

from benchmarks.kills.pretended.sweep import begin
from toprung.errors import ToprungError

SPACE = """
from pathlib import Path
from benchmarks.kills.spaces.small import *
from benchmarks.kills.spaces.small import search_space as original

def search_space(trial):
    (Path({folder!r}) / "trials").mkdir(parents=True, exist_ok=True)  # the other is quicker
    return original(trial)
"""


def test_the_slower_is_refused_in_a_line_and_leaves_the_other_alone(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    (tmp_path / "space.py").write_text(SPACE.format(folder=str(sweep)))
    with pytest.raises(ToprungError, match=rf"^{sweep}: another .* just started there.*--name$"):
        begin(sweep, str(tmp_path / "space.py"), trials=1)
    assert [path.name for path in sweep.iterdir()] == ["trials"]
