"""Freeze policies: which parameters of a network train. Does not need torch.

A policy is written `name` or `name:argument`. It is a list of rules: the first rule that matches a
parameter decides whether it trains, and the last rule matches everything, so that no parameter is
left undecided (as in big_vision). Only a policy of a single rule may freeze nothing or everything:
its name says so. To add a policy, add a function with the `@_policy` decorator.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import re2
from pydantic import AfterValidator

from toprung.trainables.networks.parameter_locations import LayerKind, ParameterLocation
from toprung.trainables.system.typed_settings import nearest, shown

MAX_COUNT = 1000
"""The largest count of network stages, or of epochs between two of them: more than in practice."""
_MAX_DIGITS = 20
"""Python's time to parse a number is quadratic in its digits."""


@dataclass(frozen=True)
class Rule:
    """Whether some of a network's parameters train.

    Attributes:
        name: a description of the parameters that the rule matches.
        trains: whether these parameters train.
        matches: whether the rule matches the parameter at a location.
        epochs_per_stage: if above 0, each stage starts to train that many epochs after the one
            above it, and the head at once.
    """

    name: str
    trains: bool
    matches: Callable[[ParameterLocation], bool]
    epochs_per_stage: int = 0


class Pattern:
    """A regular expression from an untrusted source, matched in linear time.

    Python's own engine backtracks: `(.*.*)*x` on DenseNet's names never returns. RE2 (Cox, 2010)
    does not backtrack, and its memory is bounded (8 MiB for each pattern by default).

    Args:
        text: the expression, in RE2's syntax.

    Raises:
        re2.error: if the expression is not valid, or is too large.
    """

    def __init__(self, text: str) -> None:
        options = re2.Options()
        options.log_errors = False  # the caller reports them
        options.never_capture = True
        self.text = text
        self._compiled = re2.compile(text, options)

    def is_in(self, name: str) -> bool:
        """Whether the pattern matches somewhere in a name."""
        return self._compiled.search(name) is not None


Policy = tuple[Rule, ...]
ALL_TRAINS = ("nothing_frozen", "from_scratch")
"""The policies under which nothing is ever frozen."""
_POLICIES: dict[str, Callable[..., Policy]] = {}


def _policy(function: Callable[..., Policy]) -> Callable[..., Policy]:
    """Register a policy under its function's name; its parameter, if any, is its argument."""
    _POLICIES[function.__name__] = function
    return function


def _layers(kind: LayerKind) -> Callable[[ParameterLocation], bool]:
    return lambda location: location.layer == kind


def _named(pattern: Pattern) -> Callable[[ParameterLocation], bool]:
    return lambda location: pattern.is_in(location.name)


def _at_depth(depth: int) -> Callable[[ParameterLocation], bool]:
    return lambda location: location.depth == depth


def _anywhere(_: ParameterLocation) -> bool:
    return True


_HEAD = Rule("head", True, lambda location: location.in_head)
_EVERYTHING = Rule("everything", True, _anywhere)
_EVERYTHING_FROZEN = Rule("everything", False, _anywhere)
_REST_TRAINS = Rule("everything else", True, _anywhere)
_REST_FROZEN = Rule("everything else", False, _anywhere)


@_policy
def nothing_frozen() -> Policy:
    """Every parameter trains."""
    return (_EVERYTHING,)


@_policy
def from_scratch() -> Policy:
    """Every parameter trains, from random weights."""
    return (_EVERYTHING,)


@_policy
def nothing_trains() -> Policy:
    """Every parameter is frozen; for a network that is not trained in steps, such as an SVM's."""
    return (_EVERYTHING_FROZEN,)


@_policy
def head_only() -> Policy:
    """Only the head trains."""
    return _HEAD, _REST_FROZEN


@_policy
def convolutions_frozen() -> Policy:
    """The convolutions outside the head are frozen."""
    return _HEAD, Rule("convolutions", False, _layers("convolution")), _REST_TRAINS


@_policy
def fully_connected_frozen() -> Policy:
    """Every linear layer is frozen, including the new output layer, as in a published study."""
    return Rule("linear layers", False, _layers("linear")), _REST_TRAINS


@_policy
def fully_connected_frozen_except_head() -> Policy:
    """The linear layers outside the head are frozen."""
    return _HEAD, Rule("linear layers", False, _layers("linear")), _REST_TRAINS


@_policy
def first_stages_frozen(count: int) -> Policy:
    """The first `count` stages of the network are frozen."""
    stages = [Rule(f"stage {n + 1} from the input", False, _at_depth(n)) for n in range(count)]
    return _HEAD, *stages, _REST_TRAINS


@_policy
def head_and_stage(stage: str) -> Policy:
    """The head and the stage of this name train."""
    return (
        _HEAD,
        Rule(f"stage {stage}", True, lambda location: location.stage == stage),
        _REST_FROZEN,
    )


@_policy
def head_and_convolutions() -> Policy:
    """The head and every convolution train."""
    return _HEAD, Rule("convolutions", True, _layers("convolution")), _REST_FROZEN


@_policy
def head_and_batch_norms() -> Policy:
    """The head and every batch norm train."""
    return _HEAD, Rule("batch norms", True, _layers("batch_norm")), _REST_FROZEN


@_policy
def head_and_downsampling() -> Policy:
    """The head and the downsampling shortcuts or transitions train."""
    return _HEAD, Rule("downsampling", True, lambda location: location.downsampling), _REST_FROZEN


@_policy
def train_pattern(pattern: Pattern) -> Policy:
    """Only parameters whose name the pattern matches train; that goes for the head as well."""
    return Rule(f"names with {pattern.text}", True, _named(pattern)), _REST_FROZEN


@_policy
def freeze_pattern(pattern: Pattern) -> Policy:
    """Parameters whose name the pattern matches are frozen."""
    return Rule(f"names with {pattern.text}", False, _named(pattern)), _REST_TRAINS


@_policy
def gradual_unfreezing(epochs: int) -> Policy:
    """The head trains first, then one more stage every `epochs` epochs, from the top down.

    Howard & Ruder, 2018 (ULMFiT).
    """
    return _HEAD, Rule("stages from the top down", True, _anywhere, epochs)


def _count(text: str) -> int:
    if not text.isdecimal() or text.strip("0") == "":
        raise ValueError(f"must be a whole number above 0, is {shown(text)}")
    if len(text) > _MAX_DIGITS or int(text) > MAX_COUNT:
        raise ValueError(f"must be at most {MAX_COUNT:,}, is {shown(text)}")
    return int(text)


def _pattern(text: str) -> Pattern:
    try:
        return Pattern(text)
    except (re2.error, UnicodeError) as error:
        reason = error.args[0].decode() if isinstance(error, re2.error) else "is not Unicode"
        raise ValueError(
            f"must be a regular expression, is {shown(text)}: {reason} (RE2's syntax, which has "
            "neither lookaround nor backreferences)"
        ) from error


_ARGUMENTS: dict[Any, Callable[[str], Any]] = {
    int: _count,
    str: str,
    Pattern: _pattern,
}
"""The parser of each type of argument."""


def policy_forms() -> list[str]:
    """How each policy is written, such as `head_only` and `first_stages_frozen:COUNT`."""
    return [":".join([name, *map(str.upper, _arguments(name))]) for name in _POLICIES]


def rules_of(policy: str) -> Policy:
    """The rules of a policy.

    Raises:
        ValueError: for an unknown policy, or an argument that is missing, superfluous or wrong.
    """
    name, colon, text = policy.partition(":")
    if name not in _POLICIES:
        raise ValueError(f"choose from {', '.join(policy_forms())}{nearest(name, set(_POLICIES))}")
    arguments = _arguments(name)
    if colon and not arguments:
        raise ValueError(f"{name} takes no argument")
    values = []
    for argument, parameter in arguments.items():
        if not text:
            raise ValueError(f"{name} needs its argument: {name}:{argument.upper()}")
        try:
            values.append(_ARGUMENTS[parameter.annotation](text))
        except ValueError as error:
            raise ValueError(f"{argument.upper()} {error}") from error
    return _POLICIES[name](*values)


def _arguments(name: str) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(_POLICIES[name]).parameters)


def _checked(policy: str) -> str:
    rules_of(policy)
    return policy


FreezePolicy = Annotated[str, AfterValidator(_checked)]
"""The name of a policy above, with `:argument` if it takes one."""
