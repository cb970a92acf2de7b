"""Digits configs drawn beforehand, each tried once and for all its epochs: fixed work.

Searched by `benchmarks/small_sweep.py --fixed`, which gives the same configs to its peer.
"""

from typing import Any

import numpy as np
import optuna

NUM_CONFIGS = 24
SWEEP = {
    "data": "digits",
    "trials": NUM_CONFIGS,
    "max_epochs": 8,
    "sampler": "grid",
    "trial_scheduler": "none",
}


def drawn_configs() -> list[dict[str, Any]]:
    """The configs, by the names of `peers/plain_ray_tune.py` and from its ranges, by a seed."""
    rng = np.random.default_rng(0)
    return [
        {
            "filters": int(rng.choice([8, 16, 32])),
            "dense": int(rng.choice([32, 64, 128])),
            "dropout": float(rng.uniform(0, 0.5)),
            "lr": float(np.exp(rng.uniform(np.log(5e-4), np.log(1e-1)))),
            "wd": float(np.exp(rng.uniform(np.log(1e-5), np.log(1e-1)))),
            "batch_size": int(rng.choice([32, 64])),
        }
        for _ in range(NUM_CONFIGS)
    ]


CONFIGS = drawn_configs()


def search_space(trial: optuna.Trial) -> dict[str, Any]:
    """The config of a number, in Toprung's words: the peer's network and its AdamW."""
    number = trial.suggest_categorical("labels/config", range(NUM_CONFIGS))
    config = CONFIGS[number]
    return {
        "labels": {"config": number},
        "data": {"image_size": 8, "channels": 1},
        "model": {
            "num_blocks": 2,
            "filters": config["filters"],
            "organisation": "doubling",
            "dense": config["dense"],
            "dense_dropout": config["dropout"],
        },
        "optimizer": {"name": "adamw", "lr": config["lr"], "weight_decay": config["wd"]},
        "training": {"batch_size": config["batch_size"]},
    }
