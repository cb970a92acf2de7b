"""Study E, optimizers: four kinds of gradient descent for a three-layer CNN on dogs vs cats.

Command:      toprung run study_e_optimizers --set data/root=FOLDER
              (FOLDER holds Kaggle's dogs-vs-cats)
Run time:     6 hours of one CPU core, estimated from the time of a step (not run in full)
Reference:    none reported as a number: the optimizers compared by accuracy, loss, and the size of
              the gradient and of the update in each step (TensorBoard: steps/…)
Table:        toprung compare SWEEP --by labels/method --by training/batch_size
"""

from typing import Any

import optuna

SWEEP = {"data": "dogs_vs_cats", "trials": 30, "max_epochs": 10, "trial_scheduler": "none"}
METHODS = {
    "sgd_batch_1": {"name": "sgd", "lr": 1e-3},
    "mini_batch_sgd": {"name": "sgd", "lr": 1e-2},
    "momentum": {"name": "sgd", "lr": 1e-2},
    "adam": {"name": "adam", "lr": 1e-3},
}


def search_space(trial: optuna.Trial) -> dict[str, Any]:
    """The method, its momentum or betas, the batch size, and shuffling."""
    method = trial.suggest_categorical("labels/method", list(METHODS))
    optimizer: dict[str, Any] = dict(METHODS[method])
    if method == "momentum":
        optimizer["momentum"] = trial.suggest_categorical("optimizer/momentum", [0.5, 0.9, 0.99])
    if method == "adam":
        optimizer["beta1"] = trial.suggest_categorical("optimizer/beta1", [0.5, 0.9, 0.99])
        optimizer["beta2"] = trial.suggest_categorical("optimizer/beta2", [0.9, 0.99, 0.999])
    batch_size = 1
    if method != "sgd_batch_1":
        batch_size = trial.suggest_categorical("training/batch_size", [512, 1024, 2048])
    return {
        "labels": {"method": method},
        "data": {"image_size": 64, "test_fraction": 0.3},
        "model": {"num_blocks": 3, "filters": 32, "organisation": "doubling", "dense": 128},
        "optimizer": optimizer,
        "training": {
            "batch_size": batch_size,
            "shuffle": trial.suggest_categorical("training/shuffle", [True, False]),
            "log_steps": True,
        },
    }
