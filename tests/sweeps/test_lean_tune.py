"""What Tune is relieved of while a sweep runs, it does again afterwards."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import trial
from ray.tune.utils.object_cache import _ObjectCache

from toprung.cluster.replaced import replaced
from toprung.tune.patches import lean_tune


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

    def reuse(controller: Any, trial: str) -> bool:
        asked.append(trial)
        return True

    with replaced(TuneController, "_maybe_reuse_cached_actor", reuse), lean_tune():
        assert not controller._maybe_reuse_cached_actor("starting")
        assert controller._maybe_reuse_cached_actor("waiting")
        assert controller._maybe_reuse_cached_actor("new")
    assert asked == ["waiting", "new"]
