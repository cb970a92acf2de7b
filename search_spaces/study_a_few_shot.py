"""Study A, few-shot: the full set with training and test images swapped, and augmentation.

Command:      toprung run study_a_few_shot --set data/root=FOLDER
              (FOLDER holds PACS; or --data path/to/pacs_cartoon for class folders)
Run time:     7 hours of one CPU core, estimated from the time of a step (not run in full)
Reference:    validation / test accuracy, per cent: from scratch 57.45 / 49.38 (lr .003, epoch 16),
              head only 80.85 / 68.80 (.003, 8), nothing frozen 85.11 / 81.21 (.003, 12), nothing
              frozen with augmentation 87.14 / 82.54 (.003, 41)
Table:        toprung compare SWEEP --by model/freeze_policy --by labels/augmentation
"""

from typing import Any

import optuna

from toprung.search_spaces import study_a_full
from toprung.search_spaces._augmentations import NONE, STUDY_A

SWEEP = {**study_a_full.SWEEP, "trials": 30}
AUGMENTATIONS = {"none": NONE, "study_a": STUDY_A}


def search_space(trial: optuna.Trial) -> dict[str, Any]:
    """Freeze policy, learning rate and augmentation, on a tenth of the images."""
    config = study_a_full.search_space(trial)
    augmentation = trial.suggest_categorical("labels/augmentation", list(AUGMENTATIONS))
    return {
        **config,
        "labels": {"augmentation": augmentation},
        "data": {**config["data"], "validation_fraction": 0.3, "swap_train_and_test": True},
        "augmentation": AUGMENTATIONS[augmentation],
    }
