"""What Tune is relieved of while a sweep runs, it does again afterwards."""

import os
from pathlib import Path

import pytest
from ray.tune.experiment import trial
from ray.tune.schedulers import FIFOScheduler

from toprung.lean_tune import lean_tune


def test_tune_is_as_before_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "7")
    before = FIFOScheduler.choose_trial_to_run
    with lean_tune():
        assert FIFOScheduler.choose_trial_to_run is not before
        assert os.environ["TUNE_GLOBAL_CHECKPOINT_S"] == "inf"
    assert FIFOScheduler.choose_trial_to_run is before
    assert os.environ["TUNE_GLOBAL_CHECKPOINT_S"] == "7"


def test_a_trials_folder_has_our_name_though_another_sweep_has_one_of_it(tmp_path: Path) -> None:
    (tmp_path / "trial_00000").mkdir()
    with lean_tune():
        assert trial._create_unique_logdir_name(str(tmp_path), "trial_00000") == "trial_00000"
    assert trial._create_unique_logdir_name(str(tmp_path), "trial_00000") != "trial_00000"
