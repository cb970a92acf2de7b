"""Checks of a trial that need its network: whether the parts of its config fit together.

Torch is imported only to build the network.
"""

from typing import TYPE_CHECKING

import numpy as np

from toprung.trainables.networks import freezing
from toprung.trainables.networks.build import build_network
from toprung.trainables.networks.freezing import Assignment
from toprung.trainables.recipe.losses import Center, Triplet
from toprung.trainables.system.typed_settings import ConfigError
from toprung.trainables.training.parameter_groups import parameter_groups

if TYPE_CHECKING:
    from toprung.trainables.config import TrialConfig


def check_network(config: "TrialConfig", num_classes: int) -> Assignment:
    """Check that a trial's freeze policy, loss and optimizer fit its network.

    The network is built on the meta device: without memory, and without its weights.

    Returns:
        Which parameters of the network train, and by which rule of the freeze policy.

    Raises:
        ImpossibleNetworkError: for a network that cannot be built for its images.
        FreezeError: for a freeze policy that does not fit the network.
        ConfigError: for a loss that does not fit the classes or has no effect, or a
            `stage_lr_decay` that has no effect.
    """
    import torch

    with torch.device("meta"):
        classifier = build_network(
            config.model, config.image_shape, num_classes, with_weights=False
        )
        assignment = freezing.resolve(config.model.freeze_policy, classifier.parameter_locations())
        if assignment.trains_ever():  # an SVM never trains: it has no loss and no optimizer
            _check_loss(config, assignment)
            some_images = np.ones(num_classes, dtype=np.int64)
            loss = config.loss.build(num_classes, classifier.num_features, some_images)
            parameter_groups(config, classifier, loss)
    return assignment


def _check_loss(config: "TrialConfig", assignment: Assignment) -> None:
    """Refuse a loss on the features if these never change."""
    below_head = any(
        parameter.trains_from is not None and not parameter.location.in_head
        for parameter in assignment.assigned
    )
    if isinstance(config.loss, Center | Triplet) and not below_head:
        raise ConfigError(
            f"loss/name = {config.loss.name!r} has no effect: it trains the features, but with "
            f"model/freeze_policy = {config.model.freeze_policy!r} nothing below the head ever "
            "trains; use cross_entropy, or another freeze_policy"
        )
