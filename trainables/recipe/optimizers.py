"""Optimizers, each a settings class that builds its torch optimizer.

To add one, add a settings class here, and its name to `Optimizer` below. Torch is imported only
to build one, so that a config can be checked without it.
"""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from toprung.trainables.system.typed_settings import Settings, default_name

if TYPE_CHECKING:
    import torch
    from torch.optim.optimizer import ParamsT

From0Below1 = Annotated[float, Field(ge=0, lt=1)]


class _OptimizerSettings(Settings):
    """The settings of every optimizer.

    `lr` is the head's learning rate; the rate of each network stage is that of the stage above it
    times `stage_lr_decay` (Howard & Ruder, 2018: discriminative fine-tuning).
    """

    lr: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 0.0
    stage_lr_decay: Annotated[float, Field(gt=0, le=1)] = 1.0


class _AdamSettings(_OptimizerSettings):
    torch_class: ClassVar[str]
    has_fused_step: ClassVar[bool] = False
    """Whether torch can update all parameters in one pass over their memory."""

    beta1: From0Below1 = 0.9
    beta2: From0Below1 = 0.999
    epsilon: PositiveFloat = 1e-8

    def build(self, parameters: "ParamsT") -> "torch.optim.Optimizer":
        """Build the torch optimizer for these parameters, or groups of parameters."""
        import torch

        build = getattr(torch.optim, self.torch_class)
        optimizer: torch.optim.Optimizer = build(
            parameters,
            lr=self.lr,
            betas=(self.beta1, self.beta2),
            eps=self.epsilon,
            weight_decay=self.weight_decay,
            **({"fused": True} if self.has_fused_step else {}),
        )
        return optimizer


class Sgd(_OptimizerSettings):
    """Stochastic gradient descent, plain or with (Nesterov's) momentum."""

    name: Literal["sgd"] = "sgd"
    momentum: From0Below1 = 0.0
    nesterov: bool = False

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> "Sgd":
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    def build(self, parameters: "ParamsT") -> "torch.optim.Optimizer":
        """Build the torch optimizer for these parameters, or groups of parameters."""
        import torch

        return torch.optim.SGD(
            parameters,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
        )


class Adam(_AdamSettings):
    """Adam (Kingma & Ba, 2015); weight decay is added to the gradient."""

    name: Literal["adam"] = "adam"
    torch_class = "Adam"
    has_fused_step = True


class AdamW(_AdamSettings):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019)."""

    name: Literal["adamw"] = "adamw"
    torch_class = "AdamW"
    has_fused_step = True


class NAdam(_AdamSettings):
    """Adam with Nesterov momentum (Dozat, 2016)."""

    name: Literal["nadam"] = "nadam"
    torch_class = "NAdam"


class RAdam(_AdamSettings):
    """Rectified Adam (Liu et al., 2020)."""

    name: Literal["radam"] = "radam"
    torch_class = "RAdam"


class RmsProp(_OptimizerSettings):
    """RMSprop (Hinton, 2012), with optional momentum."""

    name: Literal["rmsprop"] = "rmsprop"
    smoothing: From0Below1 = 0.99
    momentum: From0Below1 = 0.0
    epsilon: PositiveFloat = 1e-8

    def build(self, parameters: "ParamsT") -> "torch.optim.Optimizer":
        """Build the torch optimizer for these parameters, or groups of parameters."""
        import torch

        return torch.optim.RMSprop(
            parameters,
            lr=self.lr,
            alpha=self.smoothing,
            momentum=self.momentum,
            eps=self.epsilon,
            weight_decay=self.weight_decay,
        )


Optimizer = Annotated[
    Sgd | Adam | AdamW | NAdam | RAdam | RmsProp,
    Field(discriminator="name"),
    default_name("adamw"),
]
