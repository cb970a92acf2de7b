"""A small CNN on scikit-learn's bundled digits: a demonstration, and a good first run.

Command:      toprung run digits_cnn
Run time:     about 40 seconds on 2 CPU cores
Reference:    test accuracy .97 or better on the sealed test set, a fifth of the 1797 images
"""

from typing import Any

import optuna

SWEEP = {"data": "digits", "trials": 24, "max_epochs": 8, "grace_epochs": 1, "reduction_factor": 3}


def search_space(trial: optuna.Trial) -> dict[str, Any]:
    """Width, depth, regularisation, optimizer and learning rate of a small CNN."""
    optimizer: dict[str, Any] = {
        "name": trial.suggest_categorical("optimizer/name", ["adamw", "sgd"]),
        "lr": trial.suggest_float("optimizer/lr", 5e-4, 1e-1, log=True),
        "weight_decay": trial.suggest_float("optimizer/weight_decay", 1e-5, 1e-1, log=True),
    }
    if optimizer["name"] == "sgd":
        optimizer["momentum"] = trial.suggest_float("optimizer/momentum", 0.5, 0.95)
    return {
        "data": {"image_size": 8, "channels": 1},
        "model": {
            "architecture": "cnn",
            "num_blocks": trial.suggest_int("model/num_blocks", 1, 3),
            "filters": trial.suggest_categorical("model/filters", [8, 16, 32]),
            "organisation": trial.suggest_categorical("model/organisation", ["equal", "doubling"]),
            "activation": trial.suggest_categorical("model/activation", ["relu", "gelu", "silu"]),
            "batch_norm": trial.suggest_categorical("model/batch_norm", ["none", "before"]),
            "dense": trial.suggest_categorical("model/dense", [32, 64, 128]),
            "dense_dropout": trial.suggest_float("model/dense_dropout", 0.0, 0.5),
        },
        "optimizer": optimizer,
        "lr_schedule": {
            "name": trial.suggest_categorical("lr_schedule/name", ["constant", "cosine"])
        },
        "training": {"batch_size": trial.suggest_categorical("training/batch_size", [32, 64])},
    }
