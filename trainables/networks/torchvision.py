"""Building torchvision's classifiers, with pretrained or random weights and a new head.

Shape letters: B batch, C channels, H height, W width, K classes.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torchvision import models
from torchvision.models.vision_transformer import interpolate_embeddings

from toprung.trainables.data.settings import IMAGENET_MEAN, IMAGENET_STD
from toprung.trainables.networks.classifier import Classifier
from toprung.trainables.networks.cnn import ACTIVATIONS
from toprung.trainables.networks.stages import find_stages
from toprung.trainables.networks.torchvision_settings import TorchvisionSettings
from toprung.trainables.pretrained.weights import load_state, read_state
from toprung.trainables.system.typed_settings import ConfigError

_IMAGENET_CLASSES = 1000
_AUXILIARY = ("aux1", "aux2", "AuxLogits")
"""torchvision's names of the auxiliary classifiers of GoogLeNet and Inception."""
_INCEPTION_AUXILIARY_SIZE = 299
"""Inception's auxiliary classifier does not work on smaller images."""
_POSITIONS = "encoder.pos_embedding"


def build(
    settings: TorchvisionSettings,
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    with_weights: bool,
) -> Classifier:
    """Build the network (see `build_network`) with its output layers replaced.

    Its input is normalised with ImageNet's mean and standard deviation; a network whose weights
    were trained with another normalisation gets a hook that renormalises. As in torchvision,
    Inception has its auxiliary classifier, and GoogLeNet has its own only without pretrained
    weights; but Inception has none for images below 299x299, on which it does not work.

    SqueezeNet's ReLU after its output layer is removed: a new head would get no gradient for
    classes whose logits start below zero. (Head only on 1,688 cartoons of PACS, best of 6 epochs:
    .76 validation accuracy with it, .83 without.)

    Of torchvision's own weights everything but the output layers is loaded: the head is always new.
    A user's file is loaded whole, with its head, if its number of classes is that of the data; if
    it has ImageNet's 1000 classes and the data has another number, the head is new too.
    """
    settings.check_shape(image_shape, num_classes)
    gets_weights = with_weights and settings.is_pretrained
    network = _torchvision_network(settings, image_shape, initialised=not gets_weights)
    main, *auxiliary = heads = _heads(network)
    state = _state(settings, network) if with_weights else None
    gets_new_head = state is not None and _gets_new_head(settings, state, main, num_classes)
    if state is not None and gets_new_head:
        load_state(network, state, settings.weights)
    _replace(network, main, lambda old: _head(settings, old, num_classes))
    _leave_out_activation_after(network, main)
    for path in auxiliary:
        _replace(network, path, lambda old: _layer(settings, old, _num_inputs(old), num_classes))
    if state is not None and not gets_new_head:
        load_state(network, state, settings.weights)
    _adapt_input(network, settings, image_shape[0])
    return Classifier(network, heads, find_stages(network, heads))


class _NumbersOnCpu(TorchFunctionMode):
    """Creates tensors on the CPU, not on the meta device: RegNet computes its widths from some."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.arange, torch.tensor):
            kwargs = {"device": "cpu"} | kwargs
        return func(*args, **kwargs)


def _torchvision_network(
    settings: TorchvisionSettings, image_shape: tuple[int, int, int], *, initialised: bool
) -> nn.Module:
    """Build torchvision's network for ImageNet's classes.

    Args:
        settings: the network's settings.
        image_shape: (C, H, W) of the images.
        initialised: with random weights; False leaves the memory as it is, which is faster.
    """
    _, height, width = image_shape
    name = settings.architecture
    options: dict[str, Any] = {}
    if name.startswith("vit_"):
        options = {"image_size": height}
    elif name.startswith("maxvit_"):
        options = {"input_size": (height, width)}
    elif name in ("googlenet", "inception_v3"):
        fits = name == "googlenet" or min(height, width) >= _INCEPTION_AUXILIARY_SIZE
        options = {
            "aux_logits": fits and not (name == "googlenet" and settings.is_pretrained),
            "transform_input": settings.is_pretrained,
            "init_weights": not settings.is_pretrained,
        }
    device = torch.get_default_device()
    with device if initialised else torch.device("meta"), _NumbersOnCpu():
        network: nn.Module = models.get_model(name, **options)
    return network.to(device) if initialised else network.to_empty(device=device)


def _heads(network: nn.Module) -> tuple[str, ...]:
    """The paths of the output layers: the network's last one, then the auxiliary ones."""
    paths = [
        path
        for path, layer in network.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d) and layer.weight.shape[0] == _IMAGENET_CLASSES
    ]
    return paths[-1], *paths[:-1]


def _state(settings: TorchvisionSettings, network: nn.Module) -> dict[str, Tensor] | None:
    """The state dict of the weights, adapted to the image size; None for random weights."""
    file = settings.fetch_weights()
    if file is None:
        return None
    state = read_state(file)
    for name in _AUXILIARY:
        if getattr(network, name, network) is None:
            for key in [key for key in state if key.startswith(f"{name}.")]:
                del state[key]  # as torchvision does for GoogLeNet
    if isinstance(network, models.VisionTransformer) and _POSITIONS in state:
        try:
            interpolate_embeddings(network.image_size, network.patch_size, state)
        except ValueError as error:
            raise ConfigError(f"weights {settings.weights}: {error}") from None
    return state


def _gets_new_head(
    settings: TorchvisionSettings, state: dict[str, Tensor], head: str, num_classes: int
) -> bool:
    """Whether the weights have a head for ImageNet's classes that is not to be loaded."""
    is_plain = settings.head_hidden is None and not settings.head_dropout
    if settings.weights_file and is_plain and num_classes == _IMAGENET_CLASSES:
        return False
    weight = state.get(f"{head}.weight")
    return weight is not None and weight.shape[0] == _IMAGENET_CLASSES


def _leave_out_activation_after(network: nn.Module, head: str) -> None:
    container_path, _, name = head.rpartition(".")
    container = network.get_submodule(container_path)
    if isinstance(container, nn.Sequential):
        children = list(container.named_children())
        for after, layer in children[[path for path, _ in children].index(name) + 1 :]:
            if isinstance(layer, nn.ReLU):
                container.set_submodule(after, nn.Identity())


def _replace(network: nn.Module, path: str, make: Callable[[nn.Module], nn.Module]) -> None:
    network.set_submodule(path, make(network.get_submodule(path)), strict=True)


def _head(settings: TorchvisionSettings, old: nn.Module, num_classes: int) -> nn.Module:
    """The new head that replaces an output layer."""
    dropout = nn.Dropout(settings.head_dropout)
    if settings.head_hidden is None:
        output = _layer(settings, old, _num_inputs(old), num_classes)
        return nn.Sequential(dropout, output) if settings.head_dropout else output
    return nn.Sequential(
        _layer(settings, old, _num_inputs(old), settings.head_hidden),
        ACTIVATIONS[settings.head_activation](),
        dropout,
        _layer(settings, old, settings.head_hidden, num_classes),
    )


def _layer(
    settings: TorchvisionSettings, old: nn.Module, num_inputs: int, num_outputs: int
) -> nn.Module:
    """A layer of the same kind as the old one: linear, or a 1x1 convolution (SqueezeNet)."""
    has_bias = old.bias is not None
    layer = (
        nn.Conv2d(num_inputs, num_outputs, 1, bias=has_bias)
        if isinstance(old, nn.Conv2d)
        else nn.Linear(num_inputs, num_outputs, bias=has_bias)
    )
    if settings.head_initialisation == "xavier":
        nn.init.xavier_normal_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return layer


def _num_inputs(layer: nn.Module) -> int:
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    return layer.weight.shape[1]


def _adapt_input(network: nn.Module, settings: TorchvisionSettings, channels: int) -> None:
    """Add hooks for greyscale images, and for weights with another normalisation."""
    weights = settings.offered_weights
    if channels == 1:
        network.register_forward_pre_hook(_grey_to_three_channels)
    if weights and (weights.mean, weights.std) != (IMAGENET_MEAN, IMAGENET_STD):
        network.register_forward_pre_hook(partial(_renormalise, mean=weights.mean, std=weights.std))


def _grey_to_three_channels(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    return (inputs[0].expand(-1, len(IMAGENET_MEAN), -1, -1),)


def _renormalise(
    _: nn.Module, inputs: tuple[Tensor], mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[Tensor]:
    """From ImageNet's mean and standard deviation of each channel to others."""
    images_BCHW = inputs[0]

    def per_channel(values: tuple[float, ...]) -> Tensor:
        return images_BCHW.new_tensor(values)[:, None, None]

    pixels_BCHW = images_BCHW * per_channel(IMAGENET_STD) + per_channel(IMAGENET_MEAN)
    return ((pixels_BCHW - per_channel(mean)) / per_channel(std),)
