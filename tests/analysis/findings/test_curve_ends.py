"""What `benchmarks.stopped_trials` measures, on curves with known answers."""

from pathlib import Path

import pytest

from benchmarks.stopped_trials import one_draw, stopped_by_asha
from tests.support.simulated_sweep import Simulated, simulated_sweep
from toprung.analysis.findings.curve_ends import CurveScores
from toprung.analysis.findings.results import Results

CURVES = [
    [0.1, 0.2, 0.3, 0.8],  # the first: there is nothing to compare with, at no rung
    [0.5, 0.6, 0.7, 0.7],
    [0.4, 0.9, 0.9, 0.9],  # at epoch 1 above two thirds of the way from .1 to .5
    [0.6, 0.6, 0.6, 0.6],  # at epoch 3 below two thirds of the way in .3, .7, .9
]


@pytest.fixture
def full(tmp_path: Path) -> Results:
    return simulated_sweep(tmp_path / "sweep", [Simulated(c) for c in CURVES], max_epochs=4)


def test_asha_stops_what_is_below_its_rungs(full: Results) -> None:
    scores = CurveScores(full.metric, full.curves)
    left, stopped = stopped_by_asha(full.scored, scores)
    assert [len(stopped.curves[n].records) for n in range(4)] == [4, 4, 4, 3]
    assert [trial.ended for trial in left] == ["finished", "finished", "finished", "stopped early"]
    assert [len(scores.curves[n].records) for n in range(4)] == [4] * 4


def test_what_is_said_and_what_is_true(full: Results) -> None:
    scores = CurveScores(full.metric, full.curves)
    least, guess, most, truth = one_draw(full.scored, scores, num_random=4)
    assert least <= guess <= most
    # 15 epochs are three trials in full; the best of three of .8, .7, .9, .6 in the mean:
    assert truth == pytest.approx(0.9 * 3 / 4 + 0.8 / 4)
