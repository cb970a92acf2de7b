"""A configurable CNN, trained from scratch on your own folder of images.

Command:      toprung run images_cnn --data path/to/images
Run time:     depends on the images; 1,500 of 48x48 pixels took about 5 s an epoch on one core
Reference:    none, as it is your data; study D searched a similar space
"""

from typing import Any

import optuna

SWEEP = {"trials": 30, "max_epochs": 15, "grace_epochs": 1, "reduction_factor": 3}


def search_space(trial: optuna.Trial) -> dict[str, Any]:
    """Filters, kernel, activation, regularisation, optimizer and LR schedule of a CNN."""
    return {
        "data": {"image_size": 64},
        "model": {
            "architecture": "cnn",
            "num_blocks": trial.suggest_int("model/num_blocks", 3, 5),
            "filters": trial.suggest_categorical("model/filters", [16, 32]),
            "organisation": trial.suggest_categorical("model/organisation", ["equal", "doubling"]),
            "kernel_size": trial.suggest_categorical("model/kernel_size", [3, 5]),
            "activation": trial.suggest_categorical("model/activation", ["relu", "gelu", "silu"]),
            "batch_norm": trial.suggest_categorical("model/batch_norm", ["none", "before"]),
            "block_dropout": trial.suggest_float("model/block_dropout", 0.0, 0.3),
            "block_dropout_organisation": "rising",
            "dense": trial.suggest_categorical("model/dense", [64, 128, 256]),
            "dense_dropout": trial.suggest_float("model/dense_dropout", 0.0, 0.5),
        },
        "loss": {
            "name": "cross_entropy",
            "label_smoothing": trial.suggest_categorical("loss/label_smoothing", [0.0, 0.1]),
        },
        "optimizer": {
            "name": trial.suggest_categorical("optimizer/name", ["adamw", "nadam"]),
            "lr": trial.suggest_float("optimizer/lr", 1e-4, 1e-2, log=True),
            "weight_decay": trial.suggest_float("optimizer/weight_decay", 1e-5, 1e-1, log=True),
        },
        "lr_schedule": {
            "name": trial.suggest_categorical("lr_schedule/name", ["cosine", "one_cycle"])
        },
    }
