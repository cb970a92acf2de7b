"""The notebook in `examples`, cell by cell; it searches the space that lies beside it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import toprung

EXAMPLES = Path(__file__).parents[2] / "examples"


def code_cells(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_the_notebook(
    local_ray: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    monkeypatch.chdir(tmp_path / "examples")
    names: dict[str, Any] = {}
    for number, cell in enumerate(code_cells(EXAMPLES / "digits.ipynb")):
        exec(compile(cell, f"digits.ipynb, code cell {number}", "exec"), names)
    sweep, result, report = names["sweep"], names["result"], names["report"]
    assert isinstance(sweep, toprung.Sweep)
    assert len(sweep.trials()) == 2
    assert set(names["best"].parameters) >= {"labels/augmentation", "optimizer/lr"}
    assert result.num_images == 359
    assert not report.problems
    printed = capsys.readouterr().out
    assert f"test accuracy {result.accuracy:.4f} on 359 images" in printed
    assert str(report.path) in printed
