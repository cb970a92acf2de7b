"""Study B, from scratch: AlexNet on Caltech-101 with six learning rates and schedules.

Command:      toprung run study_b_from_scratch --set data/root=FOLDER
              (FOLDER holds Caltech-101; --set data/download=true fetches it)
Run time:     8 hours of one CPU core, estimated from the time of a step (not run in full)
Reference:    validation / test accuracy, in the order below: .16/.09, .15/.13, .25/.26, .47/.49,
              .40/.42, .41/.42
              (momentum and weight decay are not reported; .9 and 5e-5 are ours)
Table:        toprung compare SWEEP --by labels/setting
"""

from typing import Any

import optuna

SWEEP = {
    "data": "caltech101",
    "trials": 6,
    "max_epochs": 40,
    "sampler": "grid",
    "trial_scheduler": "none",
}
SETTINGS = {  # learning rate, epochs, epochs between steps, gamma
    "lr .001, 30 epochs, x.1 after 20": (0.001, 30, 20, 0.1),
    "lr .005, 20 epochs, x.1 after 10": (0.005, 20, 10, 0.1),
    "lr .01, 30 epochs, x.1 after 15": (0.01, 30, 15, 0.1),
    "lr .05, 30 epochs, x.1 after 20": (0.05, 30, 20, 0.1),
    "lr .1, 30 epochs, x.5 after 5": (0.1, 30, 5, 0.5),
    "lr .05, 40 epochs, x.1 after 20": (0.05, 40, 20, 0.1),
}


def search_space(trial: optuna.Trial) -> dict[str, Any]:
    """One of the six settings. More epochs than --max-epochs need --set training/epochs=NUMBER."""
    setting = trial.suggest_categorical("labels/setting", list(SETTINGS))
    return {
        "labels": {"setting": setting},
        "data": {
            "image_size": 224,
            "resize": "centre_crop",
            "crop_fraction": 0.875,
            "normalisation": "imagenet",
            "validation_fraction": 0.5,
        },
        "model": {"architecture": "alexnet"},
        **trained_with(*SETTINGS[setting]),
    }


def trained_with(lr: float, epochs: int, step_epochs: int, gamma: float) -> dict[str, Any]:
    """SGD with batches of 256, its learning rate multiplied by `gamma` every `step_epochs`."""
    return {
        "optimizer": {"name": "sgd", "lr": lr, "momentum": 0.9, "weight_decay": 5e-5},
        "lr_schedule": {"name": "step", "step_epochs": step_epochs, "gamma": gamma},
        "training": {"batch_size": 256, "epochs": epochs, "log_steps": True},
    }
