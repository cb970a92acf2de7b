"""Training the model that a trial's config describes, whatever its kind."""

from collections.abc import Iterator
from pathlib import Path

import torch

from toprung.trainables.config import TrialConfig
from toprung.trainables.data import TrainingData
from toprung.trainables.networks.svm_settings import SvmSettings
from toprung.trainables.results.records import Validation
from toprung.trainables.training.fit import fit


def fit_any(
    config: TrialConfig,
    data: TrainingData,
    device: torch.device | None = None,
    resume_from: Path | None = None,
) -> Iterator[Validation]:
    """Train a network, or fit an SVM on a network's features; see `fit` and `fit_svm`."""
    if isinstance(config.model, SvmSettings):
        from toprung.trainables.training.fit_svm import (
            fit_svm,  # scikit-learn takes seconds to import
        )

        return fit_svm(config, data, device, resume_from)
    return fit(config, data, device, resume_from)
