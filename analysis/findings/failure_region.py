"""Where in the search space trials fail: the condition that best separates the failed trials."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toprung.analysis.findings.importance import Parameter

MIN_FAILED = 2
NUM_SHUFFLES = 1000
SIGNIFICANCE = 0.05
_SAME = 1e-9
"""Correlations with a smaller difference count as equal: they differ by rounding."""


@dataclass(frozen=True)
class Region:
    """A condition on one parameter, with counts of the trials inside and outside of it.

    Attributes:
        condition: the condition, such as `optimizer/lr >= 0.05`.
        num_failed: how many trials failed among those that meet the condition.
        num_inside: how many trials meet the condition.
        num_failed_outside: how many trials failed among the others.
        num_outside: how many other trials there are.
    """

    condition: str
    num_failed: int
    num_inside: int
    num_failed_outside: int
    num_outside: int

    def __str__(self) -> str:
        some = f"{self.num_failed} of the {self.num_inside} trials"
        if self.num_failed == self.num_inside:
            some = f"all {self.num_inside} trials" if self.num_inside > 1 else "the only trial"
        others = f"{self.num_failed_outside or 'none'} of the other {self.num_outside}"
        return f"{some} with {self.condition}, {others}"


@dataclass(frozen=True)
class _Order:
    """Conditions on one parameter, each met by the first trials in an order.

    Attributes:
        trials: the trials in that order.
        prefixes: for each condition, how many of the first trials meet it.
        in_words: the condition that is met by a given number of trials, as text.
    """

    trials: NDArray[np.intp]
    prefixes: NDArray[np.intp]
    in_words: Callable[[int], str]

    def num_failed(self, failed_PT: NDArray[np.bool_]) -> NDArray[np.int64]:
        """How many of the trials that meet each condition failed, (P, conditions)."""
        counts: NDArray[np.int64] = failed_PT[:, self.trials].cumsum(axis=1)[:, self.prefixes - 1]
        return counts


def find_region(
    parameters: Sequence[Parameter], failed: Collection[int], among: Collection[int]
) -> Region | None:
    """The condition on one parameter that best separates failed trials from the others.

    That is the condition with the largest correlation with failure (the phi coefficient). It is
    returned only if a permutation test is significant: in fewer than 5 % of 1,000 random
    permutations of the failures, the best of all conditions is as good (Westfall & Young, 1993;
    Lausen & Schumacher, 1992).

    Args:
        parameters: the parameters of the search space, with the values by trial number.
        failed: the numbers of the trials that failed.
        among: the numbers of all trials to consider, including the failed ones.

    Returns:
        The condition; None if none is significant, or fewer than two trials failed.
    """
    numbers = sorted(among)
    failed_T = np.isin(numbers, list(failed))
    if not MIN_FAILED <= failed_T.sum() < len(numbers):
        return None
    orders = [order for parameter in parameters for order in _orders(parameter, numbers)]
    shuffled_PT = np.tile(failed_T, (NUM_SHUFFLES, 1))
    shuffled_PT = np.random.default_rng(0).permuted(shuffled_PT, axis=1)
    chance_P, best, found = np.zeros(NUM_SHUFFLES), _SAME, None
    for order in orders:
        chance_P = np.maximum(chance_P, _phi(order, shuffled_PT).max(axis=1))
        phi_C = _phi(order, failed_T[None])[0]
        if phi_C.max() > best + _SAME:  # in a tie, the first parameter wins
            best, found = float(phi_C.max()), (order, int(order.prefixes[phi_C.argmax()]))
    num_as_good = 1 + int((chance_P >= best - _SAME).sum())
    if found is None or num_as_good / (1 + NUM_SHUFFLES) >= SIGNIFICANCE:
        return None
    return _region(*found, failed_T)


def _region(order: _Order, num_inside: int, failed_T: NDArray[np.bool_]) -> Region:
    num_failed = int(failed_T[order.trials[:num_inside]].sum())
    return Region(
        order.in_words(num_inside),
        num_failed,
        num_inside,
        int(failed_T.sum()) - num_failed,
        len(failed_T) - num_inside,
    )


def _phi(order: _Order, failed_PT: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The correlation of each condition with failure, (P, conditions)."""
    num, num_failed = failed_PT.shape[1], failed_PT[0].sum()
    inside = order.prefixes
    spread = np.sqrt(inside * (num - inside) * float(num_failed * (num - num_failed)))
    phi: NDArray[np.float64] = (num * order.num_failed(failed_PT) - inside * num_failed) / spread
    return phi


def _orders(parameter: Parameter, numbers: Sequence[int]) -> Iterator[_Order]:
    """The conditions on a parameter, over the trials that have it."""
    index_of = {number: index for index, number in enumerate(numbers)}
    pairs = [(v, index_of[number]) for number, v in parameter.values.items() if number in index_of]
    if all(_is_number(value) for value, _ in pairs):
        ascending = sorted(pairs, key=lambda pair: pair[0])
        yield from _thresholds(parameter, "<=", ascending)
        yield from _thresholds(parameter, ">=", ascending[::-1])
    else:
        yield from _equalities(parameter, pairs)


def _thresholds(
    parameter: Parameter, sign: str, pairs: Sequence[tuple[Any, int]]
) -> Iterator[_Order]:
    """A condition for each value but the last, in the order of `pairs` of value and trial."""
    values = [value for value, _ in pairs]
    prefixes = [n for n in range(1, len(values)) if values[n] != values[n - 1]]

    def in_words(num: int) -> str:
        boundary = _boundary(values[num - 1], values[num], log=parameter.log)
        return f"{parameter.name} {sign} {boundary}"

    if prefixes:
        yield _Order(np.array([trial for _, trial in pairs]), np.array(prefixes), in_words)


def _equalities(parameter: Parameter, pairs: Sequence[tuple[Any, int]]) -> Iterator[_Order]:
    values = {repr(value): value for value, _ in pairs}
    for text, value in values.items() if len(values) > 1 else ():
        trials = [trial for v, trial in pairs if repr(v) == text]
        words = f"{parameter.name} = {value}"
        yield _Order(np.array(trials), np.array([len(trials)]), partial(_always, words))


def _always(words: str, num: int) -> str:
    del num
    return words


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _boundary(inside: float, outside: float, *, log: bool) -> str:
    """A short number that is `inside` itself, or lies between it and the next value `outside`."""
    if isinstance(inside, int):
        return str(inside)
    on_log = log and min(inside, outside) > 0
    middle = sqrt(inside) * sqrt(outside) if on_log else inside / 2 + outside / 2
    short = (f"{inside:.{digits}g}" for digits in (1, 2, 3))
    rounded = (f"{middle:.{digits}g}" for digits in range(1, 17))
    between = (
        text for text in rounded if min(inside, outside) < float(text) < max(inside, outside)
    )
    exact = (text for text in short if float(text) == inside)
    return next(exact, None) or next(between, repr(inside))
