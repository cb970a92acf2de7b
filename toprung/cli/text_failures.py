"""What `toprung run` and `toprung status` print about failures: a few lines for each kind."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from toprung.analysis.study.trials import read_trials
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder import attributes
from toprung.trainables.system.printable import printable

if TYPE_CHECKING:
    from toprung.analysis.findings.failures import FailureGroup

MAX_REASON = 200
"""The most characters of a reason that are shown."""
MAX_NUMBERS = 10


def failures_in_short(sweep: Sweep) -> Iterator[str]:
    """One line for each kind of failure: the number of trials, and where in the search space."""
    for group in _groups(sweep):
        where = f"; {_one_line(group.region)}" if group.region else ""
        yield f"  {_how_many(group)}{where}"


def failures(sweep: Sweep) -> Iterator[str]:
    """A few lines for each kind: which trials, where, the first reason, what to do."""
    for group in _groups(sweep):
        yield f"  {_how_many(group)} ({_which(group.numbers)})"
        if group.region:
            yield f"    where: {_one_line(group.region)}"
        if group.reason:
            yield f"    first reason: {_shortened(_one_line(group.reason))}"
        yield f"    what to do: {group.advice}"


def _groups(sweep: Sweep) -> "Sequence[FailureGroup]":
    """The failures by kind; the code that groups them is not imported if there are none."""
    wrong = {attributes.FAILED, attributes.INFEASIBLE}
    if not any(trial.ended in wrong for trial in read_trials(sweep.study)):
        return ()
    from toprung.analysis.findings.failures import failure_groups

    return failure_groups(sweep.study)


def _how_many(group: "FailureGroup") -> str:
    from toprung.analysis.findings.failures import IMPOSSIBLE

    number = len(group.numbers)
    what, how = ("config", "refused") if group.kind == IMPOSSIBLE else ("trial", "failed")
    return f"{number} {what}{'' if number == 1 else 's'} {how}: {group.kind}"


def _which(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:MAX_NUMBERS]))
    more = f" and {len(numbers) - MAX_NUMBERS} more" if len(numbers) > MAX_NUMBERS else ""
    return f"trial{'' if len(numbers) == 1 else 's'} {shown}{more}"


def _shortened(reason: str) -> str:
    return reason if len(reason) <= MAX_REASON else f"{reason[: MAX_REASON - 1]}…"


def _one_line(text: object) -> str:
    """The text as one line of printable characters."""
    return " ".join(printable(str(text)).split())
