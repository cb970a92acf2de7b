"""Study E, freeze policies: which part of a pretrained ResNet-50 to train on STL-10.

Command:      toprung run study_e_policies --set data/root=FOLDER
              (FOLDER holds STL-10; --set data/download=true fetches it)
Run time:     21 hours of one CPU core, estimated from the time of a step (not run in full)
Reference:    head only: 79.7 per cent accuracy; the others compared with it
Table:        toprung compare SWEEP --by model/freeze_policy
"""

from typing import Any

import optuna

SWEEP = {
    "data": "stl10",
    "trials": 8,
    "max_epochs": 10,
    "sampler": "grid",
    "trial_scheduler": "none",
}
POLICIES = [
    "head_only",
    "head_and_stage:layer1",
    "head_and_stage:layer2",
    "head_and_stage:layer3",
    "head_and_stage:layer4",
    "head_and_convolutions",
    "head_and_batch_norms",
    "head_and_downsampling",
]


def search_space(trial: optuna.Trial) -> dict[str, Any]:
    """The freeze policy: the head alone trains, or the head and one part of the backbone."""
    return {
        "model": {
            "architecture": "resnet50",
            "weights": "DEFAULT",
            "freeze_policy": trial.suggest_categorical("model/freeze_policy", POLICIES),
        },
        "optimizer": {"name": "adam", "lr": 1e-3},
        "training": {"batch_size": 64},
    }
