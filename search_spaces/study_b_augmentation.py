"""Study B, augmentation: three pipelines for a pretrained AlexNet on Caltech-101.

Command:      toprung run study_b_augmentation --set data/root=FOLDER
              (FOLDER holds Caltech-101; --set data/download=true fetches it)
Run time:     3 hours of one CPU core, reckoned from the time of a step (not run whole)
Reference:    test accuracy, accuracy gap, loss gap: contrast_saturation_flip .85, .12, .66;
              hue_perspective .83, .15, .75; brightness_gray_rotation .81, .16, .77
Table:        toprung compare SWEEP --by labels/augmentation
"""

from typing import Any

import optuna

from search_spaces.augmentations import NONE, STUDY_B

SWEEP = {
    "data": "caltech101",
    "trials": 4,
    "max_epochs": 20,
    "sampler": "grid",
    "trial_scheduler": "none",
}
AUGMENTATIONS = {"none": NONE, **STUDY_B}


def search_space(trial: optuna.Trial) -> dict[str, Any]:
    """One of the pipelines, each applied to half of the images, or none."""
    augmentation = trial.suggest_categorical("labels/augmentation", list(AUGMENTATIONS))
    return {
        "labels": {"augmentation": augmentation},
        "data": {"validation_fraction": 0.5},
        "model": {"architecture": "alexnet", "weights": "DEFAULT"},
        "optimizer": {"name": "sgd", "lr": 0.005, "momentum": 0.9, "weight_decay": 5e-5},
        "lr_schedule": {"name": "step", "step_epochs": 10, "gamma": 0.1},
        "augmentation": AUGMENTATIONS[augmentation],
        "training": {"batch_size": 256},
    }
