"""What is shown while a sweep runs, on a terminal and elsewhere."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.support.helpers import tiny_config, tiny_data
from toprung.cluster.placement.packing import Packing
from toprung.console import show_line
from toprung.settings import SweepSettings
from toprung.trainables.results.columns import FROZEN_PART, PRECISION, failure_report, to_report
from toprung.trainables.results.failures import DIVERGED
from toprung.trainables.training.fit import fit
from toprung.tune.callbacks.progress import Progress
from toprung.tune.callbacks.watcher import WatchedTrial


@pytest.fixture(scope="module")
def reports() -> list[dict[str, Any]]:
    return [to_report(v, "val_accuracy") for v in fit(tiny_config(), tiny_data())]


def shown(reports: list[dict[str, Any]], *, terminal: bool) -> str:
    """A sweep of four: one finishes, one is stopped early, one fails, one cannot exist."""
    screen = io.StringIO()
    environment = {"TERM": "xterm"}
    console = Console(file=screen, force_terminal=terminal, width=100, _environ=environment)
    settings = SweepSettings(trials=4)
    progress = Progress("mine", settings, console, Packing(settings))
    progress.on_begin()
    failure = failure_report(DIVERGED, "it became NaN")
    for number, report in enumerate([reports[-1], reports[0], failure]):
        trial = WatchedTrial(str(number), number)
        progress.on_start(trial)
        progress.on_report(trial, report)
        progress.on_end(trial, report)
    progress.refused("infeasible", "shrinks to nothing")
    progress.on_close()
    return screen.getvalue()


def test_plain_lines(reports: list[dict[str, Any]]) -> None:
    text = shown(reports, terminal=False)
    assert "trial 2 failed: it became NaN" in text
    last = text.splitlines()[-1]
    assert last.startswith("trials 3/4, running 0, finished 1, stopped early 1, infeasible 1")
    assert f"val_accuracy {reports[-1]['best_val_accuracy']:.4f} (trial 0" in last
    assert "\x1b" not in text


def test_a_live_table_on_a_terminal(reports: list[dict[str, Any]]) -> None:
    text = shown(reports, terminal=True)
    assert "sweep mine" in text
    assert "3/4" in text
    assert "trial 2 failed: it became NaN" in text
    assert text.rstrip().endswith("\x1b[?25h")  # the cursor is given back


def test_what_is_done_about_the_frozen_part_is_told_once(reports: list[dict[str, Any]]) -> None:
    stored = [
        report | {FROZEN_PART: "the frozen part is computed once", PRECISION: "bf16"}
        for report in reports
    ]
    lines = shown(stored, terminal=False).splitlines()
    assert [line for line in lines if "frozen part" in line or "bf16" in line] == [
        "trial 0: the frozen part is computed once",
        "trial 0: computes in bf16",
    ]
    assert "frozen" not in shown(reports, terminal=False)


def test_how_far_the_frozen_part_is(
    reports: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path))
    building = tmp_path / "activations" / "building-key"
    building.mkdir(parents=True)
    (building / "layout.json").write_text('{"num_images": 300}')
    (building / "done-0").touch()
    text = shown(reports, terminal=False)
    assert "frozen part computed for 256 of 300 images" in text


def test_a_line_is_shown_as_it_is() -> None:
    screen = io.StringIO()
    line = f"freeze policy train_pattern:layer[abc]: {' '.join(['long'] * 40)}"
    show_line(Console(file=screen, width=80), line)
    assert screen.getvalue() == f"{line}\n"
