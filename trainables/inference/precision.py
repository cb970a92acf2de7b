"""The precision in which a network computes, and the memory layout of its tensors."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn

from toprung.trainables.networks.classifier import Outputs
from toprung.trainables.system.typed_settings import ConfigError


@dataclass(frozen=True)
class Precision:
    """The precision of a network: `fp32`, or `bf16` for the operations where that is exact enough.

    Weights, optimizer, loss and metrics are float32 in both. With bf16, torch's autocast lets
    convolutions and matrix products compute in bfloat16, which has float32's range, so that
    gradients need no scaling (Kalamkar et al., 2019, "A study of BFLOAT16 for deep learning
    training"). With fp32 torch's defaults apply: on a GPU, convolutions may use TF32.
    """

    name: Literal["fp32", "bf16"]
    device: torch.device

    def autocast(self) -> AbstractContextManager[object]:
        """A context in which forward passes compute in this precision."""
        if self.name == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    @property
    def channels_last(self) -> bool:
        """Whether images and weights are stored in memory with their channels last.

        This makes convolutions faster on a CPU in both precisions, and on a GPU in bf16.
        """
        return self.device.type == "cpu" or self.name == "bf16"

    def place(self, network: nn.Module) -> None:
        """Move a network to the device, in the memory layout that is fast there."""
        layout = torch.channels_last if self.channels_last else torch.preserve_format
        network.to(self.device, memory_format=layout)  # type: ignore[call-overload]


def in_float32(outputs: Outputs) -> Outputs:
    """The outputs, with the logits in float32: what the loss is computed from."""
    return replace(
        outputs,
        logits_BK=outputs.logits_BK.float(),
        auxiliary_logits=tuple(logits_BK.float() for logits_BK in outputs.auxiliary_logits),
    )


def resolve(asked: str, device: torch.device, network: nn.Module) -> Precision:
    """Resolve `training/precision` for a network on a device.

    `auto` is bf16 if the hardware computes in bfloat16, and fp32 otherwise. On a CPU it is fp32 for
    networks with depthwise convolutions (MobileNet, EfficientNet, ShuffleNet), which are slower in
    bf16 there: MNASNet takes twice as long.

    Raises:
        ConfigError: for bf16 on hardware that does not compute in it.
    """
    if asked == "fp32":
        return Precision("fp32", device)
    has_it = has_bf16(device)
    if asked == "bf16" and not has_it:
        raise ConfigError(
            f"training/precision = 'bf16': this machine's {device.type} does not compute in "
            "bfloat16; choose fp32, or auto, which uses bf16 only where the hardware has it"
        )
    slow = device.type == "cpu" and asked == "auto" and _is_depthwise(network)
    return Precision("bf16" if has_it and not slow else "fp32", device)


def has_bf16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16, rather than emulating it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not hasattr(torch.cpu, "get_capabilities"):  # torch 2.9
        return bool(torch.cpu._is_avx512_bf16_supported())
    can = torch.cpu.get_capabilities()
    return bool(can.get("avx512_bf16") or can.get("amx_bf16"))


def _is_depthwise(network: nn.Module) -> bool:
    """Whether a network has depthwise convolutions."""
    return any(
        isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1
        for module in network.modules()
    )
