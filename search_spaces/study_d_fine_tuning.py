"""Study D, fine-tuning: a pretrained ResNet-50 on a ten-class iNaturalist subset.

Command:      toprung run study_d_fine_tuning --set data/root=FOLDER
              (FOLDER holds inaturalist_12K; any of torchvision's classifiers with, for example,
              --set model/architecture=efficientnet_v2_s)
Run time:     52 hours of one CPU core, estimated from the time of a step (not run in full)
Reference:    test accuracy, per cent: linear head 79.75 after 15 epochs; an extra 512-unit GELU
              layer, halving every 5 epochs, weight decay .2: about 81
Table:        toprung compare SWEEP --by model/freeze_policy --by model/head_hidden
"""

from typing import Any

import optuna

SWEEP = {
    "data": "inaturalist12k",
    "trials": 6,
    "max_epochs": 15,
    "sampler": "grid",
    "trial_scheduler": "none",
}


def search_space(trial: optuna.Trial) -> dict[str, Any]:
    """Freeze policy, and a linear head or one with a hidden layer and its own schedule."""
    policies = ["head_only", "first_stages_frozen:3", "nothing_frozen"]
    model = {
        "architecture": "resnet50",
        "weights": "DEFAULT",
        "freeze_policy": trial.suggest_categorical("model/freeze_policy", policies),
        "head_hidden": trial.suggest_categorical("model/head_hidden", [None, 512]),
    }
    optimizer = {"name": "adamw", "lr": 1e-3}
    lr_schedule: dict[str, Any] = {"name": "constant"}
    if model["head_hidden"]:
        model["head_activation"] = "gelu"
        optimizer["weight_decay"] = 0.2
        lr_schedule = {"name": "step", "step_epochs": 5, "gamma": 0.5}
    return {
        "model": model,
        "optimizer": optimizer,
        "lr_schedule": lr_schedule,
        "training": {"batch_size": 64},
    }
