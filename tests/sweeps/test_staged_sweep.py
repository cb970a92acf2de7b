"""A real staged sweep: each stage fixes what the one before found, in one study."""

from pathlib import Path
from typing import Any

import optuna

import toprung
from tests.support.helpers import printed

SWEEP = {
    "data": "digits",
    "trials": 6,
    "max_epochs": 2,
    "trial_scheduler": "none",
    "concurrency": 1,
    "stages": [
        {"name": "optimizer", "searches": ["optimizer/*"]},
        {"name": "network", "searches": ["model/filters"]},
    ],
    "start": {"model/filters": 4},
}


def staged(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "data": {"image_size": 8, "channels": 1},
        "model": {
            "num_blocks": 1,
            "filters": trial.suggest_categorical("model/filters", [4, 8, 16]),
        },
        "optimizer": {
            "name": "adamw",
            "lr": trial.suggest_float("optimizer/lr", 1e-4, 1e-1, log=True),
        },
    }


def test_a_staged_sweep(local_ray: None, tmp_path: Path) -> None:
    sweep = toprung.run(staged, name="staged", out=tmp_path)
    trials = sweep.trials()
    assert [trial.ended for trial in trials] == ["finished"] * 6
    first, second = trials[:3], trials[3:]
    assert {trial.parameters["model/filters"] for trial in first} == {4}
    assert len({trial.parameters["optimizer/lr"] for trial in first}) == 3
    found = max(first, key=lambda t: (t.best.val_accuracy, -t.best.val_loss) if t.best else (0, 0))
    rates = {trial.parameters["optimizer/lr"] for trial in second}
    assert rates == {found.parameters["optimizer/lr"]}
    table = printed("compare", str(sweep.folder.path), "--by", "labels/stage")
    header, *rows = table.splitlines()
    assert header.startswith("labels/stage  trials")
    assert sorted(row.split()[0] for row in rows) == ["network", "optimizer"]
    assert {row.split()[1] for row in rows} == {"3"}
