"""Looking at a pickle that a stranger may have made, before torch's restricted reader builds it.

That reader runs no code of it. But a few bytes of a pickle can say "a pair of the last one, twice"
sixty times, and whoever takes the hash of that tuple, as a dict does of a key, never comes back.
"""

import pickle
import pickletools
from typing import BinaryIO

MAX_TUPLE = 100_000
"""Values in a tuple, with those of the tuples in it. Torch's own are the shapes of tensors, and the
pieces that a tensor is made of."""


class PickleError(ValueError):
    """A pickle that is not read; the message says why."""


def check_pickle(stream: BinaryIO) -> None:
    """Read a pickle's operations, up to its end, and see how large its tuples would be.

    Raises:
        PickleError: if one would be too large, or the operations do not fit together.
    """
    stack: list[int] = []  # the number of values of each object: 1, but for tuples
    marks: list[int] = []
    memo: dict[int, int] = {}
    try:
        for operation, argument, _ in pickletools.genops(stream):
            _step(operation, argument, stack, marks, memo)
    except (ValueError, IndexError, KeyError, UnicodeError, pickle.UnpicklingError) as error:
        if isinstance(error, PickleError):
            raise
        raise PickleError(f"is not a pickle: {error}") from None


def _step(
    operation: pickletools.OpcodeInfo,
    argument: object,
    stack: list[int],
    marks: list[int],
    memo: dict[int, int],
) -> None:
    name = operation.name
    if name == "MARK":
        marks.append(len(stack))
    elif name.endswith("GET"):
        stack.append(memo[_index(argument)])
    elif name.endswith("PUT"):
        memo[_index(argument)] = stack[-1]
    elif name == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    else:
        taken = _taken(operation, stack, marks)
        size = 1 + sum(taken) if "TUPLE" in name else 1
        if size > MAX_TUPLE:
            raise PickleError(f"has a tuple of more than {MAX_TUPLE:,} values")
        stack.extend(size for after in operation.stack_after if after is not None)


def _taken(operation: pickletools.OpcodeInfo, stack: list[int], marks: list[int]) -> list[int]:
    """What an operation takes from the stack: some of the last, or all above the last mark."""
    before = operation.stack_before
    if pickletools.markobject in before:
        start = marks.pop() - before.index(pickletools.markobject)
    else:
        start = len(stack) - len(before)
    if start < 0:
        raise IndexError("an operation finds too little on the stack")
    taken = stack[start:]
    del stack[start:]
    return taken


def _index(argument: object) -> int:
    assert isinstance(argument, int | str)
    return int(argument)
