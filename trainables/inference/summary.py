"""A summary of a model: its layers with output shapes, parameters and multiply-accumulates."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Layer:
    """One layer: its path in the model, type, output shape (without the batch), parameter count."""

    name: str
    type: str
    output_shape: tuple[int, ...]
    num_parameters: int


@dataclass(frozen=True)
class Summary:
    """A model's layers, its parameter counts, and its multiply-accumulates for one image."""

    layers: tuple[Layer, ...]
    num_parameters: int
    num_trainable: int
    num_multiply_accumulates: int


def summarise(network: nn.Module, input_shape: tuple[int, int, int]) -> Summary:
    """Summarise a network on the meta device, which takes neither memory nor arithmetic.

    Multiply-accumulates are those of convolutions and matrix products, as torch counts them.
    """
    layers: list[Layer] = []

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(
            module: nn.Module, _: tuple[Tensor, ...], output: Tensor | tuple[Tensor, ...]
        ) -> None:
            parameters = sum(p.numel() for p in module.parameters(recurse=False))
            main = output if isinstance(output, Tensor) else output[0]  # attention: a tuple
            shape = tuple(main.shape[1:])
            layers.append(Layer(name, type(module).__name__, shape, parameters))

        return hook

    network.eval()
    image = torch.empty(1, *input_shape, device="meta")
    for name, module in network.named_modules():
        if _is_layer(module):
            module.register_forward_hook(note(name))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    return Summary(
        layers=tuple(layers),
        num_parameters=sum(p.numel() for p in network.parameters()),
        num_trainable=sum(p.numel() for p in network.parameters() if p.requires_grad),
        num_multiply_accumulates=counter.get_total_flops() // 2,
    )


def _is_layer(module: nn.Module) -> bool:
    """Whether the module has parameters of its own, or no children, like a pooling layer."""
    has_own = any(True for _ in module.parameters(recurse=False))
    return has_own or not (any(module.children()) or isinstance(module, nn.Sequential))
