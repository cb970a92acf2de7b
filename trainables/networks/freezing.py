"""Applying a freeze policy to a network: which rule matches which parameter, and when it trains.

Only the functions that take a network need torch.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toprung.trainables.networks.freeze_policies import Policy, Rule, rules_of
from toprung.trainables.networks.parameter_locations import ParameterLocation

if TYPE_CHECKING:
    from torch import nn

    from toprung.trainables.networks.classifier import Classifier


class FreezeError(ValueError):
    """A freeze policy that does not fit the network; the message says which rule, and why."""


@dataclass(frozen=True)
class AssignedParameter:
    """A parameter, the rule that decides about it, and when it trains.

    Attributes:
        location: where in the network the parameter is.
        rule: the first rule that matches it.
        trains_from: the epoch (from 0) from which it trains; None if it never does.
    """

    location: ParameterLocation
    rule: Rule
    trains_from: int | None


@dataclass(frozen=True)
class StageRow:
    """How many values a stage holds, how many of them ever train, and by which rules."""

    stage: str
    num_values: int
    num_trainable: int
    rules: tuple[str, ...]


@dataclass(frozen=True)
class Assignment:
    """Every parameter of a network, each with the rule that decides about it."""

    assigned: tuple[AssignedParameter, ...]

    def trains_ever(self) -> set[str]:
        """The names of the parameters that train at some epoch."""
        return {a.location.name for a in self.assigned if a.trains_from is not None}

    def trains_at(self, epoch: int) -> set[str]:
        """The names of the parameters that train at this epoch, from 0."""
        return {
            a.location.name
            for a in self.assigned
            if a.trains_from is not None and a.trains_from <= epoch
        }

    def lines(self) -> list[str]:
        """One line for each rule: what it matches, whether that trains, how much, and where."""
        return [_line(rule, found) for rule, found in _grouped(self.assigned, lambda a: a.rule)]

    def stages(self) -> list[StageRow]:
        """One row for each stage of the network, from input to output."""
        return [_row(stage, found) for stage, found in _grouped(self.assigned, _stage)]


def resolve(policy: str, locations: Sequence[ParameterLocation]) -> Assignment:
    """Assign each parameter of a network to the first rule of a policy that matches it.

    Raises:
        FreezeError: if a rule other than the last matches nothing, because the network has no such
            layers or stage; if a policy freezes nothing or everything without saying so in its
            name; or if it freezes everything although the network has a head to train.
    """
    rules = rules_of(policy)
    head_depth = max(location.depth for location in locations)
    assigned = []
    for location in locations:
        rule = next(rule for rule in rules if rule.matches(location))
        waits = rule.epochs_per_stage * (head_depth - location.depth)
        assigned.append(AssignedParameter(location, rule, waits if rule.trains else None))
    if reason := _misfit(rules, assigned):
        raise FreezeError(
            f"freeze_policy = {policy!r} does not fit this network: {reason}. {_parts(locations)}"
        )
    return Assignment(tuple(assigned))


def apply(policy: str, classifier: "Classifier", epoch: int) -> None:
    """Set `requires_grad` of the parameters that train at this epoch (from 0), and clear the rest.

    Raises:
        FreezeError: see `resolve`.
    """
    trains = resolve(policy, classifier.parameter_locations()).trains_at(epoch)
    for name, parameter in classifier.network.named_parameters():
        parameter.requires_grad_(name in trains)


def train_mode(classifier: "Classifier") -> None:
    """Put the network into training mode, except for frozen batch norms and stochastic depth.

    Such a module is frozen if all its parameters are; one without parameters, if all parameters of
    the nearest module around it are. A frozen batch norm keeps its running statistics, and
    normalises by them. Stochastic depth (Huang et al., 2016) regularises the block that it drops; a
    frozen block is never dropped. Dropout regularises the layers after it, so it is always active.
    """
    from torch.nn.modules.batchnorm import _BatchNorm

    network = classifier.network.train()
    for path, module in network.named_modules():
        if isinstance(module, _BatchNorm) or _is_stochastic_depth(module):
            module.train(_trains(network, path))


def _is_stochastic_depth(module: "nn.Module") -> bool:
    """Whether the module is torchvision's; by name, because importing torchvision takes seconds."""
    return type(module).__name__ == "StochasticDepth"


def _trains(network: "nn.Module", path: str) -> bool:
    """Whether a parameter of this module trains; if it has none, of the nearest one around it."""
    parameters = list(network.get_submodule(path).parameters())
    if not parameters and path:
        return _trains(network, path.rpartition(".")[0])
    return any(parameter.requires_grad for parameter in parameters)


def _misfit(rules: Policy, assigned: Sequence[AssignedParameter]) -> str | None:
    """Why these rules do not fit the network; None if they do."""
    for rule in rules[:-1]:
        if all(a.rule is not rule for a in assigned):
            return f"no parameter matches the rule {_description(rule)!r}"
    says_so = len(rules) == 1
    if all(a.trains_from == 0 for a in assigned) and not says_so:
        return "no parameter would be frozen; if that is intended, choose 'nothing_frozen'"
    has_head = any(a.location.in_head for a in assigned)
    if all(a.trains_from is None for a in assigned) and (has_head or not says_so):
        return "no parameter would train; 'nothing_trains' is for an SVM only"
    return None


def _parts(locations: Sequence[ParameterLocation]) -> str:
    """The layers, stages and parameter names that a policy can refer to in this network."""
    layers = Counter(location.layer for location in locations)
    layers_text = ", ".join(f"{layer} ({count} parameters)" for layer, count in layers.items())
    has_downsampling = any(location.downsampling for location in locations)
    downsampling = "" if has_downsampling else "; no downsampling layers known in this network"
    stages = ", ".join(dict.fromkeys(location.stage for location in locations))
    names = ", ".join(location.name for location in locations[:2])
    stages = f"{stages}; its parameters: {names} …"
    return f"Its layers: {layers_text}{downsampling}; its stages: {stages}"


def _line(rule: Rule, assigned: Sequence[AssignedParameter]) -> str:
    num_values = sum(a.location.num_values for a in assigned)
    stages = ", ".join(dict.fromkeys(a.location.stage for a in assigned))
    return (
        f"{_description(rule)}: {len(assigned)} parameters with {num_values:,} values, in {stages}"
    )


def _row(stage: str, assigned: Sequence[AssignedParameter]) -> StageRow:
    return StageRow(
        stage,
        sum(a.location.num_values for a in assigned),
        sum(a.location.num_values for a in assigned if a.trains_from is not None),
        tuple(dict.fromkeys(_description(a.rule, a.trains_from) for a in assigned)),
    )


def _description(rule: Rule, trains_from: int | None = None) -> str:
    """A description of a rule, such as `convolutions frozen`."""
    if not rule.trains:
        return f"{rule.name} frozen"
    if trains_from:
        return f"{rule.name} trains after {trains_from} epochs"
    pace = f", one more every {rule.epochs_per_stage} epochs" if rule.epochs_per_stage else ""
    return f"{rule.name} trains{pace}"


def _stage(assigned: AssignedParameter) -> str:
    return assigned.location.stage


def _grouped(
    assigned: Iterable[AssignedParameter], key: Callable[[AssignedParameter], Any]
) -> list[tuple[Any, list[AssignedParameter]]]:
    groups: dict[Any, list[AssignedParameter]] = {}
    for one in assigned:
        groups.setdefault(key(one), []).append(one)
    return list(groups.items())
