"""A real sweep on the digits: what the study says, held against what ASHA must have done."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import yaml
from optuna.trial import FrozenTrial, TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import toprung
from toprung import Sweep
from toprung.trainables.data import open_training_data

MAX_EPOCHS, REDUCTION_FACTOR = 4, 2
RUNGS = (1, 2, 4)


def small_space(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "data": {"source": "digits", "image_size": 8, "channels": 1},
        "model": {"num_blocks": 1, "filters": trial.suggest_categorical("model/filters", [4, 8])},
        "optimizer": {"name": "sgd", "lr": trial.suggest_float("optimizer/lr", 1e-3, 1, log=True)},
    }


@pytest.fixture(scope="module")
def sweep(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """One trial at a time, so that the order in which ASHA saw the results is known."""
    return toprung.run(
        small_space,
        trials=10,
        max_epochs=MAX_EPOCHS,
        grace_epochs=1,
        reduction_factor=REDUCTION_FACTOR,
        concurrency=1,
        sampler="random",
        seed=3,
        keep_checkpoints=10,
        name="real",
        out=tmp_path_factory.mktemp("sweeps"),
    )


@pytest.fixture(scope="module")
def trials(sweep: Sweep) -> list[FrozenTrial]:
    return sweep.study.get_trials()


def asha(curves: list[dict[int, float]]) -> list[int]:
    """The epoch at which ASHA stops each trial, seeing them one after another.

    Written from the paper (Li et al., 2020): at a rung, a trial goes on if its best value so far
    is in the best 1/R of those that reached this rung.
    """
    rungs: dict[int, list[float]] = {rung: [] for rung in RUNGS}
    stopped_at = []
    for curve in curves:
        for epoch in sorted(curve):
            score = max(value for e, value in curve.items() if e <= epoch)
            stop = False
            if epoch in rungs:
                before = rungs[epoch]
                cutoff = np.percentile(before, 100 / REDUCTION_FACTOR) if before else -1
                stop = bool(score < cutoff)
                before.append(score)
            if stop or epoch == MAX_EPOCHS:
                stopped_at.append(epoch)
                break
    return stopped_at


def test_states_are_what_asha_did(trials: list[FrozenTrial]) -> None:
    epochs = [len(trial.intermediate_values) for trial in trials]
    assert epochs == asha([trial.intermediate_values for trial in trials])
    for trial, num_epochs in zip(trials, epochs, strict=True):
        complete = num_epochs == MAX_EPOCHS
        assert trial.state == (TrialState.COMPLETE if complete else TrialState.PRUNED)
        assert trial.user_attrs["ended"] == ("finished" if complete else "stopped early")
    assert {trial.state for trial in trials} == {TrialState.COMPLETE, TrialState.PRUNED}


def test_every_epoch_is_in_the_study_and_the_best_one_counts(trials: list[FrozenTrial]) -> None:
    for trial in trials:
        values = trial.intermediate_values
        assert sorted(values) == list(range(1, len(values) + 1))
        best = trial.user_attrs["best"]
        assert best["val_accuracy"] == max(values.values())
        if trial.state == TrialState.COMPLETE:
            assert trial.value == best["val_accuracy"]


def test_winner_is_the_best_of_all(sweep: Sweep, trials: list[FrozenTrial]) -> None:
    best = sweep.best()
    assert best.best is not None
    scores = [trial.user_attrs["best"]["val_accuracy"] for trial in trials]
    assert best.best.val_accuracy == max(scores)
    assert sweep.ended == "finished"


def test_the_kept_weights_are_those_of_the_best_epoch(sweep: Sweep) -> None:
    for trial in sweep.trials():
        assert trial.config is not None
        assert trial.best is not None
        data = open_training_data(trial.config.data)
        logits = sweep.model(trial.number).logits(data.images_NHWC[data.validation_indices])
        labels = data.labels_N[data.validation_indices]
        accuracy = (logits.argmax(1).numpy() == labels).mean()
        assert accuracy == pytest.approx(trial.best.val_accuracy)


def test_tensorboard_has_every_epoch_and_the_best_value(sweep: Sweep) -> None:
    for trial in sweep.trials():
        events = EventAccumulator(str(sweep.folder.tensorboard / f"trial_{trial.number:05d}"))
        events.Reload()
        accuracies = [event.value for event in events.Scalars("accuracy/validation")]
        assert accuracies == pytest.approx(list(trial.values.values()), abs=1e-6)
        assert trial.best is not None
        best = events.Scalars("best/accuracy")[-1].value
        assert best == pytest.approx(trial.best.val_accuracy, abs=1e-6)
        plugin = events.summary_metadata["_hparams_/session_start_info"].plugin_data
        assert b"optimizer/lr" in plugin.content


def test_the_folder_says_what_was_done(sweep: Sweep) -> None:
    said = yaml.safe_load(sweep.folder.settings.read_text())
    assert said["settings"]["trials"] == 10
    assert said["data"]["num_test"] == 359
    assert "def small_space" in sweep.folder.search_space.read_text()
    rows = sweep.folder.splits.read_text().splitlines()
    assert len(rows) == 1 + 1797
    assert sum(",test," in row for row in rows) == 359


def test_all_trials_have_the_same_data_and_their_own_seed(sweep: Sweep) -> None:
    configs = [trial.config for trial in sweep.trials()]
    assert len({config.data for config in configs if config}) == 1
    assert len({config.seed for config in configs if config}) == 10


def test_the_exported_config_trains_the_same_trial(sweep: Sweep, tmp_path: Path) -> None:
    exported = sweep.export(tmp_path / "exported")
    again = toprung.run(config=exported / "trial.yaml", name="again", out=tmp_path)
    first, second = sweep.best(), again.best()
    assert first.best is not None
    assert second.best is not None
    assert second.best.val_loss == first.best.val_loss
    assert again.model().digest == sweep.model().digest


def test_the_test_set_is_opened_once(sweep: Sweep) -> None:
    assert not sweep.folder.sealed_test.exists()
    result = sweep.test()
    assert result == sweep.test()
    entries = json.loads(sweep.folder.sealed_test.read_text())
    assert len(entries) == 1
    loser = next(t for t in sweep.trials() if t.number != sweep.best().number)
    with pytest.raises(ValueError, match="would make it a second validation set"):
        sweep.test(loser.number)
    assert sweep.test(loser.number, force=True).forced
