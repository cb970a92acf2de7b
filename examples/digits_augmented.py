"""A search space of one's own: is a little augmentation worth it on small images of digits?

Command:   toprung run examples/digits_augmented.py
Compare:   toprung compare SWEEP --by labels/augmentation
Data:      scikit-learn's bundled digits; nothing is downloaded

To use your own images, give `--data path/to/images` and `--set data/image_size=64` or so. Any
other value is fixed in the same way: `--set optimizer/lr=0.01`.
"""

from typing import Any

import optuna

SWEEP = {"data": "digits", "trials": 12, "max_epochs": 6}

AUGMENTATIONS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "shifted": [{"name": "affine", "translate": 0.1}],
    "rotated": [{"name": "rotation", "degrees": 10}],
}
"""A label stands for a whole bundle of settings, so that trials can be compared by it."""


def search_space(trial: optuna.Trial) -> dict[str, Any]:
    """One trial's config. The name of a parameter is the path of the setting that it sets."""
    augmentation = trial.suggest_categorical("labels/augmentation", list(AUGMENTATIONS))
    optimizer: dict[str, Any] = {
        "name": trial.suggest_categorical("optimizer/name", ["adamw", "sgd"]),
        "lr": trial.suggest_float("optimizer/lr", 1e-3, 1e-1, log=True),
    }
    if optimizer["name"] == "sgd":  # a condition is plain Python
        optimizer["momentum"] = trial.suggest_float("optimizer/momentum", 0.5, 0.95)
    return {
        "data": {"image_size": 8, "channels": 1},
        "model": {"num_blocks": 2, "filters": trial.suggest_categorical("model/filters", [8, 16])},
        "optimizer": optimizer,
        "augmentation": {"transforms": AUGMENTATIONS[augmentation]},
        "labels": {"augmentation": augmentation},
    }
