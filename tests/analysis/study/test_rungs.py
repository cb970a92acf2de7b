"""How many trials came to each rung, and what became of them there."""

from pathlib import Path

from tests.support.simulated_sweep import Simulated, simulated_sweep
from toprung.analysis.findings.results import Results
from toprung.analysis.study.rungs import Rung, rungs
from toprung.analysis.sweep_folder import attributes

EARLY = attributes.STOPPED_EARLY


def found(results: Results) -> list[Rung]:
    settings = results.sweep.description["settings"]
    return rungs(settings, results.trials, results.curves)


def test_counts(tmp_path: Path) -> None:
    trials = [
        *([Simulated([0.1], EARLY)] * 4),
        *([Simulated([0.1] * 3, EARLY)] * 2),
        Simulated([0.1] * 9),
        Simulated([0.1] * 2, attributes.TIME_BUDGET),
        Simulated([0.1] * 3, attributes.FAILED, reason="no memory"),
        Simulated((), attributes.INFEASIBLE, reason="too small"),
        Simulated([0.1], attributes.RUNNING),
    ]
    results = simulated_sweep(tmp_path / "sweep", trials)
    first, second, last = found(results)
    assert first == Rung(1, reached=10, stopped=4, continued=5)
    assert second == Rung(3, reached=4, stopped=2, continued=1)
    assert last == Rung(9, reached=1, stopped=0, continued=0)
    assert (first.share_continued, second.share_continued, last.share_continued) == (
        5 / 9,
        1 / 3,
        None,
    )


def test_only_asha_has_rungs(tmp_path: Path) -> None:
    results = simulated_sweep(tmp_path / "sweep", [Simulated([0.1])], trial_scheduler="none")
    assert found(results) == []


def test_rungs_lie_below_the_longest_trial() -> None:
    settings = {"trial_scheduler": "asha", "grace_epochs": 2, "reduction_factor": 2}
    heights = {
        limit: [rung.epochs for rung in rungs(settings | {"max_epochs": limit}, [], {})]
        for limit in (2, 8, 9)
    }
    assert heights == {2: [2], 8: [2, 4, 8], 9: [2, 4, 8, 9]}
