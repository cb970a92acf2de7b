"""A trained model as an ONNX file, checked with onnxruntime to predict the same as torch.

The file's input is `images_BCHW`, float32 pixels from 0 to 1 of any batch size; the normalisation
is inside, so that nobody can normalise wrongly. Its output is `logits_BK`.

Shape letters: N images, B batch, H height, W width, C channels, K classes.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toprung.analysis.models.model import TrainedModel
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.analysis.sweep_folder.outside import NotConfirmedError, Outside, images_to_look_at
from toprung.trainables.data import DataError
from toprung.trainables.inference.predict import Normaliser
from toprung.trainables.networks.svm_settings import SvmSettings

if TYPE_CHECKING:
    from onnx import ModelProto

INPUT, OUTPUT = "images_BCHW", "logits_BK"
OPSET = 18
"""The operator set that torch's exporter writes natively, so that nothing is converted."""
TOLERANCE = 1e-4
"""The allowed difference of a logit, relative to the image's largest, or to 1 if that is less.

Rounding alone caused at most 3.5e-6 in twenty of torchvision's networks, at least one of each
family; an allowed difference changes a probability by less than its displayed digits.
"""
_NUM_IMAGES = 8
_SEED = 0
_SVM_SHARE = 1 / 8
"""The share of images on which an SVM may differ: a vote flips if a machine's output is near 0."""
_MAX_BYTES = 2**31 - 2**24
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_VERBOSE_LOGGERS = ("onnxscript", "onnx_ir", "torch.onnx")


@dataclass(frozen=True)
class OnnxCheck:
    """How far onnxruntime's predictions were from torch's.

    Attributes:
        opset: the operator set of the file.
        num_images: on how many images both were compared, one alone and the others as a batch.
        num_validation: how many of these are validation images; the others are random pixels.
        max_difference: the largest difference of any logit.
        max_relative_difference: the largest relative difference, as defined by `TOLERANCE`.
        tolerance: the largest relative difference that counts as equal.
        num_same_class: on how many images the most probable class is the same.
    """

    opset: int
    num_images: int
    num_validation: int
    max_difference: float
    max_relative_difference: float
    tolerance: float
    num_same_class: int


def check_extra() -> None:
    """Check that the packages of the extra `onnx` are installed.

    Raises:
        SweepFolderError: if one is missing; the message states how to install them.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise SweepFolderError(
            f"exporting to ONNX needs {', '.join(missing)}: install Toprung with its extra `onnx` "
            "(uv sync --extra onnx, or pip install 'toprung[onnx]')"
        )


def to_onnx(
    model: TrainedModel, about: dict[str, Any], outside: Outside
) -> tuple[bytes, OnnxCheck]:
    """The model as an ONNX file whose predictions were verified to be the same.

    Args:
        model: the model.
        about: metadata of the file, in addition to the class names and the preprocessing; values
            other than text are written as JSON.
        outside: what the model's sweep may use; validation images are used if they are allowed.

    Raises:
        SweepFolderError: if the extra is not installed, if torch cannot export the network, or if
            the predictions of onnxruntime differ.
    """
    check_extra()
    if len(model.weights_bytes) > _MAX_BYTES:
        size = len(model.weights_bytes) / 2**30
        raise SweepFolderError(f"an ONNX file holds 2 GiB, but the weights take {size:.1f} GiB")
    proto = _exported(_WithNormalisation(model), model.config.image_shape)
    _describe(proto, _preprocessing(model) | about)
    content = proto.SerializeToString(deterministic=True)
    return content, _checked(content, model, outside)


class _WithNormalisation(nn.Module):
    """images_BCHW (0..1) → logits_BK, in evaluation mode."""

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        self.network = replace(model).network  # a copy, because tracing modifies it
        self._normaliser = Normaliser(model.mean, model.std, torch.device("cpu"))
        self.eval()

    def forward(self, images_BCHW: Tensor) -> Tensor:
        logits_BK: Tensor = self.network(self._normaliser.normalise(images_BCHW))
        return logits_BK


def _exported(network: nn.Module, image_shape: tuple[int, int, int]) -> "ModelProto":
    images_BCHW = torch.zeros(2, *image_shape)
    try:
        with _quiet():
            program = torch.onnx.export(
                network,
                (images_BCHW,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # torch's exporter raises whatever its parts do
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise SweepFolderError(f"torch cannot export this network to ONNX: {reason}") from error
    assert program is not None
    return program.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's log messages below the level of errors."""
    loggers = [logging.getLogger(name) for name in _VERBOSE_LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _describe(proto: "ModelProto", about: dict[str, Any]) -> None:
    """Describe the model in the file, and remove the paths of torch's code on this machine."""
    from onnx import helper

    graphs = [proto.graph, *proto.functions]
    for part in [*graphs, *(node for graph in graphs for node in graph.node)]:
        del part.metadata_props[:]
    proto.graph.input[0].doc_string = "float32 pixels from 0 to 1; normalised inside"
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in about.items()
    }
    helper.set_model_props(proto, texts)


def _preprocessing(model: TrainedModel) -> dict[str, Any]:
    data = model.config.data
    return {
        "class_names": model.class_names,
        "input": "pixels from 0 to 1, " + ("red, green, blue" if data.channels == 3 else "grey"),
        "input_size": model.config.image_shape,
        "resize": data.resize,
        "crop_fraction": data.crop_fraction,
        "interpolation": data.interpolation,
        "mean": model.mean,
        "std": model.std,
        "normalisation": "inside the graph",
        "weights_sha256": model.digest,
    }


def _checked(content: bytes, model: TrainedModel, outside: Outside) -> OnnxCheck:
    validation_NHWC = _validation_images(model, outside)
    channels, height, width = model.config.image_shape
    rng = np.random.default_rng(_SEED)
    random_NHWC = rng.integers(0, 256, (_NUM_IMAGES, height, width, channels), np.uint8)
    images_NHWC = np.concatenate([random_NHWC, validation_NHWC])
    return compare(
        _onnxruntime_logits(content, images_NHWC),
        model.logits(images_NHWC).numpy(),
        num_validation=len(validation_NHWC),
        may_differ=int(len(images_NHWC) * _SVM_SHARE) if _is_svm(model) else 0,
    )


def _validation_images(model: TrainedModel, outside: Outside) -> NDArray[np.uint8]:
    """Some validation images_NHWC; empty if the data are not on this machine, or not confirmed."""
    channels, height, width = model.config.image_shape
    try:
        data = images_to_look_at(outside, model.config.data)
    except (DataError, NotConfirmedError):
        return np.empty((0, height, width, channels), np.uint8)
    drawn = np.random.default_rng(_SEED).permutation(data.validation_indices)[:_NUM_IMAGES]
    return np.asarray(data.images_NHWC[np.sort(drawn)])


def _onnxruntime_logits(content: bytes, images_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """logits_NK, of the first image alone and of the others as one batch."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    images_NCHW = images_NHWC.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    batches = (np.ascontiguousarray(images_NCHW[:1]), np.ascontiguousarray(images_NCHW[1:]))
    try:
        logits = [session.run([OUTPUT], {INPUT: batch})[0] for batch in batches]
    except Exception as error:  # onnxruntime's errors have no common base class
        reason = str(error).partition("\n")[0]
        raise SweepFolderError(f"onnxruntime cannot run the ONNX model: {reason}") from error
    return np.concatenate([np.asarray(each, np.float32) for each in logits])


def compare(
    onnx_NK: NDArray[np.float32],
    torch_NK: NDArray[np.float32],
    num_validation: int,
    may_differ: int,
) -> OnnxCheck:
    """The differences between the logits of two networks for the same images.

    Args:
        onnx_NK: the logits of onnxruntime.
        torch_NK: the logits of torch.
        num_validation: how many of the images are validation images.
        may_differ: on how many images the logits may differ.

    Raises:
        SweepFolderError: if they differ on more images than that; the message states by how much.
    """
    difference_N = np.abs(onnx_NK - torch_NK).max(1)
    relative_N = difference_N / np.abs(torch_NK).max(1).clip(min=1)
    num_differing = int((~(relative_N <= TOLERANCE)).sum())  # not a number counts as differing
    num_same_class = int((onnx_NK.argmax(1) == torch_NK.argmax(1)).sum())
    if num_differing > may_differ:
        raise SweepFolderError(
            f"the ONNX model does not predict the same: on {num_differing} of {len(torch_NK)} "
            f"images the logits differ, by up to {difference_N.max():.3g} (relative "
            f"{relative_N.max():.3g}, allowed {TOLERANCE:g}); the most probable class is the same "
            f"on {num_same_class}. No model.onnx was written"
        )
    return OnnxCheck(
        opset=OPSET,
        num_images=len(torch_NK),
        num_validation=num_validation,
        max_difference=float(difference_N.max()),
        max_relative_difference=float(relative_N.max()),
        tolerance=TOLERANCE,
        num_same_class=num_same_class,
    )


def _is_svm(model: TrainedModel) -> bool:
    return isinstance(model.config.model, SvmSettings)
