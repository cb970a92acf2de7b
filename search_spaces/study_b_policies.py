"""Study B, freeze policies: pretrained AlexNet, ResNet-18 and ResNet-50 on Caltech-101.

Command:      toprung run study_b_policies --set data/root=FOLDER
              (FOLDER holds Caltech-101; --set data/download=true fetches it)
Run time:     31 hours of one CPU core, estimated from the time of a step (not run in full)
Reference:    test accuracy with nothing / convolutions / fully connected layers frozen: AlexNet
              .82 / .84 / .39 (final training losses .044 / .035 / 2.628); with nothing /
              convolutions frozen: ResNet-18 .87 / .91, ResNet-50 .91 / .93
              (momentum and weight decay are not reported; .9 and 5e-5 are ours)
Table:        toprung compare SWEEP --by model/architecture --by model/freeze_policy
"""

from typing import Any

import optuna

from toprung.search_spaces import study_b_from_scratch
from toprung.search_spaces.study_b_from_scratch import trained_with

SWEEP = {**study_b_from_scratch.SWEEP, "trials": 9, "max_epochs": 20}


def search_space(trial: optuna.Trial) -> dict[str, Any]:
    """Architecture and freeze policy, with the best setting of the pretrained AlexNet."""
    return {
        "data": {"validation_fraction": 0.5},
        "model": {
            "architecture": trial.suggest_categorical(
                "model/architecture", ["alexnet", "resnet18", "resnet50"]
            ),
            "weights": "DEFAULT",
            "freeze_policy": trial.suggest_categorical(
                "model/freeze_policy",
                ["nothing_frozen", "convolutions_frozen", "fully_connected_frozen"],
            ),
        },
        **trained_with(lr=0.005, epochs=20, step_epochs=10, gamma=0.1),
    }
