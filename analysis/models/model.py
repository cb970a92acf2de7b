"""A trained model with its config and preprocessing, from a checkpoint or an export."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import FiniteFloat, PositiveFloat
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor, nn

from toprung.analysis.models.export_files import (
    CONFIG_FILE,
    TRIAL_FILE,
    WEIGHTS_FILE,
    check_export_files,
)
from toprung.analysis.models.predictions import Predictions, collect
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.analysis.sweep_folder.outside import NotConfirmedError, Outside, weights_of
from toprung.analysis.sweep_folder.typed import typed
from toprung.trainables.config import TrialConfig, load_config
from toprung.trainables.data import decode_image
from toprung.trainables.files.tensor_files import check_tensors, load_safetensors
from toprung.trainables.files.untrusted_files import read_text
from toprung.trainables.inference.predict import Normaliser, predict_logits
from toprung.trainables.networks.build import build_network
from toprung.trainables.pretrained.weights import load_state
from toprung.trainables.system.typed_settings import ConfigError, has_surrogates, parse
from toprung.trainables.training.state import read_checkpoint


@dataclass(frozen=True)
class TrainedModel:
    """A trial's config and best weights, its class names and normalisation."""

    config: TrialConfig
    weights: dict[str, Tensor]
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def stored_weights(self) -> dict[str, Tensor]:
        """The weights in the memory order of a safetensors file."""
        return {name: tensor.contiguous() for name, tensor in self.weights.items()}

    @cached_property
    def weights_bytes(self) -> bytes:
        """The weights as a plain safetensors file, without metadata."""
        return save(self.stored_weights)

    @property
    def digest(self) -> str:
        """SHA-256 of the weights as a plain safetensors file, which identifies the model.

        The file in an export also carries a record of images, so its own SHA-256 differs.
        """
        return hashlib.sha256(self.weights_bytes).hexdigest()

    @cached_property
    def network(self) -> nn.Module:
        """The network with its weights, in evaluation mode.

        Raises:
            ConfigError: if the weights do not fit the network.
        """
        network = build_network(
            self.config.model, self.config.image_shape, len(self.class_names), with_weights=False
        ).network
        load_state(network, self.weights, "of the trained model")
        return network.eval()

    def logits(self, images_NHWC: NDArray[np.uint8]) -> Tensor:
        """logits_NK of stored images (0..255), on the CPU."""
        normalise = Normaliser(self.mean, self.std, torch.device("cpu"))
        return predict_logits(self.network, normalise, images_NHWC)

    def predict_all(
        self, images_NHWC: NDArray[np.uint8], labels_N: NDArray[np.int64], names: tuple[str, ...]
    ) -> Predictions:
        """Predictions for labelled images; the model's seed draws the images that are shown."""
        return collect(
            self.logits(images_NHWC).numpy(),
            labels_N,
            images_NHWC,
            names,
            self.class_names,
            (self.mean, self.std),
            self.config.seed,
        )

    def predict(self, image: str | Path, top_k: int = 5) -> list[tuple[str, float]]:
        """The most probable classes of an image file, with their probabilities, best first.

        Raises:
            DataError: if the file cannot be read as an image.
        """
        pixels_HWC = decode_image(Path(image), self.config.data)
        probabilities_K = self.logits(pixels_HWC[np.newaxis])[0].softmax(0)
        values, indices = probabilities_K.topk(min(top_k, len(self.class_names)))
        return [
            (self.class_names[index], value)
            for index, value in zip(indices.tolist(), values.tolist(), strict=True)
        ]


def model_from_checkpoint(folder: Path, outside: Outside) -> TrainedModel:
    """The best model of the trial whose checkpoint is in a folder.

    Args:
        folder: the folder of the checkpoint.
        outside: what the sweep may use outside its folder, such as pretrained weights that the
            checkpoint leaves out.

    Raises:
        SweepFolderError: if the checkpoint cannot be read; `NotConfirmedError` if the user has not
            agreed to the weights that it names.
    """
    try:
        saved = read_checkpoint(folder, lambda config: outside.confirm(*weights_of(config.model)))
        config = parse(TrialConfig, saved["config"], "its config")
        weights = saved["best_weights"] or saved["model"]
        return _checked(config, weights, saved["class_names"], saved["mean"], saved["std"])
    except NotConfirmedError:
        raise
    except Exception as error:  # for a damaged file, torch raises errors of many types
        raise SweepFolderError(f"checkpoint {folder}: cannot be read: {error}") from None


def load_model(folder: str | Path) -> TrainedModel:
    """The model in the folder of an export; runs no code from its files.

    Raises:
        SweepFolderError: if the folder is not an export, or one of its files cannot be read.
        ConfigError: if its `trial.yaml` is invalid.
    """
    folder = Path(folder)
    check_export_files(folder)
    if not (folder / CONFIG_FILE).is_file():
        inside = f"; did you mean {folder / 'best'}?" if (folder / "best").is_dir() else ""
        raise SweepFolderError(
            f"{folder}: is not an exported model: it has no {CONFIG_FILE}{inside}"
        )
    config = load_config(folder / TRIAL_FILE)
    try:
        card: dict[str, Any] = json.loads(read_text(folder / CONFIG_FILE))
        weights, timm = load_safetensors(folder / WEIGHTS_FILE), card["pretrained_cfg"]
        model = _checked(config, weights, card["label_names"], timm["mean"], timm["std"])
        model.network  # noqa: B018  (built here, so that its errors are raised here)
    except ConfigError as error:
        raise SweepFolderError(f"{folder}: {error}") from None
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, RecursionError) as error:
        raise SweepFolderError(f"{folder}: is not an exported model: {error!r}") from None
    return model


def _checked(
    config: TrialConfig, weights: Any, class_names: Any, mean: Any, std: Any
) -> TrainedModel:
    """A model from parts that were read from a file.

    Raises:
        ValueError: if a part has the wrong type, or the parts do not fit together.
    """
    if not isinstance(weights, dict) or not all(map(torch.is_tensor, weights.values())):
        raise ValueError("its weights are not a state dict")
    check_tensors(weights)
    model = TrainedModel(
        config=config,
        weights=weights,
        class_names=typed(tuple[str, ...], class_names),
        mean=typed(tuple[FiniteFloat, ...], mean),
        std=typed(tuple[PositiveFloat, ...], std),
    )
    if any(map(has_surrogates, model.class_names)):
        raise ValueError("its class names are not valid Unicode text")
    channels = config.image_shape[0]
    if not len(model.mean) == len(model.std) == channels:
        raise ValueError(f"its mean and standard deviation are not of {channels} channels")
    with torch.device("meta"):  # so that weights that do not fit cost no memory for a network
        network = build_network(
            config.model, config.image_shape, len(model.class_names), with_weights=False
        ).network
        load_state(network, {k: torch.empty(v.shape) for k, v in weights.items()}, "of it")
    return model
