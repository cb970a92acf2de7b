"""Study E, features and SVM: support vector machines on a pretrained ResNet-50's features.

Command:      toprung run study_e_svm --set data/root=FOLDER
              (FOLDER holds STL-10; --set data/download=true fetches it)
Run time:     8 minutes of one CPU core for the features, then seconds to a minute for a trial
Reference:    none reported as a number: kernels and scalings compared by accuracy
Table:        toprung compare SWEEP --by model/kernel --by model/scaling
"""

from typing import Any

import optuna

SWEEP = {"data": "stl10", "trials": 30, "max_epochs": 1, "trial_scheduler": "none"}


def search_space(trial: optuna.Trial) -> dict[str, Any]:
    """Kernel, scaling, C and gamma; the polynomial kernel is cubic."""
    kernel = trial.suggest_categorical("model/kernel", ["rbf", "linear", "poly"])
    model = {
        "architecture": "svm",
        "backbone": "resnet50",
        "weights": "DEFAULT",
        "kernel": kernel,
        "scaling": trial.suggest_categorical("model/scaling", ["none", "standard", "min_max"]),
        "c": trial.suggest_float("model/c", 1e-2, 1e2, log=True),
    }
    if kernel == "poly":
        model["degree"] = 3
    if kernel != "linear":
        model["gamma"] = trial.suggest_float("model/gamma", 1e-5, 1e-1, log=True)
    return {"model": model}
