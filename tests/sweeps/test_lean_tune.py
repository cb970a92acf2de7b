"""What Tune is relieved of while a sweep runs, it does again afterwards."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import trial
from ray.tune.utils.object_cache import _ObjectCache

from toprung.cluster.internals import Internal
from toprung.cluster.replaced import replaced
from toprung.errors import ToprungError
from toprung.tune import tune_internals
from toprung.tune.patches import lean_tune
from toprung.tune.tune_internals import INVENTORY


def test_tune_is_as_before_afterwards() -> None:
    before = TuneController._cleanup_trials
    with lean_tune():
        assert TuneController._cleanup_trials is not before
    assert TuneController._cleanup_trials is before


def test_a_trials_folder_has_our_name_though_another_sweep_has_one_of_it(tmp_path: Path) -> None:
    (tmp_path / "trial_00000").mkdir()
    with lean_tune():
        assert trial._create_unique_logdir_name(str(tmp_path), "trial_00000") == "trial_00000"
    assert trial._create_unique_logdir_name(str(tmp_path), "trial_00000") != "trial_00000"


def test_idle_trial_processes_are_kept_until_nothing_more_comes() -> None:
    def kept() -> tuple[list[str], list[str]]:
        cache: _ObjectCache = _ObjectCache()
        for actor in ("first", "second"):
            cache.cache_object("place", actor)
        return list(cache.flush_cached_objects()), list(cache.flush_cached_objects(force_all=True))

    with lean_tune():
        assert kept() == ([], ["first", "second"])
    assert kept() == ([], ["first"])


def test_an_idle_trial_process_gives_its_place_back_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with lean_tune():
        cache: _ObjectCache = _ObjectCache()
        cache.cache_object("place", "idle for long")
        monkeypatch.setattr("toprung.tune.patches.MAX_SECONDS_IDLE", -1.0)
        assert list(cache.flush_cached_objects()) == ["idle for long"]
        assert not cache.has_cached_object("place")
        monkeypatch.undo()
        cache.cache_object("place", "idle")
        assert cache.pop_cached_object("place") == "idle"
        assert list(cache.flush_cached_objects(force_all=True)) == []


def test_a_process_that_starts_keeps_its_trial_and_the_idle_one_is_for_the_next() -> None:
    """Otherwise a node that has just come would never run one, where trials are short."""
    controller: Any = TuneController.__new__(TuneController)
    controller._resetting_trials = set()
    controller._trial_to_actor = {"starting": "actor", "waiting": "no place yet"}
    controller._actor_manager = SimpleNamespace(is_actor_started=lambda actor: actor == "actor")
    asked: list[str] = []

    def reuse(self: Any, trial: str) -> bool:
        asked.append(trial)
        return True

    with replaced(TuneController, "_maybe_reuse_cached_actor", reuse), lean_tune():
        assert not controller._maybe_reuse_cached_actor("starting")
        assert controller._maybe_reuse_cached_actor("waiting")
        assert controller._maybe_reuse_cached_actor("new")
    assert asked == ["waiting", "new"]


class TestAnotherRay:
    """Ray's private parts may go or change with any version."""

    @pytest.fixture
    def warnings(self) -> list[str]:
        return []

    def test_the_installed_one_fits(self, warnings: list[str]) -> None:
        assert [name.misfit() for name in INVENTORY if name.misfit()] == []
        with lean_tune(warn=warnings.append):
            assert warnings == []

    @pytest.mark.parametrize("name", INVENTORY, ids=lambda name: name.place.partition(":")[2])
    def test_each_name_is_missed_in_one_line_with_its_cost(
        self, name: Internal, warnings: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gone = replace(name, place=f"{name.place}_of_another_ray")
        for known, value in vars(tune_internals).items():
            if value is name:
                monkeypatch.setattr(tune_internals, known, gone)
        essential = [gone if known is name else known for known in tune_internals.ESSENTIAL]
        monkeypatch.setattr(tune_internals, "ESSENTIAL", essential)
        if gone in essential:
            with pytest.raises(ToprungError, match=f"_of_another_ray .*: {name.cost}"):
                lean_tune(warn=warnings.append).__enter__()
            return
        with lean_tune(warn=warnings.append):
            assert warnings
            assert all("\n" not in line for line in warnings)
            assert any(gone.place in line for line in warnings)
        assert name.misfit() == ""

    def test_a_patch_of_what_takes_other_arguments_is_left_out(
        self, warnings: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def failed(self: Any, tracked_actor: Any, exception: Exception, node: str) -> None:
            raise AssertionError

        monkeypatch.setattr(TuneController, "_actor_failed", failed)
        with lean_tune(warn=warnings.append):
            assert TuneController._actor_failed is failed
        (line,) = warnings
        assert "_actor_failed takes (self, tracked_actor, exception, node), not (self," in line
        assert line.endswith(": a trial may fail because an idle process died")

    def test_idle_processes_are_left_to_ray_where_one_of_two_patches_does_not_fit(
        self, warnings: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr(_ObjectCache, "flush_cached_objects")
        before = _ObjectCache.cache_object
        with lean_tune(warn=warnings.append):
            assert _ObjectCache.cache_object is before
        assert len(warnings) == 1
