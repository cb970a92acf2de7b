"""The torch modules of the losses: (outputs, targets) → mean loss over the batch.

Shape letters: B batch, F features, K classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from toprung.trainables.networks.classifier import Outputs

AUXILIARY_WEIGHT = 0.3
"""The weight of auxiliary heads (Szegedy et al., 2015, "Going deeper with convolutions", §5)."""


class CrossEntropyLoss(nn.Module):
    """Cross-entropy of the head, plus that of auxiliary heads with a smaller weight.

    Args:
        label_smoothing: the share of each target that is spread over all classes.
        class_weights: one weight for each class; None for equal weights.
    """

    def __init__(
        self, label_smoothing: float, class_weights: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        weight = None if class_weights is None else torch.tensor(class_weights)
        self.cross_entropy = nn.CrossEntropyLoss(weight, label_smoothing=label_smoothing)

    def forward(self, outputs: Outputs, targets: Tensor) -> Tensor:
        """The loss for class numbers B (int64) or soft targets BK."""
        loss: Tensor = self.cross_entropy(outputs.logits_BK, targets)
        for logits_BK in outputs.auxiliary_logits:
            loss = loss + AUXILIARY_WEIGHT * self.cross_entropy(logits_BK, targets)
        return loss


class CenterLoss(CrossEntropyLoss):
    """Cross-entropy + alpha * center loss (Wen et al., 2016); centers start at 0.

    The features get alpha times the gradient of center loss. The centers get a gradient without
    alpha, with which plain SGD is the paper's update (equation 4): each class's center moves by the
    sum of its images' differences from it, divided by one plus their number.
    """

    def __init__(
        self, label_smoothing: float, alpha: float, num_classes: int, num_features: int
    ) -> None:
        super().__init__(label_smoothing)
        self.alpha = alpha
        self.centers_KF = nn.Parameter(torch.zeros(num_classes, num_features))

    def forward(self, outputs: Outputs, targets: Tensor) -> Tensor:
        """The loss for class numbers B (int64)."""
        features_BF, centers_BF = outputs.features_BF, self.centers_KF[targets]
        counts_B = torch.bincount(targets, minlength=len(self.centers_KF))[targets]
        center_loss = _half_squared(features_BF - centers_BF.detach()).mean()
        moving = (_half_squared(features_BF.detach() - centers_BF) / (1 + counts_B)).sum()
        # A gradient for the centers that adds zero to the loss.
        moving = moving - moving.detach()
        return super().forward(outputs, targets) + self.alpha * center_loss + moving


class TripletLoss(CrossEntropyLoss):
    """Cross-entropy + weight * triplet margin loss of features of length 1 (Schroff et al., 2015).

    The mean is over the triplets that violate the margin; it is 0 if none does.
    """

    def __init__(self, label_smoothing: float, weight: float, margin: float, mining: str) -> None:
        from pytorch_metric_learning import (  # type: ignore[import-untyped]
            distances,
            losses,
            miners,
        )

        super().__init__(label_smoothing)
        self.weight = weight
        distance = distances.LpDistance(normalize_embeddings=True, p=2, power=2)
        self.triplet = losses.TripletMarginLoss(margin, distance=distance)
        self.miner = None
        if mining == "hard":
            self.miner = miners.BatchHardMiner(distance=distance)
        elif mining == "semihard":
            self.miner = miners.TripletMarginMiner(
                margin, type_of_triplets="semihard", distance=distance
            )

    def forward(self, outputs: Outputs, targets: Tensor) -> Tensor:
        """The loss for class numbers B (int64)."""
        mined = self.miner(outputs.features_BF, targets) if self.miner else None
        triplet_loss: Tensor = self.triplet(outputs.features_BF, targets, mined)
        return super().forward(outputs, targets) + self.weight * triplet_loss


def _half_squared(distances_BF: Tensor) -> Tensor:
    return distances_BF.square().sum(1) / 2
