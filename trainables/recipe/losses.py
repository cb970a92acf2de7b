"""Training losses, each a settings class that builds its torch module.

To add one, add a settings class here, its module in `loss_modules`, and its name to `Loss` below.

Validation and test losses are always plain cross-entropy, so that trials with different training
losses are comparable. Shape letters: B batch, F features, K classes.
"""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat

from toprung.trainables.system.typed_settings import ConfigError, Settings, default_name

if TYPE_CHECKING:
    from torch import nn


class _LossSettings(Settings):
    """A loss that includes cross-entropy.

    * `label_smoothing`: the share of each target that is spread over all classes (Szegedy et al.,
      2016).

    Attributes:
        takes_soft_targets: whether a target may be shares of several classes, as mixing produces.
    """

    takes_soft_targets: ClassVar[bool] = False

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @property
    def own_lr(self) -> float | None:
        """The learning rate of the loss's own parameters; None if it has none."""
        return None

    def build(
        self, num_classes: int, num_features: int, class_counts: NDArray[np.int64]
    ) -> "nn.Module":
        """Build the module: (outputs, targets) → mean loss over the batch.

        The outputs are a classifier's `Outputs`; the targets are class numbers B (int64), or soft
        targets BK if the loss `takes_soft_targets`.

        Args:
            num_classes: K.
            num_features: F, the number of features that the head takes.
            class_counts: the number of training images of each class, K.

        Raises:
            ConfigError: for class weights that do not fit the classes of the data.
        """
        raise NotImplementedError


class CrossEntropy(_LossSettings):
    """Cross-entropy.

    * `class_weights`: the weight of each class's images: `none` for equal weights; `balanced`,
      n / (K * n_k) for n training images, n_k of them in the class, as in scikit-learn; or one
      number for each class.
    """

    takes_soft_targets = True

    name: Literal["cross_entropy"] = "cross_entropy"
    class_weights: Literal["none", "balanced"] | tuple[PositiveFloat, ...] = "none"

    def build(
        self,
        num_classes: int,
        num_features: int,  # noqa: ARG002
        class_counts: NDArray[np.int64],
    ) -> "nn.Module":
        """Build the module; see `_LossSettings.build`."""
        from toprung.trainables.recipe.loss_modules import CrossEntropyLoss

        return CrossEntropyLoss(self.label_smoothing, self._weights(num_classes, class_counts))

    def _weights(
        self, num_classes: int, class_counts: NDArray[np.int64]
    ) -> tuple[float, ...] | None:
        if self.class_weights == "none":
            return None
        if self.class_weights == "balanced":
            if (empty := np.flatnonzero(class_counts == 0)).size:
                raise ConfigError(
                    f"loss/class_weights = 'balanced': class {empty[0]} has no training images"
                )
            return tuple((class_counts.sum() / (num_classes * class_counts)).tolist())
        if len(self.class_weights) != num_classes:
            raise ConfigError(
                f"loss/class_weights has {len(self.class_weights)} weights, "
                f"but the data has {num_classes} classes"
            )
        return self.class_weights


class Center(_LossSettings):
    """Cross-entropy + `alpha` * center loss (Wen et al., 2016).

    Center loss is half the squared distance of the features from the center of their class.

    * `center_lr`: the learning rate of the centers, which the trial's optimizer trains too. SGD
      without momentum follows the paper's rule; the paper uses .5. Optimizers of Adam's family
      divide a gradient by its own size, so each coordinate of a center moves by about `center_lr`
      a step, however far away the features are.
    """

    name: Literal["center"] = "center"
    alpha: NonNegativeFloat = 0.003
    center_lr: PositiveFloat = 0.05

    @property
    def own_lr(self) -> float:
        """The learning rate of the centers."""
        return self.center_lr

    def build(
        self,
        num_classes: int,
        num_features: int,
        class_counts: NDArray[np.int64],  # noqa: ARG002
    ) -> "nn.Module":
        """Build the module; see `_LossSettings.build`."""
        from toprung.trainables.recipe.loss_modules import CenterLoss

        return CenterLoss(self.label_smoothing, self.alpha, num_classes, num_features)


class Triplet(_LossSettings):
    """Cross-entropy + `weight` * triplet loss of features of length 1 (Schroff et al., 2015).

    An anchor should be closer to an image of its own class than to one of another class, by
    `margin` in squared distance (0 to 4).

    * `mining`: which triplets of a batch are used: `all`; `hard`, for each anchor the farthest
      image of its class and the nearest of the others (Hermans et al., 2017); or `semihard`, the
      triplets in the right order by less than the margin.
    """

    name: Literal["triplet"] = "triplet"
    weight: NonNegativeFloat = 1.0
    margin: PositiveFloat = 0.2
    mining: Literal["all", "hard", "semihard"] = "all"

    def build(
        self,
        num_classes: int,  # noqa: ARG002
        num_features: int,  # noqa: ARG002
        class_counts: NDArray[np.int64],  # noqa: ARG002
    ) -> "nn.Module":
        """Build the module; see `_LossSettings.build`."""
        from toprung.trainables.recipe.loss_modules import TripletLoss

        return TripletLoss(self.label_smoothing, self.weight, self.margin, self.mining)


Loss = Annotated[
    CrossEntropy | Center | Triplet, Field(discriminator="name"), default_name("cross_entropy")
]
