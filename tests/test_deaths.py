"""What becomes of a trial whose process, or node, is lost. The texts are what Ray has said."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayActorError
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial

from toprung.deaths import MAX_DEATHS, MAX_NODES_LOST, Deaths
from toprung.lean_tune import lean_tune, replaced
from trainables.report import VALIDATION

_DIED = "The actor died unexpectedly before finishing this task.\n\tclass_name: ImplicitFunc\n"
WORKER_DIED = (
    f"{_DIED}The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR "
    "Worker exit detail: Worker unexpectedly exits with a connection error code 2. End of file."
)
NODE_DIED = (
    f"{_DIED}The actor died because its node has died. Node Id: b33f211e\n\tthe actor's node was "
    "terminated unexpectedly: health check failed due to missing too many heartbeats"
)
CUT_OFF = (
    "The actor 2d781a40 is unavailable: The actor is temporarily unavailable: RpcError: RPC error: "
    "Socket closed rpc_code: 14. The task may or may not have been executed on the actor."
)


def ignored(*_: str) -> None:
    """What the searcher makes of it is tested elsewhere."""


class Dying:
    """A trial of Tune, and what is told of its deaths."""

    def __init__(self, folder: Path, timeout: float | None = None) -> None:
        self.told: list[str] = []
        searcher: Any = SimpleNamespace(note_death=ignored, note_recovery=ignored)
        disk: Any = SimpleNamespace(is_full=False, trials_wait=False)
        self.deaths = Deaths(searcher, self.told.append, timeout, disk)
        self.trial = Trial("trains", stub=True, max_failures=MAX_DEATHS)
        self.trial.config = {"number": 7}
        self.trial.storage = SimpleNamespace(trial_driver_staging_path=str(folder))

    def die(self, *texts: str) -> bool:
        """As Tune does; whether the trial goes on after the last of them."""
        return self.end(*[RayActorError(error_msg=text) for text in texts])

    def end(self, *errors: RayActorError) -> bool:
        goes_on = False
        for error in errors:
            self.trial.handle_error(error)
            goes_on = self.trial.should_recover()
            self.deaths.died(self.trial)
            if goes_on:
                self.deaths.on_trial_recover(1, [], self.trial)
        return goes_on

    def hang(self) -> None:
        self.deaths.on_trial_start(1, [], self.trial)
        self.deaths.on_step_end(1, [])

    def report(self, validation: int) -> None:
        self.deaths.on_trial_result(1, [], self.trial, {VALIDATION: validation})


@pytest.fixture
def dying(tmp_path: Path) -> Iterator[Dying]:
    with lean_tune():
        yield Dying(tmp_path)


def test_a_trial_whose_process_dies_again_and_again_is_given_up(dying: Dying) -> None:
    assert dying.die(*[WORKER_DIED] * MAX_DEATHS)
    assert dying.told[-1] == (
        "trial 7: its process died; it begins again (time 3 of 3 without a new validation)"
    )
    assert not dying.die(WORKER_DIED)
    assert dying.told[-1].startswith("trial 7 failed: its process died (SYSTEM_ERROR), 4 times")


@pytest.mark.parametrize("text", [NODE_DIED, CUT_OFF], ids=["node died", "cut off"])
def test_nodes_that_are_lost_are_not_counted_against_a_trial(dying: Dying, text: str) -> None:
    dying.report(1)
    assert dying.die(WORKER_DIED, WORKER_DIED, *[text] * 15, WORKER_DIED)
    assert dying.told[-2:] == [
        "trial 7: its node was lost or cut off; it goes on from its last checkpoint",
        "trial 7: its process died; it goes on from its last checkpoint "
        "(time 3 of 3 without a new validation)",
    ]


def test_a_trial_that_takes_one_node_after_the_other_with_it_is_given_up(dying: Dying) -> None:
    assert dying.die(*[NODE_DIED] * MAX_NODES_LOST)
    assert not dying.die(NODE_DIED)
    assert dying.told[-1] == (
        "trial 7 failed: its node was lost or cut off, 21 times without a new validation"
    )


def test_a_new_validation_begins_the_count_again(dying: Dying) -> None:
    for validation in range(1, 4):
        assert dying.die(*[NODE_DIED] * (MAX_NODES_LOST - 1), *[WORKER_DIED] * MAX_DEATHS)
        dying.report(validation)
        dying.report(validation - 1)  # from an older checkpoint
    assert dying.die(*[NODE_DIED] * MAX_NODES_LOST)


def of_idle(text: str) -> RayActorError:
    """What the trial is told that was to have an idle process of which Ray says this."""
    told: list[RayActorError] = []
    controller = SimpleNamespace(_actor_to_trial={"actor": "trial"}, _resetting_trials={"trial"})
    error = RayActorError(error_msg=text)
    tunes_own = replaced(TuneController, "_actor_failed", lambda *info: told.append(info[-1]))
    with tunes_own, lean_tune():
        TuneController._actor_failed(controller, "actor", error)
    return told[0]


@pytest.mark.parametrize("text", [NODE_DIED, WORKER_DIED], ids=["node died", "worker died"])
def test_idle_processes_that_die_are_no_failure_of_the_trial_that_was_to_have_them(
    dying: Dying, text: str
) -> None:
    dying.deaths.on_trial_start(1, [], dying.trial)
    assert dying.die(*[WORKER_DIED] * (MAX_DEATHS - 1))
    told = list(dying.told)
    assert dying.end(*[of_idle(text)] * (MAX_NODES_LOST + 1))
    assert dying.told == told
    assert dying.die(WORKER_DIED)
    assert not dying.die(WORKER_DIED)


def test_a_trial_that_reports_nothing_is_given_up_but_not_on_a_node_that_was_cut_off(
    tmp_path: Path,
) -> None:
    with lean_tune():
        dying = Dying(tmp_path, timeout=-1.0)
        assert dying.die(WORKER_DIED)
        dying.hang()
        assert dying.die(CUT_OFF)
        assert dying.told[-1] == "trial 7: its node was lost or cut off; it begins again"
        assert dying.die(WORKER_DIED)
        assert "time 2 of 3" in dying.told[-1]
        dying.hang()
        assert not dying.die(WORKER_DIED)
        assert dying.told[-1] == "trial 7 failed: reported nothing for -1 s"
