"""Study C, variations of `good`: the variations that its author tried by hand.

Command:      toprung run study_c_variations --set data/root=FOLDER
              (FOLDER holds CIFAR-10; --set data/download=true fetches it)
Run time:     2 hours of one CPU core, estimated from the time of a step (not run in full)
Reference:    `good`: validation .801, test .794 after at most 10 epochs
Table:        toprung compare SWEEP --by model/downsampling, or any other parameter
"""

from typing import Any

import optuna

SWEEP = {"data": "cifar10", "trials": 30, "max_epochs": 10, "grace_epochs": 1}


def search_space(trial: optuna.Trial) -> dict[str, Any]:
    """Downsampling, kernel, initialisation, batch norm, dropout and LR schedule around `good`."""
    dropout: dict[str, Any] = {}
    dropout["block_dropout"] = trial.suggest_categorical("model/block_dropout", [0.0, 0.2, 0.4])
    if dropout["block_dropout"]:
        dropout["block_dropout_organisation"] = trial.suggest_categorical(
            "model/block_dropout_organisation", ["constant", "rising"]
        )
    return {
        "data": {"image_size": 32},
        "model": {
            **dropout,
            "num_blocks": 3,
            "filters": 32,
            "organisation": "doubling",
            "convs_per_block": 2,
            "kernel_size": trial.suggest_categorical("model/kernel_size", [3, 5]),
            "downsampling": trial.suggest_categorical(
                "model/downsampling", ["max_pool", "strided_conv"]
            ),
            "batch_norm": trial.suggest_categorical(
                "model/batch_norm", ["none", "before", "after"]
            ),
            "dense": 64,
            "dense_dropout": 0.15,
            "initialisation": trial.suggest_categorical(
                "model/initialisation", ["default", "xavier"]
            ),
        },
        "optimizer": {"name": "adam", "lr": 5e-4, "weight_decay": 1e-3},
        "lr_schedule": {
            "name": trial.suggest_categorical(
                "lr_schedule/name", ["constant", "cyclic", "one_cycle"]
            )
        },
        "training": {"batch_size": 64, "validations_per_epoch": 4},
    }
