"""Study C, transfer: a pretrained ResNet-18 on CIFAR-10, to compare with `goodest`.

Command:      toprung run study_c_transfer --set data/root=FOLDER
              (FOLDER holds CIFAR-10; --set data/download=true fetches it; the images are enlarged
              to 64 pixels only, for speed; --set data/image_size=224 is the weights' own size)
Run time:     1.2 hours of one CPU core, estimated from the time of a step (not run in full)
Reference:    the convergence of `goodest` in study_c_networks (validation .848, test .851)
Table:        toprung compare SWEEP --by model/freeze_policy
"""

from typing import Any

import optuna

SWEEP = {
    "data": "cifar10",
    "trials": 2,
    "max_epochs": 10,
    "sampler": "grid",
    "trial_scheduler": "none",
}


def search_space(trial: optuna.Trial) -> dict[str, Any]:
    """The whole network or the head, with Adam and early stopping."""
    return {
        "data": {"image_size": 64, "resize": "squash"},
        "model": {
            "architecture": "resnet18",
            "weights": "DEFAULT",
            "freeze_policy": trial.suggest_categorical(
                "model/freeze_policy", ["nothing_frozen", "head_only"]
            ),
        },
        "optimizer": {"name": "adam", "lr": 5e-4},
        "training": {"batch_size": 32, "patience_epochs": 3},
    }
