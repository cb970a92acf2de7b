"""The layers of a trained network: their filters, and their activation maps for an image.

Shape letters: B batch, O filters, I input channels, C channels, H height, W width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from toprung.analysis.models.model import TrainedModel
from toprung.trainables.inference.predict import Normaliser
from toprung.trainables.networks.build import build_network
from toprung.trainables.system.typed_settings import ConfigError, nearest

_ACTIVATIONS: dict[Callable[..., Any], str] = {
    functional.relu: "ReLU",
    torch.relu: "ReLU",
    torch.relu_: "ReLU",
    functional.relu6: "ReLU6",
    functional.hardtanh: "ReLU6",  # as torch's module of this name calls it
    functional.leaky_relu: "LeakyReLU",
    functional.gelu: "GELU",
    functional.silu: "SiLU",
    functional.mish: "Mish",
    functional.elu: "ELU",
    functional.hardswish: "Hardswish",
}
_BETWEEN = {
    functional.batch_norm,
    functional.layer_norm,
    functional.dropout,
    Tensor.add,
    Tensor.add_,
    torch.add,
}
"""Operations allowed between a layer and its activation: a residual block adds before it."""


@dataclass(frozen=True)
class ActivationMaps:
    """The outputs of a layer for an image.

    Attributes:
        layer: the path of the layer in the network.
        before_CHW: the output of the layer itself.
        after_CHW: the output of the activation that follows, possibly after a normalisation or the
            addition in a residual block; None if no activation follows.
        activation: the name of that activation; empty if there is none.
    """

    layer: str
    before_CHW: NDArray[np.float32]
    after_CHW: NDArray[np.float32] | None
    activation: str


def network_input(model: TrainedModel, pixels_HWC: NDArray[np.uint8]) -> Tensor:
    """The image (0..255) as input of the network: images_BCHW with one image."""
    normalise = Normaliser(model.mean, model.std, torch.device("cpu"))
    return normalise(np.array(pixels_HWC)[np.newaxis])


def layer_at(network: nn.Module, path: str) -> nn.Module:
    """The layer, or group of layers, with this path, such as `features.3.squeeze`.

    Raises:
        ConfigError: if there is no such layer.
    """
    layers: dict[str, nn.Module] = dict(network.named_modules())
    if path not in layers or not path:
        paths = set(layers) - {""}
        raise ConfigError(
            f"layer {path!r}: the network has none of this name{nearest(path, paths)}"
        )
    return layers[path]


def convolutions(model: TrainedModel) -> tuple[str, ...]:
    """The paths of the convolutions in the order of execution, without those in output layers.

    Convolutions that do not run for a prediction (auxiliary classifiers) are left out.
    """
    inside_heads = tuple(f"{head}." for head in _heads(model))
    ran: dict[nn.Module, None] = {}  # in the order of execution
    paths: dict[nn.Module, str] = {
        layer: path
        for path, layer in model.network.named_modules()
        if isinstance(layer, nn.Conv2d) and not f"{path}.".startswith(inside_heads)
    }
    handles = [
        layer.register_forward_hook(lambda layer, *_: ran.setdefault(layer)) for layer in paths
    ]
    try:
        _run(model, np.zeros((*model.config.data.height_width, model.config.data.channels)))
    finally:
        for handle in handles:
            handle.remove()
    return tuple(paths[layer] for layer in ran)


def filters(model: TrainedModel, layer: str) -> NDArray[np.float32]:
    """filters_OIHW: the weights of a convolution."""
    convolution = layer_at(model.network, layer)
    assert isinstance(convolution, nn.Conv2d)
    weights: NDArray[np.float32] = convolution.weight.detach().numpy()
    return weights


def activation_maps(
    model: TrainedModel, pixels_HWC: NDArray[np.uint8], layer: str
) -> ActivationMaps:
    """The output of a layer for an image, before and after the activation that follows it.

    If a layer runs several times for one image, its first run counts.

    Args:
        model: the model.
        pixels_HWC: the image, 0..255.
        layer: the path of a layer, as listed by `toprung describe`, or of a group of layers.

    Raises:
        ConfigError: if there is no such layer, if it does not run for a prediction, or if its
            output is not maps.
    """
    following = _Following()
    handle = layer_at(model.network, layer).register_forward_hook(following.start)
    try:
        with following:
            _run(model, pixels_HWC)
    finally:
        handle.remove()
    if following.before is None:
        raise ConfigError(f"layer {layer!r}: does not run for a prediction")
    after = following.after
    return ActivationMaps(
        layer,
        _maps(following.before, layer),
        None if after is None else _maps(after, layer),
        following.activation,
    )


class _Following(TorchFunctionMode):
    """Follows the output of a layer to the next activation, whether a module or a function.

    It keeps copies, because activations may work in place.
    """

    before: Tensor | None = None
    after: Tensor | None = None
    activation = ""
    _now: Any = None

    def start(self, _: nn.Module, __: Any, output: Any) -> None:
        """The forward hook of the layer."""
        if self.before is None and isinstance(output, Tensor):
            self.before, self._now = output.clone(), output

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        takes_it = self._now is not None and any(arg is self._now for arg in args)
        output = func(*args, **(kwargs or {}))
        if takes_it and func in _ACTIVATIONS:
            self.after, self.activation = output.clone(), _ACTIVATIONS[func]
            self._now = None
        elif takes_it and func in _BETWEEN:
            self._now = output
        return output


def _maps(output_BCHW: Tensor, layer: str) -> NDArray[np.float32]:
    if output_BCHW.dim() != 4:
        shape = "x".join(map(str, output_BCHW.shape[1:]))
        raise ConfigError(
            f"layer {layer!r}: its output for an image has the shape {shape}; "
            "maps are channels x height x width"
        )
    maps: NDArray[np.float32] = output_BCHW[0].float().numpy()
    return maps


@torch.no_grad()
def _run(model: TrainedModel, pixels_HWC: NDArray[Any]) -> None:
    model.network(network_input(model, pixels_HWC.astype(np.uint8)))


def _heads(model: TrainedModel) -> tuple[str, ...]:
    """The paths of the output layers."""
    config = model.config
    with torch.device("meta"):
        built = build_network(
            config.model, config.image_shape, len(model.class_names), with_weights=False
        )
    return built.heads
