"""What becomes of a trial whose process, or node, is lost, by the texts of Ray's own errors."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayActorError
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial

from tests.support import ray_errors
from tests.support.ray_errors import actor_died
from toprung.cluster.replaced import replaced
from toprung.trainables.results.columns import VALIDATION
from toprung.trainables.results.failures import OUT_OF_MEMORY, WORKER_LOST
from toprung.tune.callbacks.watcher import TrialStates, WatchedTrial
from toprung.tune.crashes import MAX_DEATHS, MAX_NODES_LOST, Deaths
from toprung.tune.patches import lean_tune

WORKER_DIED = str(actor_died(ray_errors.WORKER_DIED))
NODE_DIED = str(actor_died(ray_errors.NODE_DIED))
CUT_OFF = str(ActorUnavailableError(ray_errors.CUT_OFF, b"\x2d" * 16))


def ignored(*_: str) -> None:
    """What the searcher makes of it is tested elsewhere."""


class Dying:
    """A trial of Tune, and what is told of its deaths."""

    def __init__(self, folder: Path, timeout: float | None = None) -> None:
        self.told: list[str] = []
        self.kinds: list[str] = []
        self.oom_kills: int | None = 0
        searcher: Any = SimpleNamespace(
            note_death=lambda *info: self.kinds.append(info[1]), note_recovery=ignored
        )
        disk: Any = SimpleNamespace(is_full=False, trials_wait=False)
        kills: Any = SimpleNamespace(accounts_for=self.accounts_for)
        self.deaths = Deaths(
            searcher, self.told.append, timeout=timeout, disk=disk, oom_watch=kills
        )
        self.trial = Trial("trains", stub=True, max_failures=MAX_DEATHS)
        self.trial.config = {"number": 7}
        self.watched = WatchedTrial(self.trial.trial_id, 7, tuned=self.trial)
        self.trial.storage = SimpleNamespace(trial_driver_staging_path=str(folder))

    def accounts_for(self, text: str) -> bool | None:
        """As `OomWatch`, of one node."""
        assert "The actor died" in text or "OutOfMemoryError" in text
        if not self.oom_kills:
            return None if self.oom_kills is None else False
        self.oom_kills -= 1
        return True

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
                self.deaths.on_retry(self.watched)
        return goes_on

    def hang(self) -> None:
        self.deaths.on_start(self.watched)
        self.deaths.on_step(TrialStates([]))

    def report(self, validation: int) -> None:
        self.deaths.on_report(self.watched, {VALIDATION: validation})


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
    dying.deaths.on_start(dying.watched)
    assert dying.die(*[WORKER_DIED] * (MAX_DEATHS - 1))
    told = list(dying.told)
    assert dying.end(*[of_idle(text)] * (MAX_NODES_LOST + 1))
    assert dying.told == told
    assert dying.die(WORKER_DIED)
    assert not dying.die(WORKER_DIED)


def test_a_trial_killed_for_memory_is_tried_again_once_and_is_out_of_memory(dying: Dying) -> None:
    dying.oom_kills = 2
    assert dying.die(WORKER_DIED)
    assert dying.told == [
        "trial 7: the kernel killed its process, because memory was full; it begins again "
        "(for the last time without a new validation)"
    ]
    assert not dying.die(WORKER_DIED)
    assert dying.told[-1] == (
        "trial 7 failed: the kernel killed its process, because memory was full, "
        "2 times without a new validation"
    )
    assert dying.kinds == [OUT_OF_MEMORY, OUT_OF_MEMORY]


def test_a_new_validation_gives_a_trial_killed_for_memory_another_try(dying: Dying) -> None:
    dying.oom_kills = 4
    for validation in range(1, 4):
        assert dying.die(WORKER_DIED)
        dying.report(validation)
    assert dying.die(WORKER_DIED)


def test_a_crash_is_no_kill_for_memory_though_ray_names_that_among_its_causes(
    dying: Dying,
) -> None:
    assert dying.die(WORKER_DIED)
    assert dying.kinds == [WORKER_LOST]
    assert dying.told[-1].startswith("trial 7: its process died; it begins again (time 1 of 3")


def test_where_the_node_does_not_count_that_is_said(dying: Dying) -> None:
    dying.oom_kills = None
    assert not dying.die(*[WORKER_DIED] * (MAX_DEATHS + 1))
    assert dying.kinds[-1] == WORKER_LOST
    assert dying.told[-1].endswith("; its node does not say whether for memory")


def test_the_kill_of_an_idle_process_accounts_for_no_other_death(dying: Dying) -> None:
    dying.oom_kills = 1
    assert dying.end(of_idle(WORKER_DIED))
    assert dying.die(WORKER_DIED)
    assert dying.kinds == [WORKER_LOST]


@pytest.mark.parametrize("method", ["_actor_task_failed", "_actor_start_failed"])
def test_what_rays_memory_monitor_kills_is_a_trials_death_and_not_the_sweeps_end(
    dying: Dying, method: str
) -> None:
    """Ray's manager of actors knows no such error, and would raise it out of `fit`."""
    told: list[RayActorError] = []

    def rays_own(self: Any, *, exception: Exception, **tracked: Any) -> None:
        assert isinstance(exception, RayActorError)
        told.append(exception)

    killed = OutOfMemoryError("1 worker(s) were killed due to the node running low on memory.")
    with replaced(RayActorManager, method, rays_own), lean_tune():
        getattr(RayActorManager, method)("manager", exception=killed, tracked_actor="actor")
    assert dying.end(*told)
    assert not dying.end(*told)
    assert dying.kinds == [OUT_OF_MEMORY, OUT_OF_MEMORY]
    assert dying.told[-1].startswith("trial 7 failed: Ray killed its process, because the machine")


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
