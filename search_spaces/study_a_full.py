"""Study A, full set: a cartoon classifier from scratch, head only, or fine-tuned as a whole.

Command:      toprung run study_a_full --set data/root=FOLDER
              (FOLDER holds PACS; or --data path/to/pacs_cartoon for class folders)
Run time:     34 hours of one CPU core, estimated from the time of a step (not run in full)
Reference:    validation / test accuracy, per cent: from scratch 82.19 / 64.41 (lr .003, epoch 41),
              head only 89.07 / 79.67 (.001, 13), nothing frozen 97.15 / 92.80 (.001, 35)
Table:        toprung compare SWEEP --by model/freeze_policy
"""

from typing import Any

import optuna

SWEEP = {
    "data": "pacs_cartoon",
    "trials": 15,
    "max_epochs": 50,
    "sampler": "grid",
    "trial_scheduler": "none",
}


def search_space(trial: optuna.Trial) -> dict[str, Any]:
    """Freeze policy and learning rate; weights are pretrained unless the policy is from scratch."""
    policy = trial.suggest_categorical(
        "model/freeze_policy", ["from_scratch", "head_only", "nothing_frozen"]
    )
    weights = "none"
    # A parameter, so that --set model/weights=FILE applies to the pretrained networks only.
    if policy != "from_scratch":
        weights = trial.suggest_categorical("model/weights", ["DEFAULT"])
    learning_rates = [0.01, 0.03, 0.001, 0.003, 0.0001]
    return {
        "data": {
            "image_size": 227,
            "resize": "squash",
            "normalisation": "training_set",
            "test_fraction": 0.1,
            "validation_fraction": 0.2,
            "split_seed": 42,
        },
        "model": {
            "architecture": "resnet18",
            "weights": weights,
            "freeze_policy": policy,
            "head_initialisation": "xavier",
        },
        "optimizer": {
            "name": "sgd",
            "lr": trial.suggest_categorical("optimizer/lr", learning_rates),
        },
        "training": {"batch_size": 8},
    }
