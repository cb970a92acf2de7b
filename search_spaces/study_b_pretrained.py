"""Study B, pretrained: AlexNet on Caltech-101, fine-tuned as a whole with three settings.

Command:      toprung run study_b_pretrained --set data/root=FOLDER
              (FOLDER holds Caltech-101; --set data/download=true fetches it)
Run time:     4 hours of one CPU core, estimated from the time of a step (not run in full)
Reference:    validation accuracy, in the order below: .82, .85, .82
              (momentum and weight decay are not reported; .9 and 5e-5 are ours)
Table:        toprung compare SWEEP --by labels/setting
"""

from typing import Any

import optuna

from toprung.search_spaces import study_b_from_scratch
from toprung.search_spaces.study_b_from_scratch import trained_with

SWEEP = {**study_b_from_scratch.SWEEP, "trials": 3}
SETTINGS = {  # learning rate, epochs, epochs between steps, gamma
    "lr .001, 30 epochs, x.1 after 20": (0.001, 30, 20, 0.1),
    "lr .005, 20 epochs, x.1 after 10": (0.005, 20, 10, 0.1),
    "lr .0005, 40 epochs, x.5 after 30": (0.0005, 40, 30, 0.5),
}


def search_space(trial: optuna.Trial) -> dict[str, Any]:
    """One of the three settings. More epochs than --max-epochs need --set training/epochs=N."""
    setting = trial.suggest_categorical("labels/setting", list(SETTINGS))
    return {
        "labels": {"setting": setting},
        "data": {"validation_fraction": 0.5},
        "model": {"architecture": "alexnet", "weights": "DEFAULT"},
        **trained_with(*SETTINGS[setting]),
    }
