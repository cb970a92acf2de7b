"""Study B, augmentation: three pipelines for a pretrained AlexNet on Caltech-101.

Command:      toprung run study_b_augmentation --set data/root=FOLDER
              (FOLDER holds Caltech-101; --set data/download=true fetches it)
Run time:     3 hours of one CPU core, estimated from the time of a step (not run in full)
Reference:    test accuracy, accuracy gap, loss gap: contrast_saturation_flip .85, .12, .66;
              hue_perspective .83, .15, .75; brightness_gray_rotation .81, .16, .77
              (momentum and weight decay are not reported; .9 and 5e-5 are ours)
Table:        toprung compare SWEEP --by labels/augmentation
"""

from typing import Any

import optuna

from toprung.search_spaces import study_b_from_scratch
from toprung.search_spaces._augmentations import NONE, STUDY_B
from toprung.search_spaces.study_b_from_scratch import trained_with

SWEEP = {**study_b_from_scratch.SWEEP, "trials": 4, "max_epochs": 20}
AUGMENTATIONS = {"none": NONE, **STUDY_B}


def search_space(trial: optuna.Trial) -> dict[str, Any]:
    """One of the pipelines, each applied to half of the images, or none."""
    augmentation = trial.suggest_categorical("labels/augmentation", list(AUGMENTATIONS))
    return {
        "labels": {"augmentation": augmentation},
        "data": {"validation_fraction": 0.5},
        "model": {"architecture": "alexnet", "weights": "DEFAULT"},
        **trained_with(lr=0.005, epochs=20, step_epochs=10, gamma=0.1),
        "augmentation": AUGMENTATIONS[augmentation],
    }
