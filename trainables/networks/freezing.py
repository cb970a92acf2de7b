"""A freeze policy carried out on a network: which rule caught what, and what trains when.

Needs torch only where it is given a network.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toprung.trainables.networks.freeze_policies import Policy, Rule, rules_of
from toprung.trainables.networks.parameter_locations import Place

if TYPE_CHECKING:
    from torch import nn

    from toprung.trainables.networks.classifier import Classifier


class FreezeError(ValueError):
    """A freeze policy that does not fit the network; the message says which rule, and why."""


@dataclass(frozen=True)
class Caught:
    """A parameter, the rule that caught it, and the epoch (from 0) from which it trains."""

    place: Place
    rule: Rule
    trains_from: int | None


@dataclass(frozen=True)
class StageRow:
    """How many numbers a stage holds, how many of them train at some epoch, and by which rules."""

    stage: str
    num_values: int
    num_trainable: int
    rules: tuple[str, ...]


@dataclass(frozen=True)
class Assignment:
    """Every parameter of a network, each caught by one rule."""

    caught: tuple[Caught, ...]

    def trains_ever(self) -> set[str]:
        """The names of the parameters that train at some epoch."""
        return {c.place.name for c in self.caught if c.trains_from is not None}

    def trains_at(self, epoch: int) -> set[str]:
        """The names of the parameters that train at this epoch, from 0."""
        return {
            c.place.name
            for c in self.caught
            if c.trains_from is not None and c.trains_from <= epoch
        }

    def lines(self) -> list[str]:
        """For each rule a line: what it caught, whether that trains, how much it is, and where."""
        return [_line(rule, found) for rule, found in _grouped(self.caught, lambda c: c.rule)]

    def stages(self) -> list[StageRow]:
        """For each stage a row, from input to output."""
        return [_row(stage, found) for stage, found in _grouped(self.caught, _stage)]


def resolve(policy: str, places: Sequence[Place]) -> Assignment:
    """Let the rules of a policy catch the parameters of a network, each the first that does.

    Raises:
        FreezeError: if a rule but the last catches nothing, as the network has no such layers or
            stage; if a policy freezes nothing or everything without saying so; or if it freezes
            everything and the network has a head to train.
    """
    rules = rules_of(policy)
    head_depth = max(place.depth for place in places)
    caught = []
    for place in places:
        rule = next(rule for rule in rules if rule.catches(place))
        waits = rule.epochs_per_stage * (head_depth - place.depth)
        caught.append(Caught(place, rule, waits if rule.trains else None))
    if reason := _misfit(rules, caught):
        raise FreezeError(
            f"freeze_policy = {policy!r} does not fit this network: {reason}. {_parts(places)}"
        )
    return Assignment(tuple(caught))


def apply(policy: str, classifier: "Classifier", epoch: int) -> None:
    """Let those parameters have a gradient that train at this epoch, from 0, and no others.

    Raises:
        FreezeError: as `resolve`.
    """
    trains = resolve(policy, classifier.places()).trains_at(epoch)
    for name, parameter in classifier.network.named_parameters():
        parameter.requires_grad_(name in trains)


def train_mode(classifier: "Classifier") -> None:
    """Put the network into training mode, except for frozen batch norms and stochastic depth.

    They are frozen if all their parameters are; without parameters, if all those of the nearest
    module around them are. A frozen batch norm keeps its running statistics, and normalises by
    them. Stochastic depth (Huang et al., 2016) regularises the block that it drops; a frozen block
    is never dropped. Dropout works for the layers that come after it, so it drops everywhere.
    """
    from torch.nn.modules.batchnorm import _BatchNorm

    network = classifier.network.train()
    for path, module in network.named_modules():
        if isinstance(module, _BatchNorm) or _is_stochastic_depth(module):
            module.train(_trains(network, path))


def _is_stochastic_depth(module: "nn.Module") -> bool:
    """Told by its name, as importing torchvision takes seconds."""
    return type(module).__name__ == "StochasticDepth"


def _trains(network: "nn.Module", path: str) -> bool:
    """Whether a parameter of this module trains, or of the nearest one around it that has any."""
    parameters = list(network.get_submodule(path).parameters())
    if not parameters and path:
        return _trains(network, path.rpartition(".")[0])
    return any(parameter.requires_grad for parameter in parameters)


def _misfit(rules: Policy, caught: Sequence[Caught]) -> str | None:
    """Why these rules do not fit the network whose parameters they caught; None if they do."""
    for rule in rules[:-1]:
        if all(c.rule is not rule for c in caught):
            return f"nothing in it is caught by the rule {_told(rule)!r}"
    says_so = len(rules) == 1
    if all(c.trains_from == 0 for c in caught) and not says_so:
        return "nothing of it would be frozen; if that is meant, choose 'nothing_frozen'"
    has_head = any(c.place.in_head for c in caught)
    if all(c.trains_from is None for c in caught) and (has_head or not says_so):
        return "nothing of it would train; only an SVM is not trained, and says 'nothing_trains'"
    return None


def _parts(places: Sequence[Place]) -> str:
    """What of the network a policy can speak of."""
    layers = Counter(place.layer for place in places)
    layers_told = ", ".join(f"{layer} ({count} parameters)" for layer, count in layers.items())
    has_downsampling = any(place.downsampling for place in places)
    downsampling = "" if has_downsampling else "; no downsampling layers known in this network"
    stages = ", ".join(dict.fromkeys(place.stage for place in places))
    names = ", ".join(place.name for place in places[:2])
    stages = f"{stages}; its parameters: {names} …"
    return f"Its layers: {layers_told}{downsampling}; its stages: {stages}"


def _line(rule: Rule, caught: Sequence[Caught]) -> str:
    num_values = sum(c.place.num_values for c in caught)
    stages = ", ".join(dict.fromkeys(c.place.stage for c in caught))
    return f"{_told(rule)}: {len(caught)} parameters with {num_values:,} values, in {stages}"


def _row(stage: str, caught: Sequence[Caught]) -> StageRow:
    return StageRow(
        stage,
        sum(c.place.num_values for c in caught),
        sum(c.place.num_values for c in caught if c.trains_from is not None),
        tuple(dict.fromkeys(_told(c.rule, c.trains_from) for c in caught)),
    )


def _told(rule: Rule, trains_from: int | None = None) -> str:
    """The rule with what it does, such as `convolutions frozen`."""
    if not rule.trains:
        return f"{rule.name} frozen"
    if trains_from:
        return f"{rule.name} trains after {trains_from} epochs"
    pace = f", one more every {rule.epochs_per_stage} epochs" if rule.epochs_per_stage else ""
    return f"{rule.name} trains{pace}"


def _stage(caught: Caught) -> str:
    return caught.place.stage


def _grouped(
    caught: Iterable[Caught], key: Callable[[Caught], Any]
) -> list[tuple[Any, list[Caught]]]:
    groups: dict[Any, list[Caught]] = {}
    for one in caught:
        groups.setdefault(key(one), []).append(one)
    return list(groups.items())
