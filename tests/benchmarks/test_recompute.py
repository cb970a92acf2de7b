"""Reports of small sweeps, computed again by other code; and that it finds what is falsified."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.recompute.cells import LEFT_OUT, TABLES
from benchmarks.recompute.check import check
from tests.support.fuzzed_sweep import Place
from tests.support.simulated_sweep import Simulated, random_trials, simulated_sweep
from toprung.analysis.drawing.picture import Picture, Table, parts_in
from toprung.analysis.findings.results import Results
from toprung.analysis.report import sections
from toprung.analysis.report.sections import SECTIONS, DrawnPart
from toprung.analysis.sweep import Sweep


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have no figures in the file, and to draw them takes seconds."""
    draw = sections._draw

    def drawn(part: Picture | Table, results: Results) -> DrawnPart | None:
        return None if isinstance(part, Picture) else draw(part, results)

    monkeypatch.setattr(sections, "_draw", drawn)


def test_every_figure_of_a_sweep_with_a_test_set(whole: Place, tmp_path: Path) -> None:
    Sweep(whole.sweep).report(tmp_path / "report")
    found = check(whole.sweep, tmp_path / "report")
    assert found.differences == []
    assert found.num_figures > 150


def test_every_figure_of_a_search_by_the_loss(tmp_path: Path) -> None:
    trials = random_trials(40, loss=True)
    results = simulated_sweep(tmp_path / "sweep", trials, metric="val_loss", sampler="tpe")
    Sweep(results.sweep.folder.path).report(by=["optimizer/name", "training/epochs"])
    found = check(tmp_path / "sweep")
    assert found.differences == []
    assert found.num_figures > 300


def test_a_falsified_figure_of_any_table_is_found(whole: Place, tmp_path: Path) -> None:
    simulated_sweep(tmp_path / "searched", random_trials(40))
    for number, sweep in enumerate([whole.sweep, tmp_path / "searched"]):
        report = tmp_path / f"report {number}"
        Sweep(sweep).report(report)
        assert check(sweep, report).differences == []
        said = json.loads((report / "figures.json").read_text())
        falsified = set()
        for name, cells in numbers_of(said):
            holder, key = cells[-1]
            holder[key] += 0.001
            falsified.add(name)
        (report / "figures.json").write_text(json.dumps(said))
        differences = check(sweep, report).differences
        found = {line.partition(",")[0].partition(":")[0] for line in differences}
        assert falsified - found == set()


def numbers_of(said: dict[str, Any]) -> Iterator[tuple[str, list[tuple[Any, Any]]]]:
    """Where the numbers are that are computed again, but for those that name a row."""
    yield "headline", [(fact, "value") for fact in said["headline"] if fact["value"] is not None]
    for part in said["parts"]:
        rows = part.get("rows", []) if part["name"] not in LEFT_OUT else []
        cells = [
            (row, place)
            for row in rows
            for place, cell in enumerate(row)
            if place and isinstance(cell, int | float) and not isinstance(cell, bool)
        ]
        if cells:
            yield part["name"], cells


def test_another_model_s_predictions_are_found(place: Place, tmp_path: Path) -> None:
    Sweep(place.sweep).report(tmp_path / "report")
    file = place.sweep / "sealed_test.json"
    openings = json.loads(file.read_text())
    openings[0]["accuracy"] -= 0.01
    file.write_text(json.dumps(openings))
    found = check(place.sweep, tmp_path / "report")
    assert any(line.startswith("sealed_test.json: accuracy") for line in found.differences)


def test_every_table_of_the_report_is_computed_again_or_left_out_with_a_reason() -> None:
    tables = {
        part.name
        for section in SECTIONS
        for module in section.modules
        for part in parts_in(module)
        if isinstance(part, Table)
    }
    assert tables == TABLES.keys() | LEFT_OUT.keys()
    assert not TABLES.keys() & LEFT_OUT.keys()


def test_the_code_under_test_is_not_used() -> None:
    folder = Path(check.__code__.co_filename).parent
    imports = [
        line
        for path in folder.glob("*.py")
        for line in path.read_text().splitlines()
        if line.startswith(("import ", "from ")) or "    from " in line or "    import " in line
    ]
    ours = ("analysis", "toprung", "trainables", "search_spaces", "scipy", "sklearn", "optuna")
    assert len(imports) > 20
    assert [line for line in imports if line.split()[1].split(".")[0] in ours] == []


def test_ties_and_results_are_those_of_the_sweep(tmp_path: Path) -> None:
    curves = [[0.5, 0.5], [0.5], [0.5, 0.5], [0.4, 0.5]]
    trials = [Simulated(curve) for curve in curves]
    results: Results = simulated_sweep(tmp_path / "sweep", trials, max_epochs=2)
    Sweep(results.sweep.folder.path).report()
    assert check(tmp_path / "sweep").differences == []
