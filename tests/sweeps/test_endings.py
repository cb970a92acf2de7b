"""How trials and sweeps end otherwise: impossible, diverged, crashed, out of time, interrupted."""

import math
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

import toprung
from toprung import Sweep
from toprung.tune import stopping

KINDS: dict[str, dict[str, Any]] = {
    "good": {},
    "impossible": {"model": {"num_blocks": 5, "filters": 4}},
    "diverges": {"optimizer": {"name": "sgd", "lr": 1e30}},
    "crashes": {
        "model": {"num_blocks": 1, "filters": 4, "dense_batch_norm": True},
        "training": {"batch_size": 1},
    },
}


def kinds_space(trial: optuna.Trial) -> dict[str, Any]:
    kind = trial.suggest_categorical("labels/kind", list(KINDS))
    return {
        "labels": {"kind": kind},
        "data": {"source": "digits", "image_size": 8, "channels": 1},
        "model": {"num_blocks": 1, "filters": 4},
        "optimizer": {"name": "adam", "lr": 1e-2},
        **KINDS[kind],
    }


@pytest.fixture(scope="module")
def sweep(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return toprung.run(
        kinds_space,
        trials=4,
        max_epochs=2,
        concurrency=1,
        sampler="grid",
        trial_scheduler="none",
        name="kinds",
        out=tmp_path_factory.mktemp("sweeps"),
    )


@pytest.fixture(scope="module")
def of_kind(sweep: Sweep) -> dict[str, optuna.trial.FrozenTrial]:
    return {trial.params["labels/kind"]: trial for trial in sweep.study.get_trials()}


def test_the_grid_is_tried_whole_and_nothing_twice(sweep: Sweep) -> None:
    kinds = [trial.parameters["labels/kind"] for trial in sweep.trials()]
    assert sorted(kinds) == sorted(KINDS)


def test_an_impossible_network_is_told_as_infeasible_and_costs_no_worker(
    sweep: Sweep, of_kind: dict[str, optuna.trial.FrozenTrial]
) -> None:
    trial = of_kind["impossible"]
    assert trial.state == TrialState.PRUNED
    assert trial.user_attrs["ended"] == "infeasible"
    assert "block 4 of 5" in trial.user_attrs["reason"]
    assert max(trial.constraints.values()) > 0
    folders = {path.name for path in (sweep.folder.path / "trials").glob("trial_*")}
    assert sweep.folder.trial_name(trial.number) not in folders
    assert len(folders) == 3


def test_a_diverged_trial_fails_with_the_reason_and_no_nan_is_told(
    of_kind: dict[str, optuna.trial.FrozenTrial],
) -> None:
    trial = of_kind["diverges"]
    assert trial.user_attrs["failure_kind"] == "diverged"
    assert "the loss became NaN or infinite by epoch 1" in trial.user_attrs["reason"]
    assert not any(math.isnan(value) for value in trial.intermediate_values.values())
    assert trial.value is None


def test_a_crashed_trial_fails_with_its_traceback(
    of_kind: dict[str, optuna.trial.FrozenTrial],
) -> None:
    trial = of_kind["crashes"]
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["failure_kind"] == "code error"
    assert "Expected more than 1 value per channel" in trial.user_attrs["reason"]
    assert "in forward" in trial.user_attrs["traceback"]


def test_the_sweep_goes_on_and_the_good_one_wins(
    sweep: Sweep, of_kind: dict[str, optuna.trial.FrozenTrial]
) -> None:
    assert of_kind["good"].state == TrialState.COMPLETE
    assert sweep.best().number == of_kind["good"].number
    assert sweep.counts() == {"finished": 1, "failed": 2, "infeasible": 1}


def endless_space(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "data": {"source": "digits", "image_size": 8, "channels": 1},
        "model": {"num_blocks": 1, "filters": 4},
        "optimizer": {"name": "sgd", "lr": trial.suggest_float("optimizer/lr", 1e-2, 1e-1)},
    }


def test_time_budget_ends_a_sweep_and_keeps_what_was_reached(
    local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hour is over as soon as both trials have reported, however slow the machine."""
    reported = tmp_path / "timed" / "tensorboard"

    def clock() -> float:
        return 3600.0 * (len(list(reported.glob("*/events*"))) == 2)

    monkeypatch.setattr(stopping, "monotonic", clock)
    sweep = toprung.run(
        endless_space,
        trials=2,
        max_epochs=100_000,
        trial_scheduler="none",
        time_budget="1h",
        name="timed",
        out=tmp_path,
    )
    assert sweep.ended == "time budget"
    assert set(sweep.counts()) == {"time budget"}
    assert all(t.state == TrialState.PRUNED for t in sweep.study.get_trials())
    assert sweep.best().best is not None
    assert sweep.test().num_images == 359


def run_toprung(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """The command in a process of its own, as a user starts it, with plain output."""
    return subprocess.Popen(
        [sys.executable, "-c", "from toprung.cli.main import main; main()", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


ONE_AT_A_TIME: dict[str, Any] = {"trials": 4, "max_epochs": 6, "concurrency": 1, "confirm": 0}


def decided(sweep: Sweep) -> list[str]:
    """The lines of the decision log, but for those of the drivers' lives."""
    lines = sweep.folder.decisions.read_text().splitlines()
    return [line for line in lines if '"event": "sweep"' not in line]


def num_reported(path: Path) -> int:
    log = path / "decisions.jsonl"
    return log.read_text().count('"reported"') if log.exists() else 0


def run_until(number: int, sent: signal.Signals, path: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and output of a command that gets a signal when so many reports are written."""
    process = run_toprung(*arguments, cwd=path.parents[1])
    try:
        deadline = time.monotonic() + 120
        while num_reported(path) < number:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(sent)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, output


def test_a_sweep_that_is_killed_and_interrupted_goes_on_as_if_nothing_had_been(
    local_ray: None, tmp_path: Path
) -> None:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in ONE_AT_A_TIME.items()]
    path = tmp_path / "sweeps" / "struck"
    begins = ["run", "digits_cnn", *options, "--name", "struck"]
    assert run_until(3, signal.SIGKILL, path, *begins)[0] == -signal.SIGKILL
    assert toprung.open(path).ended == "killed"
    code, output = run_until(num_reported(path) + 2, signal.SIGINT, path, "resume", str(path))
    check_interrupted_in_order(code, output, toprung.open(path))
    whole = toprung.run("digits_cnn", **ONE_AT_A_TIME, name="whole", out=tmp_path)
    resumed = toprung.resume(path)
    assert resumed.ended == "finished"
    assert decided(resumed) == decided(whole)
    best, same = resumed.best().best, whole.best().best
    assert best is not None
    assert same is not None
    assert replace(best, seconds=0) == replace(same, seconds=0)
    for trial in resumed.trials():
        validations = [said["validation"] for said in resumed.folder.reports(trial.number)]
        assert validations == list(range(1, len(trial.values) + 1))


def check_interrupted_in_order(code: int, output: str, sweep: Sweep) -> None:
    """It is not told as complete."""
    assert code == 130
    assert "is partial (interrupted)" in output
    assert "toprung resume" in output
    assert "Traceback" not in output
    assert sweep.ended == "interrupted"
    assert "running" not in sweep.counts()
    assert not sweep.folder.sealed_test.exists()
    assert not sweep.folder.best.exists()
    assert sweep.best().best is not None
