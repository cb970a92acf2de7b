"""What Tune is relieved of while a sweep runs, it does again afterwards."""

from pathlib import Path

from ray.tune.experiment import trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.utils.object_cache import _ObjectCache

from toprung.lean_tune import lean_tune


def test_tune_is_as_before_afterwards() -> None:
    before = FIFOScheduler.choose_trial_to_run
    with lean_tune():
        assert FIFOScheduler.choose_trial_to_run is not before
    assert FIFOScheduler.choose_trial_to_run is before


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
