"""ASHA compares what a trial reports, but not what a resumed one only reports again."""

from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from toprung.settings import SweepSettings
from toprung.trainables.results import columns
from toprung.tune.scheduler import SearchOnly, trial_scheduler


def trial(number: int, confirms: int | None = None) -> Any:
    return SimpleNamespace(config={"number": number, "confirms": confirms})


def told(epoch: float, score: float, **more: Any) -> dict[str, Any]:
    return {columns.EPOCH: epoch, columns.SCORE: score, **more}


@pytest.fixture
def asha() -> SearchOnly:
    """One that knows two good trials after the first epoch and after the third."""
    settings = SweepSettings(max_epochs=9, grace_epochs=1, reduction_factor=3)
    found = trial_scheduler(settings, lambda _: None)
    assert isinstance(found, SearchOnly)
    for number in (0, 1, 2):
        found.on_trial_add(None, trial(number))
    for number, epoch in ((0, 1.0), (1, 1.0), (0, 3.0), (1, 3.0)):
        found.replay(number, epoch, 0.9)
    return found


def test_a_poor_trial_is_stopped_at_a_rung(asha: SearchOnly) -> None:
    assert asha.on_trial_result(None, trial(2), told(1.0, 0.1)) == TrialScheduler.STOP


def test_one_that_went_on_then_is_not_stopped_by_what_it_reports_again(asha: SearchOnly) -> None:
    again = told(1.0, 0.1, **{columns.REPLAYED: True})
    assert asha.on_trial_result(None, trial(2), again) == TrialScheduler.CONTINUE
    assert asha.on_trial_result(None, trial(2), told(2.0, 0.1)) == TrialScheduler.CONTINUE
    assert asha.on_trial_result(None, trial(2), told(3.0, 0.1)) == TrialScheduler.STOP


def test_what_it_reports_again_counts_for_others(asha: SearchOnly) -> None:
    for number in range(4, 10):
        asha.on_trial_add(None, trial(number))
        asha.on_trial_result(None, trial(number), told(1.0, 0.1, **{columns.REPLAYED: True}))
    assert asha.on_trial_result(None, trial(2), told(1.0, 0.5)) == TrialScheduler.CONTINUE
