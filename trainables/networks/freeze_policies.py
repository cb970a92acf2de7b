"""Freeze policies: which parameters of a network train. Needs no torch.

A policy is written `name` or `name:argument`. It is an ordered set of rules: the first one that
catches a parameter decides about it, and the last one catches everything else, so that nothing
is left undecided (as in big_vision). Only a policy of a single rule may freeze nothing or
everything: its name says so. A new policy: a function beside its siblings.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import re2
from pydantic import AfterValidator

from toprung.trainables.networks.parameter_locations import LayerKind, Place
from toprung.trainables.system.typed_settings import nearest, shown

MAX_COUNT = 1000
"""Stages of a network, or epochs between two of them: more than there are in practice."""
_MAX_DIGITS = 20
"""Python takes quadratic time to read longer numbers."""


@dataclass(frozen=True)
class Rule:
    """What happens to the parameters that it catches.

    Attributes:
        name: what it catches, in words.
        trains: whether that trains.
        catches: whether it catches the parameter of this place.
        epochs_per_stage: if above 0, each stage starts to train that many epochs after the one
            above it, the head at once.
    """

    name: str
    trains: bool
    catches: Callable[[Place], bool]
    epochs_per_stage: int = 0


class Pattern:
    """A regular expression that anybody may have written, matched in linear time.

    Python's own engine backtracks: `(.*.*)*x` on DenseNet's names does not come back. RE2 (Cox,
    2010) cannot, and its memory is bounded (8 MiB for each pattern by default).

    Args:
        text: the expression.

    Raises:
        re2.error: if it is not an expression of RE2's syntax, or too large.
    """

    def __init__(self, text: str) -> None:
        options = re2.Options()
        options.log_errors = False  # the caller reports them
        options.never_capture = True
        self.text = text
        self._compiled = re2.compile(text, options)

    def is_in(self, name: str) -> bool:
        """Whether it matches somewhere in a name."""
        return self._compiled.search(name) is not None


Policy = tuple[Rule, ...]
ALL_TRAINS = ("nothing_frozen", "from_scratch")
"""The policies under which nothing is ever frozen."""
_POLICIES: dict[str, Callable[..., Policy]] = {}


def _policy(function: Callable[..., Policy]) -> Callable[..., Policy]:
    """Let users name it. Its parameter, if it has one, is the policy's argument."""
    _POLICIES[function.__name__] = function
    return function


def _layers(kind: LayerKind) -> Callable[[Place], bool]:
    return lambda place: place.layer == kind


def _named(pattern: Pattern) -> Callable[[Place], bool]:
    return lambda place: pattern.is_in(place.name)


def _at_depth(depth: int) -> Callable[[Place], bool]:
    return lambda place: place.depth == depth


def _anywhere(_: Place) -> bool:
    return True


_HEAD = Rule("head", True, lambda place: place.in_head)
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
    """Every parameter is frozen; for a network that is not trained in steps, as an SVM's is not."""
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
    """Every linear layer is frozen, the new output layer too, as a published study did."""
    return Rule("linear layers", False, _layers("linear")), _REST_TRAINS


@_policy
def fully_connected_frozen_except_head() -> Policy:
    """The linear layers outside the head are frozen."""
    return _HEAD, Rule("linear layers", False, _layers("linear")), _REST_TRAINS


@_policy
def first_stages_frozen(count: int) -> Policy:
    """The first stages, so many of them, are frozen."""
    stages = [Rule(f"stage {n + 1} from the input", False, _at_depth(n)) for n in range(count)]
    return _HEAD, *stages, _REST_TRAINS


@_policy
def head_and_stage(stage: str) -> Policy:
    """The head and the stage of this name train."""
    return _HEAD, Rule(f"stage {stage}", True, lambda place: place.stage == stage), _REST_FROZEN


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
    return _HEAD, Rule("downsampling", True, lambda place: place.downsampling), _REST_FROZEN


@_policy
def train_pattern(pattern: Pattern) -> Policy:
    """Parameters with a match of the pattern in their name train; the head needs one too."""
    return Rule(f"names with {pattern.text}", True, _named(pattern)), _REST_FROZEN


@_policy
def freeze_pattern(pattern: Pattern) -> Policy:
    """Parameters with a match of the pattern in their name are frozen."""
    return Rule(f"names with {pattern.text}", False, _named(pattern)), _REST_TRAINS


@_policy
def gradual_unfreezing(epochs: int) -> Policy:
    """First only the head trains, then one more stage every so many epochs, from the top down.

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
"""How each type of argument is read."""


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
