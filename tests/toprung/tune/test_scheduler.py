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


def test_the_oldest_trial_without_a_process_starts_next(asha: SearchOnly) -> None:
    def waiting(number: int, status: str = "PENDING") -> SimpleNamespace:
        return SimpleNamespace(status=status, config={"number": number})

    trials = [waiting(4), waiting(3), waiting(1), waiting(0, "RUNNING")]
    controller = SimpleNamespace(
        get_live_trials=lambda: trials,
        _trial_to_actor=_ById({id(trials[2]): "starting"}),
        _resetting_trials=(),
        _actor_manager=SimpleNamespace(is_actor_started=lambda actor: actor == "starting"),
    )
    assert asha.choose_trial_to_run(controller) is trials[1]
    trials.clear()
    assert asha.choose_trial_to_run(controller) is None


class _ById:
    def __init__(self, actors: dict[int, str]) -> None:
        self._actors = actors

    def get(self, trial: Any) -> str | None:
        return self._actors.get(id(trial))
