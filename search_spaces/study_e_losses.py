"""Study E, losses: cross-entropy, center and triplet loss on 50 Tiny ImageNet classes.

Command:      toprung run study_e_losses --set data/root=FOLDER
              (FOLDER holds tiny-imagenet-200; the weights start random, because these classes are
              ImageNet's own)
Run time:     7 hours of one CPU core, estimated from the time of a step (not run in full)
Reference:    none reported as a number: the losses compared by accuracy, mean class accuracy and
              cross-entropy
Table:        toprung compare SWEEP --by loss/name
"""

from typing import Any

import optuna

SWEEP = {"data": "tiny_imagenet", "trials": 24, "max_epochs": 20, "grace_epochs": 4}


def search_space(trial: optuna.Trial) -> dict[str, Any]:
    """The loss of a ResNet-18; center loss's weight and learning rate, or triplet loss's margin."""
    losses = ["cross_entropy", "center", "triplet"]
    loss: dict[str, Any] = {"name": trial.suggest_categorical("loss/name", losses)}
    match loss["name"]:
        case "center":
            loss["alpha"] = trial.suggest_float("loss/alpha", 1e-4, 1e-1, log=True)
            loss["center_lr"] = trial.suggest_float("loss/center_lr", 1e-3, 1e-1, log=True)
        case "triplet":
            loss["margin"] = trial.suggest_float("loss/margin", 0.05, 1.0)
    return {
        "data": {"image_size": 64, "num_classes": 50},
        "model": {"architecture": "resnet18"},
        "loss": loss,
        "optimizer": {
            "name": "adam",
            "lr": trial.suggest_float("optimizer/lr", 1e-4, 1e-2, log=True),
        },
        "training": {"batch_size": 128},
    }
