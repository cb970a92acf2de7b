"""A sweep in whose environment are secrets: none is in what it leaves, or in Ray's processes."""

import os
import sys
from pathlib import Path

import pytest
import ray
from optuna import Trial
from optuna.samplers import RandomSampler

import toprung
from tests.support.canaries import (
    VARIABLES,
    canaries_set,
    files_with_canaries,
    found_in,
    processes_with_canaries,
)


def talkative(trial: Trial) -> dict[str, object]:
    """A space whose second trial fails with what it should keep to itself."""
    is_rehearsed = isinstance(trial.study.sampler, RandomSampler)
    if trial.number == 1 and not is_rehearsed:
        raise ValueError(f"no access: {os.environ['HF_TOKEN']}, {os.environ['DATABASE_URL']}")
    return {
        "data": {"source": "digits"},
        "model": {"num_blocks": 1, "filters": 4},
        "training": {"epochs": 1},
        "optimizer": {"lr": trial.suggest_float("optimizer/lr", 1e-3, 1e-2)},
    }


def test_no_secret_is_kept_shown_or_handed_on(
    local_ray: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    argv = ["study.py", "--api-key", VARIABLES["WANDB_API_KEY"], f"--url={VARIABLES['SIGNED']}"]
    monkeypatch.setattr(sys, "argv", argv)
    with canaries_set():
        sweep = toprung.run(talkative, trials=3, concurrency=2, confirm=0, out=tmp_path, name="s")
        told = capfd.readouterr()
        seen = ray.get(ray.remote(lambda: list(os.environ.values())).remote())
    assert sweep.counts() == {"finished": 3, "failed": 1}
    assert "no access: [secret]" in "".join(trial.reason for trial in sweep.trials())
    assert files_with_canaries(tmp_path, session) == []
    assert found_in([told.out, told.err]) == []
    assert found_in(seen) == []
    assert processes_with_canaries() == []
    command = sweep.description["command"]
    assert command[:3] == ["study.py", "--api-key", "[secret]"]
