"""Trials of which some want more memory than a group's limit: what `benchmarks.kills.memory` runs.

Command:  toprung run benchmarks/kills/spaces/memory.py
"""

from typing import Any

import optuna

SWEEP = {
    "data": "digits",
    "max_epochs": 3,
    "sampler": "random",
    "trial_scheduler": "none",
    "confirm": 0,
}


def search_space(trial: optuna.Trial) -> dict[str, Any]:
    """A small CNN in less than 1 GiB, or on large batches of large images in some 8 GiB."""
    big = trial.suggest_categorical("labels/size", ["small", "big"]) == "big"
    return {
        "labels": {"size": "big" if big else "small"},
        "data": {"image_size": 128 if big else 8, "channels": 1},
        "model": {"architecture": "cnn", "num_blocks": 1, "filters": 256 if big else 8},
        "optimizer": {"name": "adamw", "lr": 1e-3},
        "training": {"batch_size": 1024 if big else 64},
    }
