"""Checking a pickle from an untrusted source before torch's restricted unpickler builds it.

The unpickler runs no code. But a few bytes of a pickle can build a pair of the last object with
itself sixty times over, and hashing that tuple, for example as a dict's key, never returns.
"""

import pickle
import pickletools
from typing import BinaryIO

MAX_TUPLE = 100_000
"""Values in a tuple, including those of nested tuples. torch's own tuples are the shapes of tensors
and the arguments from which tensors are rebuilt."""


class PickleError(ValueError):
    """A pickle that is refused; the message says why."""


def check_pickle(stream: BinaryIO) -> None:
    """Read a pickle's operations up to its end, and compute how large its tuples would be.

    Raises:
        PickleError: if a tuple would be too large, or the operations are inconsistent.
    """
    stack: list[int] = []  # the number of values of each object: 1, except for tuples
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
    """Pop an operation's operands from the stack: a fixed number, or all above the last mark."""
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
