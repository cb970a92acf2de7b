"""Study C: three CIFAR-10 networks built up by hand, `simple`, `good` and `goodest`.

Command:      toprung run study_c_networks --set data/root=FOLDER
              (FOLDER holds CIFAR-10; --set data/download=true fetches it; add
              --set labels/network=good for one of the three)
Run time:     10 epochs on 40,000 images on one CPU core, estimated from the time of a step:
              `simple` 8 minutes, `good` 16 minutes, `goodest` an hour and a half
Reference:    validation / test accuracy, per cent: simple 69.9 / 69.5, good 80.1 / 79.4,
              goodest 84.8 / 85.1
Table:        toprung compare SWEEP --by labels/network
"""

from typing import Any

import optuna

SWEEP = {
    "data": "cifar10",
    "trials": 3,
    "max_epochs": 10,
    "sampler": "grid",
    "trial_scheduler": "none",
}

SIMPLE = {
    "model": {
        "num_blocks": 3,
        "filters": 32,
        "organisation": "doubling",
        "kernel_size": 5,
        "padding": 2,
        "dense": 64,
    },
    "optimizer": {"name": "sgd", "lr": 0.05},
}
GOOD = {
    "model": {
        "num_blocks": 3,
        "filters": 32,
        "organisation": "doubling",
        "convs_per_block": 2,
        "batch_norm": "after",
        "dense": 64,
        "dense_dropout": 0.15,
        "initialisation": "xavier",
    },
    "optimizer": {"name": "adam", "lr": 5e-4, "weight_decay": 1e-3},
}
GOODEST = {
    "model": {
        "num_blocks": 4,
        "filters": 64,
        "organisation": "doubling",
        "convs_per_block": 2,
        "batch_norm": "before",
        "block_dropout": [0.1, 0.2, 0.3, 0.5],
        "block_dropout_organisation": "listed",
        "dense": [1024, 1024],
        "dense_batch_norm": True,
        "dense_dropout": 0.5,
        "initialisation": "xavier",
    },
    "optimizer": {"name": "adam", "lr": 6e-4, "weight_decay": 1e-3},
}
NETWORKS = {"simple": SIMPLE, "good": GOOD, "goodest": GOODEST}


def search_space(trial: optuna.Trial) -> dict[str, Any]:
    """One of the three networks, each with its settings in the study."""
    network = trial.suggest_categorical("labels/network", list(NETWORKS))
    return {
        "labels": {"network": network},
        "data": {"image_size": 32},
        "training": {"batch_size": 64, "validations_per_epoch": 4},
        **NETWORKS[network],
    }
