"""A space whose trials are only pretended: some diverge, some fail, some networks cannot exist."""

from typing import Any

import optuna

SWEEP = {"data": "digits", "trials": 13, "max_epochs": 3, "reduction_factor": 2, "confirm": 0}


def search_space(trial: optuna.Trial) -> dict[str, Any]:
    """A few parameters of each kind."""
    name = trial.suggest_categorical("optimizer/name", ["adamw", "sgd"])
    optimizer = {"name": name, "lr": trial.suggest_float("optimizer/lr", 1e-4, 1e-1, log=True)}
    if name == "sgd":
        optimizer["momentum"] = trial.suggest_float("optimizer/momentum", 0.5, 0.95)
    return {
        "data": {"image_size": 8, "channels": 1},
        "model": {
            "num_blocks": trial.suggest_int("model/num_blocks", 1, 4),
            "filters": trial.suggest_categorical("model/filters", [8, 16, 32]),
        },
        "optimizer": optimizer,
    }
