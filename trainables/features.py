"""The features of all stored images, computed once on a machine and shared by all trials.

<cache>/features/<key>.npy        (N, F) float32, in the order of the stored images
<cache>/features/<key>.lock       held while they are being computed
<cache>/features/tmp-*-<key>.npy  half-written

Shape letters: N images, F features.
"""

import hashlib
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from safetensors.torch import save
from torch import nn

from trainables.data import DataError, DataSettings, TrainingData, cache_dir
from trainables.data.build import FORM
from trainables.data.cache import CACHE_VARIABLE, digest_of
from trainables.data.files import TEMP_PREFIX, written_whole
from trainables.data.progress import progress
from trainables.evaluate import Normaliser, predict_logits
from trainables.network import NetworkSettings

BATCH = 64  # images between two looks at the progress
FORMAT = 1  # to be raised when the same images and weights would give other features


def stored_features(
    backbone: nn.Module,
    built_from: NetworkSettings,
    settings: DataSettings,
    data: TrainingData,
    device: torch.device,
) -> NDArray[np.float32]:
    """features_NF of all training and validation images, as a read-only memory map.

    Whatever decides them is in their key, so that no trial gets those of other images or weights.

    Args:
        backbone: images_BCHW → features_BF, with its weights; ends on the CPU.
        built_from: its settings, which say more of it than its weights do.
        settings: the form of the images.
        data: the images.
        device: where to compute the features.

    Raises:
        DataError: the cache folder cannot be used, or its features are damaged.
    """
    folder = cache_dir() / "features"
    key = _key(backbone, built_from, settings, data, device)
    path = folder / f"{key}.npy"
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(folder)
            with FileLock(folder / f"{key}.lock"):
                if not path.exists():
                    features_NF = _compute(backbone, data, device)
                    with written_whole(path) as stream:
                        np.save(stream, features_NF)
        return _open(path)
    except OSError as error:
        raise DataError(
            f"The cache folder {str(folder)!r} cannot be used: {error}. "
            f"Set {CACHE_VARIABLE} to a folder that can be written."
        ) from error


def _key(
    backbone: nn.Module,
    built_from: NetworkSettings,
    settings: DataSettings,
    data: TrainingData,
    device: torch.device,
) -> str:
    weights = {name: tensor.contiguous() for name, tensor in backbone.state_dict().items()}
    return digest_of(
        {
            "format": FORMAT,
            "form": settings.model_dump(mode="json", include=FORM),
            "digest": data.digest,
            "shape": data.images_NHWC.shape,
            "mean": data.mean,
            "std": data.std,
            "built_from": built_from.model_dump(mode="json"),
            "weights": hashlib.sha256(save(weights)).hexdigest(),
            "torchvision": version("torchvision"),
            "device": device.type,
        }
    )


def _compute(backbone: nn.Module, data: TrainingData, device: torch.device) -> NDArray[np.float32]:
    normalise = Normaliser(data.mean, data.std, device)
    indices_N = np.arange(len(data.images_NHWC))
    batches = [indices_N[start : start + BATCH] for start in range(0, len(indices_N), BATCH)]
    shown = progress(batches, len(batches), "Computing features", show=sys.stderr.isatty())
    backbone.to(device)
    features = [
        predict_logits(backbone, normalise, data.images_NHWC, indices_B).cpu().numpy()
        for indices_B in shown
    ]
    backbone.cpu()
    return np.concatenate(features)


def _open(path: Path) -> NDArray[np.float32]:
    try:
        features_NF: NDArray[np.float32] = np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise DataError(
            f"The features {str(path)!r} are damaged ({error}); remove that file, and they will be "
            "computed again."
        ) from error
    return features_NF


def _remove_abandoned(folder: Path) -> None:
    for temp in folder.glob(f"{TEMP_PREFIX}*.npy"):
        key = temp.stem.rpartition("-")[2]
        try:
            with FileLock(folder / f"{key}.lock", timeout=0):
                temp.unlink(missing_ok=True)
        except Timeout:
            continue  # not abandoned: another process is writing it
