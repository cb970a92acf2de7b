"""The parameters that an optimizer trains, in groups, each with its own learning rate."""

from typing import TYPE_CHECKING, Any

from toprung.trainables.networks.freezing import resolve
from toprung.trainables.system.typed_settings import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from toprung.trainables.config import TrialConfig
    from toprung.trainables.networks.classifier import Classifier

Group = dict[str, Any]


def parameter_groups(
    config: "TrialConfig", classifier: "Classifier", loss: "nn.Module"
) -> list[Group]:
    """Group the parameters of the network that ever train, and those of the loss (its centers).

    Without `stage_lr_decay` the network is one group. With it each network stage is a group, from
    the head down, and its learning rate is that of the stage above it times the decay; frozen
    stages count too. The last group holds the loss's own parameters.

    Raises:
        FreezeError: for a freeze policy that does not fit the network.
        ConfigError: for a `stage_lr_decay` without effect, because only one stage ever trains.
    """
    optimizer = config.optimizer
    policy = config.model.freeze_policy
    stages = _trained_by_height(policy, classifier)
    if optimizer.stage_lr_decay != 1 and len(stages) == 1:
        raise ConfigError(
            f"optimizer/stage_lr_decay = {optimizer.stage_lr_decay:g} has no effect: with "
            f"model/freeze_policy = {policy!r} only one stage of the network ever trains"
        )
    if optimizer.stage_lr_decay == 1:
        trained = {name for names in stages.values() for name in names}
        groups: list[Group] = [{"params": _named(classifier, trained)}]
    else:
        groups = [
            {
                "params": _named(classifier, names),
                "lr": optimizer.lr * optimizer.stage_lr_decay**height,
            }
            for height, names in sorted(stages.items())
        ]
    return [*groups, *_loss_groups(config, loss)]


def _trained_by_height(policy: str, classifier: "Classifier") -> dict[int, set[str]]:
    """The names of the parameters that ever train, by their stage's height: 0 for the head."""
    locations = classifier.parameter_locations()
    trained = resolve(policy, locations).trains_ever()
    stages: dict[int, set[str]] = {}
    for location in locations:
        if location.name in trained:
            height = len(classifier.stages) - location.depth
            stages.setdefault(height, set()).add(location.name)
    return stages


def _named(classifier: "Classifier", names: set[str]) -> list["nn.Parameter"]:
    """The parameters with these names, in the network's own order."""
    return [p for name, p in classifier.network.named_parameters() if name in names]


def _loss_groups(config: "TrialConfig", loss: "nn.Module") -> list[Group]:
    parameters = list(loss.parameters())
    if not parameters:
        return []
    return [{"params": parameters, "lr": config.loss.own_lr, "weight_decay": 0.0}]
