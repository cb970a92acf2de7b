"""Guided backpropagation: which pixels excite a neuron (Springenberg et al., 2015).

It is the gradient of the neuron with respect to the image, with negative gradients set to zero at
each ReLU.

Shape letters: N neurons, C channels, H height, W width.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from captum.attr import NeuronGuidedBackprop
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from toprung.analysis.inside_model.layers import activation_maps, layer_at, network_input
from toprung.analysis.models.model import TrainedModel
from toprung.trainables.system.typed_settings import ConfigError

_RELUS = {functional.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}
_RELU6S = {functional.relu6, functional.hardtanh}


def guided_backprop(
    model: TrainedModel, pixels_HWC: NDArray[np.uint8], layer: str, neurons: Sequence[int]
) -> NDArray[np.float32]:
    """Guided gradients_NCHW of neurons of a layer with respect to the normalised image.

    A neuron is a channel, at the position of its largest value; in a layer without maps it is one
    of the values. ReLU6 counts as a ReLU; any other activation passes its plain gradient.

    Args:
        model: the model.
        pixels_HWC: the image, 0..255.
        layer: the path of the layer with the neurons.
        neurons: the indices of the neurons, from 0.

    Raises:
        ConfigError: if there is no such layer or neuron, or if the network has no ReLU.
    """
    image_1CHW = network_input(model, pixels_HWC)
    images_NCHW = image_1CHW.expand(len(neurons), -1, -1, -1).clone().requires_grad_()
    guided = _ThroughOneReLU(model.network)
    captum = NeuronGuidedBackprop(guided, layer_at(model.network, layer))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Setting backward hooks on ReLU")
        gradients_NCHW = captum.attribute(images_NCHW, _Selected(layer, neurons))
    if not guided.has_relu:
        raise ConfigError(
            f"model/architecture = {model.config.model.architecture!r}: this network has no ReLU, "
            "which guided backpropagation needs"
        )
    gradients: NDArray[np.float32] = gradients_NCHW.detach().numpy()
    return gradients


def strongest_neurons(
    model: TrainedModel, pixels_HWC: NDArray[np.uint8], layer: str, count: int
) -> tuple[int, ...]:
    """The channels of a layer with the largest values for an image, the largest first.

    Raises:
        ConfigError: as for `activation_maps`.
    """
    greatest_C = activation_maps(model, pixels_HWC, layer).before_CHW.max((1, 2))
    return tuple(np.argsort(-greatest_C, kind="stable")[:count].tolist())


class _Selected:
    """Selects from a layer's output for a batch one neuron for each image."""

    def __init__(self, layer: str, neurons: Sequence[int]) -> None:
        self._layer, self._neurons = layer, neurons

    def __call__(self, output: Tensor) -> Tensor:
        if output.dim() not in (2, 4):
            shape = "x".join(map(str, output.shape[1:]))
            raise ConfigError(
                f"layer {self._layer!r}: its output has the shape {shape}, which has no neurons"
            )
        num_neurons = output.shape[1]
        for neuron in self._neurons:
            if not 0 <= neuron < num_neurons:
                raise ConfigError(
                    f"neuron {neuron}: layer {self._layer!r} has {num_neurons} neurons, "
                    f"from 0 to {num_neurons - 1}"
                )
        picked = output[torch.arange(len(self._neurons)), list(self._neurons)]
        values: Tensor = picked.reshape(len(self._neurons), -1).max(1).values
        return values


class _ThroughOneReLU(nn.Module):
    """The network, with every ReLU (module or function, in place or not) replaced by `self.relu`.

    Captum guides the ReLU modules that it finds. It would miss functions (as in GoogLeNet), and
    would guide all gradients that flow back into a tensor, not only those through the ReLU.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.has_relu = False
        self._run = network.__call__  # as a function, so that captum finds no ReLU in it

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits_BK."""
        with _Instead(self):
            logits_BK: Tensor = self._run(images_BCHW)
        return logits_BK


class _Instead(TorchFunctionMode):
    """Replaces every ReLU by that of a module."""

    def __init__(self, owner: _ThroughOneReLU) -> None:
        super().__init__()
        self._owner = owner

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _RELUS or func in _RELU6S:
            self._owner.has_relu = True
            values: Tensor = self._owner.relu(args[0].clone())
            return values.clamp(max=6) if func in _RELU6S else values
        return func(*args, **(kwargs or {}))
