"""Learning-rate schedules, each a settings class that builds its torch scheduler.

`advances` says when the training loop advances the schedule: after every optimizer step or epoch.
If groups of parameters have different learning rates, these stay in proportion; `min_lr` is the
minimum for the optimizer's `lr`, and is scaled in proportion for the other groups.

A schedule that depends on the length of the trial must be a `LambdaLR` or a `MultiplicativeLR`,
whose rates depend on the position alone: the trial may get more epochs later (`set_to_position`).

To add one, add a settings class here, and its name to `LrSchedule` below.
"""

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from toprung.trainables.system.typed_settings import MAX_EPOCHS, Epochs, Settings, default_name

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

Between0And1 = Annotated[float, Field(gt=0, lt=1)]


class Constant(Settings):
    """A constant learning rate."""

    name: Literal["constant"] = "constant"
    advances: ClassVar[str] = "epoch"

    def build(self, optimizer: "Optimizer", steps_per_epoch: int, epochs: int) -> "LRScheduler":
        """Build the torch scheduler for a trial of this length."""
        from torch.optim.lr_scheduler import LambdaLR

        del steps_per_epoch, epochs
        return LambdaLR(optimizer, lambda _: 1.0)


class Step(Settings):
    """Multiply the learning rate by `gamma` every `step_epochs` epochs."""

    name: Literal["step"] = "step"
    step_epochs: Epochs = 10
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    advances: ClassVar[str] = "epoch"

    def build(self, optimizer: "Optimizer", steps_per_epoch: int, epochs: int) -> "LRScheduler":
        """Build the torch scheduler for a trial of this length."""
        from torch.optim.lr_scheduler import StepLR

        del steps_per_epoch, epochs
        return StepLR(optimizer, self.step_epochs, self.gamma)


class Cosine(Settings):
    """Cosine annealing to `min_lr` over the whole trial (Loshchilov & Hutter, 2017)."""

    name: Literal["cosine"] = "cosine"
    min_lr: NonNegativeFloat = 0.0
    advances: ClassVar[str] = "step"

    def build(self, optimizer: "Optimizer", steps_per_epoch: int, epochs: int) -> "LRScheduler":
        """Build the torch scheduler for a trial of this length."""
        from torch.optim.lr_scheduler import MultiplicativeLR

        total = steps_per_epoch * epochs
        floor: float = self.min_lr / optimizer.defaults["lr"]

        def share(step: int) -> float:
            return floor + (1 - floor) * (1 + math.cos(math.pi * step / total)) / 2

        # Like torch's CosineAnnealingLR, except that it has the same minimum for all groups.
        return MultiplicativeLR(optimizer, lambda step: share(step) / share(step - 1))


class OneCycle(Settings):
    """One cycle up to the optimizer's learning rate and down again (Smith & Topin, 2018).

    The momentum is not changed.
    """

    name: Literal["one_cycle"] = "one_cycle"
    warmup_fraction: Between0And1 = 0.3
    initial_division: Annotated[float, Field(gt=1)] = 25.0
    final_division: Annotated[float, Field(gt=1)] = 1e4
    advances: ClassVar[str] = "step"

    def build(self, optimizer: "Optimizer", steps_per_epoch: int, epochs: int) -> "LRScheduler":
        """Build the torch scheduler for a trial of this length."""
        from torch.optim.lr_scheduler import LambdaLR

        total = steps_per_epoch * epochs
        # Like torch's OneCycleLR, which fails if the warm-up is a single step.
        peak = max(1.0, self.warmup_fraction * total - 1)
        first = 1 / self.initial_division
        last = first / self.final_division

        def factor(step: int) -> float:
            if step < peak:
                return _cosine(first, 1.0, step / peak)
            return _cosine(1.0, last, min(1.0, (step - peak) / max(1.0, total - 1 - peak)))

        return LambdaLR(optimizer, factor)


class Cyclic(Settings):
    """Cycles between the fraction `lowest` of the learning rate and all of it (Smith, 2017).

    In each cycle it rises linearly for `half_cycle_epochs`, and then falls for as many.
    """

    name: Literal["cyclic"] = "cyclic"
    lowest: Between0And1 = 0.1
    half_cycle_epochs: PositiveFloat = 1.0
    advances: ClassVar[str] = "step"

    def build(self, optimizer: "Optimizer", steps_per_epoch: int, epochs: int) -> "LRScheduler":
        """Build the torch scheduler for a trial of this length."""
        from torch.optim.lr_scheduler import LambdaLR

        del epochs
        rise = max(1, round(self.half_cycle_epochs * steps_per_epoch))

        def factor(step: int) -> float:
            position = step % (2 * rise) / rise
            return self.lowest + (1 - self.lowest) * min(position, 2 - position)

        return LambdaLR(optimizer, factor)


class WarmupCosine(Settings):
    """Linear warm-up over `warmup_epochs`, then cosine annealing to zero (Goyal et al., 2017)."""

    name: Literal["warmup_cosine"] = "warmup_cosine"
    warmup_epochs: PositiveFloat = 1.0
    advances: ClassVar[str] = "step"

    def build(self, optimizer: "Optimizer", steps_per_epoch: int, epochs: int) -> "LRScheduler":
        """Build the torch scheduler for a trial of this length."""
        from torch.optim.lr_scheduler import LambdaLR

        total = steps_per_epoch * epochs
        warmup = min(max(1, round(self.warmup_epochs * steps_per_epoch)), total)

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return _cosine(1.0, 0.0, (step - warmup) / max(1, total - warmup))

        return LambdaLR(optimizer, factor)


class ReduceOnPlateau(Settings):
    """Multiply the rate by `factor` if the validation loss has not fallen for `patience_epochs`."""

    name: Literal["reduce_on_plateau"] = "reduce_on_plateau"
    factor: Between0And1 = 0.1
    patience_epochs: Annotated[int, Field(ge=0, le=MAX_EPOCHS)] = 3
    min_lr: NonNegativeFloat = 0.0
    advances: ClassVar[str] = "epoch"

    def build(self, optimizer: "Optimizer", steps_per_epoch: int, epochs: int) -> "LRScheduler":
        """Build the torch scheduler for a trial of this length."""
        from torch.optim.lr_scheduler import ReduceLROnPlateau

        del steps_per_epoch, epochs
        lr = optimizer.defaults["lr"]
        floors = [self.min_lr * (group["lr"] / lr) for group in optimizer.param_groups]
        return ReduceLROnPlateau(
            optimizer, factor=self.factor, patience=self.patience_epochs, min_lr=floors
        )


LrSchedule = Annotated[
    Constant | Step | Cosine | OneCycle | Cyclic | WarmupCosine | ReduceOnPlateau,
    Field(discriminator="name"),
    default_name("constant"),
]


def set_to_position(schedule: "LRScheduler") -> None:
    """Set the optimizer's learning rates to those of a restored schedule at its position.

    They differ from the rates restored with the optimizer only if the trial is longer now, and the
    schedule spans the whole trial. `Step`, `Cyclic` and `ReduceOnPlateau` do not depend on the
    trial's length.
    """
    from torch.optim.lr_scheduler import LambdaLR, MultiplicativeLR

    if not isinstance(schedule, LambdaLR | MultiplicativeLR):
        return
    position, groups = schedule.last_epoch, schedule.optimizer.param_groups
    for group, base_lr, factor in zip(groups, schedule.base_lrs, schedule.lr_lambdas, strict=True):
        if isinstance(schedule, LambdaLR):
            group["lr"] = base_lr * factor(position)
        else:
            group["lr"] = math.prod(map(factor, range(1, position + 1)), start=base_lr)


def _cosine(start: float, end: float, progress: float) -> float:
    """Half a cosine wave from `start` (progress 0) to `end` (progress 1)."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * progress))
