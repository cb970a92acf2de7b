"""The space of pretended trials as a grid."""

from typing import Any

import optuna

SWEEP = {"data": "digits", "max_epochs": 3, "confirm": 0, "sampler": "grid"}


def search_space(trial: optuna.Trial) -> dict[str, Any]:
    """Six combinations, of which two cannot exist."""
    return {
        "data": {"image_size": 8, "channels": 1},
        "model": {"num_blocks": trial.suggest_categorical("model/num_blocks", [1, 2, 4])},
        "optimizer": {"name": trial.suggest_categorical("optimizer/name", ["adamw", "sgd"])},
    }
