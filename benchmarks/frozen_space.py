"""Fine-tuning part of a pretrained network: how fast, with what momentum and weight decay.

Searched by `benchmarks/frozen_sweep.py`, which also says what is fixed: data, weights, freeze
policy, image size.
"""

from typing import Any

import optuna

SWEEP = {"trials": 16, "max_epochs": 10, "sampler": "random", "trial_scheduler": "none"}


def search_space(trial: optuna.Trial) -> dict[str, Any]:
    """SGD's learning rate, momentum and weight decay."""
    return {
        "data": {
            "resize": "squash",
            "normalisation": "imagenet",
            "test_fraction": 0.1,
            "validation_fraction": 0.2,
        },
        "model": {"architecture": "squeezenet1_0"},
        "optimizer": {
            "name": "sgd",
            "lr": trial.suggest_float("optimizer/lr", 1e-4, 3e-2, log=True),
            "momentum": trial.suggest_float("optimizer/momentum", 0.0, 0.95),
            "weight_decay": trial.suggest_float("optimizer/weight_decay", 1e-6, 1e-2, log=True),
        },
        "training": {"batch_size": 32},
    }
