"""Predictions of a trial's network for the validation images, before and after training."""

import numpy as np
import torch
from torch import nn

from toprung.analysis.models.model import TrainedModel
from toprung.analysis.models.predictions import Predictions, collect
from toprung.trainables.config import TrialConfig
from toprung.trainables.data import TrainingData
from toprung.trainables.inference.predict import Normaliser, predict_logits
from toprung.trainables.networks.svm_settings import SvmSettings
from toprung.trainables.system.typed_settings import ConfigError
from toprung.trainables.training.state import TrainingState
from toprung.trainables.training.steps import batch_bounds


def network_before_training(config: TrialConfig, data: TrainingData) -> nn.Module:
    """The network that `fit` starts from: pretrained weights, and a head drawn by the trial's seed.

    Raises:
        ConfigError: if the pretrained weights are unavailable.
    """
    steps_per_epoch = len(batch_bounds(len(data.train_indices), config.training.batch_size))
    return TrainingState(config, data, steps_per_epoch, torch.device("cpu")).classifier.network


def before_and_after(model: TrainedModel, data: TrainingData) -> tuple[Predictions, Predictions]:
    """Predictions for the validation images by the network before training, and by the model.

    Raises:
        ConfigError: for an SVM, or if the pretrained weights are unavailable.
    """
    if isinstance(model.config.model, SvmSettings):
        raise ConfigError(
            "model/architecture = 'svm': cannot be compared with its state before training: the "
            "backbone is not trained, and the SVM does not exist until it is fitted"
        )
    before = network_before_training(model.config, data)
    return _predictions(before, model, data), _predictions(model.network, model, data)


def _predictions(network: nn.Module, model: TrainedModel, data: TrainingData) -> Predictions:
    normalise = Normaliser(model.mean, model.std, torch.device("cpu"))
    indices = data.validation_indices
    return collect(
        predict_logits(network, normalise, data.images_NHWC, indices).numpy(),
        data.labels_N[indices],
        np.asarray(data.images_NHWC[indices]),
        tuple(f"validation image {number}" for number in range(len(indices))),
        data.class_names,
        (model.mean, model.std),
        model.config.seed,
    )
