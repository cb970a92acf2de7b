"""A real sweep whose best trials are trained again: in full, with fresh seeds, and chosen from."""

import json
from statistics import mean
from typing import Any

import optuna
import pytest

import toprung
from toprung import Sweep

MAX_EPOCHS = 3


def small_space(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "data": {"source": "digits", "image_size": 8, "channels": 1},
        "model": {"num_blocks": 1, "filters": 4},
        "optimizer": {"name": "sgd", "lr": trial.suggest_float("optimizer/lr", 0.01, 1, log=True)},
    }


@pytest.fixture(scope="module")
def sweep(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return toprung.run(
        small_space,
        trials=5,
        max_epochs=MAX_EPOCHS,
        concurrency=1,
        reduction_factor=2,
        confirm=2,
        seeds=2,
        name="confirmed",
        out=tmp_path_factory.mktemp("sweeps"),
    )


def test_the_best_two_of_the_search_are_trained_again_in_full(sweep: Sweep) -> None:
    confirmation = sweep.confirmation()
    assert confirmation is not None
    assert confirmation.done
    in_order = sorted(sweep.trials(), key=lambda t: -t.best.val_accuracy if t.best else 0)
    assert {c.trial.number for c in confirmation.candidates} == {t.number for t in in_order[:2]}
    runs = [run for candidate in confirmation.candidates for run in candidate.runs]
    assert len(runs) == 4
    for run in runs:
        *_, last = sweep.folder.reports(run.number)
        assert last["epoch"] == MAX_EPOCHS
        assert run.ended == "finished"


def test_each_has_a_seed_of_its_own(sweep: Sweep) -> None:
    trials = sweep.study.get_trials()
    configs = [sweep.trial(trial.number).config for trial in trials]
    assert len({config.seed for config in configs if config}) == len(trials) == 9


def test_the_search_is_told_without_them(sweep: Sweep) -> None:
    assert len(sweep.trials()) == sum(sweep.counts().values()) == 5
    (group,) = sweep.compare("optimizer/name")
    assert group.num_trials == 5


def test_the_winner_has_the_best_mean_and_is_tested(sweep: Sweep) -> None:
    confirmation = sweep.confirmation()
    assert confirmation is not None
    chosen = confirmation.chosen
    assert chosen is not None
    means = [mean(candidate.values) for candidate in confirmation.candidates]
    assert chosen.mean == max(means)
    winner = sweep.best()
    assert winner in (chosen.trial, *chosen.runs)
    result = sweep.test()
    assert result.trial == winner.number
    openings = json.loads(sweep.folder.sealed_test.read_text())
    assert [opening["forced"] for opening in openings] == [False]
    assert (sweep.export() / "model.safetensors").is_file()
