"""Fitting an SVM on a network's features: a whole trial in one step, with the interface of `fit`.

Shape letters: N images, F features, K classes, S support vectors.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC
from torch import Tensor

from toprung.trainables.config import TrialConfig, as_plain
from toprung.trainables.data import DataError, TrainingData
from toprung.trainables.frozen_features.cache import TooLargeError
from toprung.trainables.frozen_features.values import frozen_values, identity, rows_of, run_frozen
from toprung.trainables.inference.predict import EVALUATION_BATCH_SIZE, Normaliser, Score, score
from toprung.trainables.networks.build import build_network
from toprung.trainables.networks.svm import SvmHead, SvmNetwork
from toprung.trainables.networks.svm_settings import SvmSettings
from toprung.trainables.results.columns import CHECKPOINT_FILE
from toprung.trainables.results.records import Record, Validation
from toprung.trainables.training.checkpoint import check_same_trial, write_checkpoint
from toprung.trainables.training.state import read_checkpoint


def fit_svm(
    config: TrialConfig,
    data: TrainingData,
    device: torch.device | None = None,
    resume_from: Path | None = None,
) -> Iterator[Validation]:
    """Fit an SVM and validate it: yields once, finished after one epoch.

    The losses are the cross-entropy of the scores. They are uncalibrated: the scores count votes,
    so they say little about the SVM's confidence; compare SVMs by their accuracy. The record's
    learning rate is 0.

    Args:
        config: the trial; its model is an SVM.
        data: its training and validation images.
        device: where to compute the features; the CPU if not given. The SVM is fitted on the CPU.
        resume_from: a folder that `save_checkpoint` wrote to; its validation is yielded again, and
            nothing is fitted.

    Raises:
        ImpossibleNetworkError: for a backbone that cannot be built for these images.
        ConfigError: for weights that are not available, or a checkpoint of another trial.
        UnreadableCheckpointError: for a checkpoint that is truncated, or not a checkpoint.
        DataError: if the features cannot be stored.
    """
    if resume_from is not None:
        yield _fitted_before(config, resume_from)
        return
    started = time.monotonic()
    network = _build(config, data)
    train_NF, validation_NF = _features(config, data, network, device or torch.device("cpu"))
    train_N = data.labels_N[data.train_indices]
    validation_N = data.labels_N[data.validation_indices]
    assert isinstance(config.model, SvmSettings)
    network.svm.load_state_dict(fitted_state(config.model, train_NF, train_N))
    train = _score(network.svm, train_NF, train_N)
    validation = _score(network.svm, validation_NF, validation_N)
    record = Record(
        validation=1,
        epoch=1.0,
        train_loss=train.loss,
        train_accuracy=train.accuracy,
        val_loss=validation.loss,
        val_accuracy=validation.accuracy,
        val_mean_class_accuracy=validation.mean_class_accuracy,
        lr=0.0,
        seconds=time.monotonic() - started,
    )
    yield Validation(record, record, True, partial(_save, config, data, network, record))


def fitted_state(
    settings: SvmSettings, features_NF: NDArray[np.float32], labels_N: NDArray[np.int64]
) -> dict[str, Tensor]:
    """The state of the `SvmHead` that scikit-learn's `SVC` fits to these features."""
    precise_NF = features_NF.astype(np.float64)
    offset_F, scale_F = _scaling(settings, precise_NF)
    scaled_NF = (precise_NF - offset_F) * scale_F
    gamma = _gamma(settings, scaled_NF)
    svc = SVC(C=settings.c, kernel=settings.kernel, degree=settings.degree, gamma=gamma)
    svc.fit(scaled_NF, labels_N)
    sign = -1 if len(svc.classes_) == 2 else 1  # with two classes, positive means the second
    return {
        "offset": torch.from_numpy(offset_F),
        "scale": torch.from_numpy(scale_F),
        "support_features": torch.from_numpy(features_NF[svc.support_]),
        "support_counts": torch.from_numpy(svc.n_support_).long(),
        "dual_coefficients": torch.from_numpy(sign * svc.dual_coef_),
        "intercepts": torch.from_numpy(sign * svc.intercept_),
        "gamma": torch.tensor(gamma, dtype=torch.float64),
    }


def _build(config: TrialConfig, data: TrainingData) -> SvmNetwork:
    with torch.random.fork_rng([]):
        torch.manual_seed(config.seed)  # for a backbone with random weights
        network = build_network(config.model, data.image_shape, len(data.class_names)).network
    assert isinstance(network, SvmNetwork)
    return network


def _features(
    config: TrialConfig, data: TrainingData, network: SvmNetwork, device: torch.device
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """features_NF of the training images, and of the validation images."""
    assert isinstance(config.model, SvmSettings)
    backbone = network.backbone.to(device)
    digest = identity(backbone, repr(config.model.backbone_settings()))
    normalise = Normaliser(data.mean, data.std, device)
    train = rows_of(config, data, "train", normalise)
    rows = train.followed_by(rows_of(config, data, "validation", normalise))
    try:
        stored = frozen_values(backbone, digest, rows, run_frozen(backbone, rows, np.arange(1)))
    except TooLargeError as error:
        raise DataError(f"there is no space for the features that an SVM needs: {error}") from error
    finally:
        backbone.cpu()
    (features_NF,) = stored.rows(np.arange(len(stored)))
    return features_NF[: train.num_images].numpy(), features_NF[train.num_images :].numpy()


def _scaling(
    settings: SvmSettings, features_NF: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The offset to subtract from each feature, and the factor to multiply it by then."""
    match settings.scaling:
        case "standard":
            scaler = StandardScaler().fit(features_NF)
            return scaler.mean_, 1 / scaler.scale_
        case "min_max":
            scaler = MinMaxScaler().fit(features_NF)
            return scaler.data_min_, scaler.scale_
    num_features = features_NF.shape[1]
    return np.zeros(num_features), np.ones(num_features)


def _gamma(settings: SvmSettings, scaled_NF: NDArray[np.float64]) -> float:
    if not isinstance(settings.gamma, str):
        return settings.gamma
    variance = float(scaled_NF.var()) if settings.gamma == "scale" else 1.0
    num_features: int = scaled_NF.shape[1]
    return 1 / (num_features * (variance or 1.0))


@torch.inference_mode()
def _score(svm: SvmHead, features_NF: NDArray[np.float32], labels_N: NDArray[np.int64]) -> Score:
    batches = torch.split(torch.from_numpy(features_NF), EVALUATION_BATCH_SIZE)
    return score(torch.cat([svm(batch_BF) for batch_BF in batches]), torch.from_numpy(labels_N))


def _save(
    config: TrialConfig, data: TrainingData, network: SvmNetwork, record: Record, folder: Path
) -> None:
    """Write a checkpoint with everything that the users of `read_checkpoint` need for a model."""
    write_checkpoint(
        folder / CHECKPOINT_FILE,
        {
            "config": as_plain(config),
            "class_names": list(data.class_names),
            "mean": list(data.mean),
            "std": list(data.std),
            "model": network.state_dict(),
            "record": asdict(record),
            "best_record": asdict(record),
            "best_weights": None,
        },
    )


def _fitted_before(config: TrialConfig, folder: Path) -> Validation:
    saved = read_checkpoint(folder)
    check_same_trial(saved, config)
    record = Record(**saved["record"])
    now = saved | {"config": as_plain(config)}
    return Validation(
        record, record, True, lambda other: write_checkpoint(other / CHECKPOINT_FILE, now)
    )
