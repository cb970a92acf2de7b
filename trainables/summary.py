"""What a model is made of: its layers with output shapes, parameters, multiply-accumulates."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Layer:
    """One layer: its path in the model, type, output shape (without the batch), parameters."""

    name: str
    type: str
    output_shape: tuple[int, ...]
    num_parameters: int


@dataclass(frozen=True)
class Summary:
    """A model's layers, and what it costs for one image."""

    layers: tuple[Layer, ...]
    num_parameters: int
    num_trainable: int
    num_multiply_accumulates: int


def summarise(build: Callable[[], nn.Module], input_shape: tuple[int, int, int]) -> Summary:
    """Look at the model that `build` makes, without memory or arithmetic for its weights.

    Multiply-accumulates are those of convolutions and matrix products, as torch counts them.
    """
    layers: list[Layer] = []

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
            parameters = sum(p.numel() for p in module.parameters())
            shape = tuple(output.shape[1:])
            layers.append(Layer(name, type(module).__name__, shape, parameters))

        return hook

    with torch.device("meta"):
        model = build().eval()
        image = torch.empty(1, *input_shape)
    for name, module in model.named_modules():
        if not any(module.children()) and not _is_empty_container(module):
            module.register_forward_hook(note(name))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    return Summary(
        layers=tuple(layers),
        num_parameters=sum(p.numel() for p in model.parameters()),
        num_trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        num_multiply_accumulates=counter.get_total_flops() // 2,
    )


def _is_empty_container(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and len(module) == 0
