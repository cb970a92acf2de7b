"""Study D: a five-block CNN on a ten-class iNaturalist subset, in three search stages.

Command:      toprung run study_d_cnn_sweep --set data/root=FOLDER
              (FOLDER holds inaturalist_12K; shorter: --max-epochs 5 --set training/epochs=5)
Run time:     75 hours of one CPU core, estimated from the time of a step (not run in full)
Reference:    train 61.47, validation 42.20, test 42.80 per cent (doubling from 16, batch norm,
              kernel 3, padding 0, GELU, dense 256, dropout .1, AdamW, lr 1e-3, weight decay .5,
              cosine, no augmentation)
Table:        toprung compare SWEEP --by labels/stage, or any parameter
"""

from typing import Any

import optuna

from toprung.search_spaces._augmentations import NONE, STUDY_D

SWEEP = {
    "data": "inaturalist12k",
    "trials": 60,
    "max_epochs": 50,
    "grace_epochs": 2,
    "stages": [
        {
            "name": "network",
            "share": 4,
            "searches": [
                "labels/filters",
                "model/kernel_size",
                "model/padding",
                "model/activation",
                "model/batch_norm",
                "model/dense",
                "optimizer/name",
                "optimizer/lr",
            ],
        },
        {
            "name": "regularisation",
            "share": 1,
            "searches": ["model/block_dropout", "optimizer/weight_decay"],
        },
        {
            "name": "schedule",
            "share": 1,
            "searches": ["lr_schedule/name", "labels/augmentation", "training/epochs"],
        },
    ],
    "start": {
        "model/block_dropout": 0.2,
        "optimizer/weight_decay": 0.05,
        "lr_schedule/name": "cosine",
        "labels/augmentation": "none",
        "training/epochs": 15,
    },
}
FILTERS = {
    "equal 16": (16, "equal"),
    "equal 32": (32, "equal"),
    "equal 64": (64, "equal"),
    "doubling from 8": (8, "doubling"),
    "doubling from 16": (16, "doubling"),
    "halving from 128": (128, "halving"),
}
AUGMENTATIONS = {"none": NONE, "study_d": STUDY_D}


def search_space(trial: optuna.Trial) -> dict[str, Any]:
    """The network and its optimizer; then dropout and weight decay; then schedule, augmentation."""
    filters = trial.suggest_categorical("labels/filters", list(FILTERS))
    first, organisation = FILTERS[filters]
    augmentation = trial.suggest_categorical("labels/augmentation", list(AUGMENTATIONS))
    activations = ["relu", "leaky_relu", "gelu", "silu", "mish", "elu"]
    optimizers = ["adam", "nadam", "radam", "adamw", "sgd"]
    decays = [0.005, 0.05, 0.1, 0.5, 0.8]
    return {
        "labels": {"filters": filters, "augmentation": augmentation},
        "data": {"image_size": 224, "resize": "squash"},
        "model": {
            "num_blocks": 5,
            "filters": first,
            "organisation": organisation,
            "kernel_size": trial.suggest_categorical("model/kernel_size", [3, 4, 5]),
            "padding": trial.suggest_categorical("model/padding", [0, 1, 2]),
            "activation": trial.suggest_categorical("model/activation", activations),
            "batch_norm": trial.suggest_categorical("model/batch_norm", ["none", "before"]),
            "block_dropout": trial.suggest_categorical("model/block_dropout", [0.1, 0.2, 0.3]),
            "dense": trial.suggest_categorical("model/dense", [128, 256]),
        },
        "optimizer": {
            "name": trial.suggest_categorical("optimizer/name", optimizers),
            "lr": trial.suggest_categorical("optimizer/lr", [1e-3, 1e-4, 1e-5]),
            "weight_decay": trial.suggest_categorical("optimizer/weight_decay", decays),
        },
        "lr_schedule": {"name": trial.suggest_categorical("lr_schedule/name", ["cosine", "step"])},
        "augmentation": AUGMENTATIONS[augmentation],
        "training": {"epochs": trial.suggest_categorical("training/epochs", [15, 18, 50])},
    }
