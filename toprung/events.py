"""The decision log: a sweep's decisions and the results they are based on, one event a line.

With one trial at a time, two sweeps with the same seed log the same lines, even if one of them was
killed and resumed. So no event depends on the time or the machine, except those of the kinds
`SWEEP` and `PACKING`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from optuna.trial import FrozenTrial

from toprung.trainables.results.records import Record

SWEEP = "sweep"
"""Events of the driver itself (start, resume, end); a resumed sweep has more of them."""
REPORTED, ENDED, STAGE = "reported", "ended", "stage"
PACKING = "packing"
"""Events about how many trials share a GPU; they depend on the machine."""


class WriteStudy(Protocol):
    """Writes events and the changes that they made, all or nothing; see `StudyFile.write`."""

    def __call__(
        self,
        events: Sequence[Mapping[str, Any]],
        trials: Sequence[FrozenTrial] = (),
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the events, with the changed trials and study attributes."""


def sweep(what: str, **details: Any) -> dict[str, Any]:
    """The sweep starts, is resumed, is extended, or ends."""
    return {"event": SWEEP, "what": what, **details}


def suggested(trial: FrozenTrial, confirms: int | None) -> dict[str, Any]:
    """A trial starts; `confirms` is the number of the trial whose config it trains again."""
    again = {} if confirms is None else {"confirms": confirms}
    return {
        "event": "suggested",
        "trial": trial.number,
        **again,
        "parameters": dict(trial.params),
    }


def reported(number: int, record: Record, value: float, score: float) -> dict[str, Any]:
    """A trial has been validated; `score` is the metric of its best validation so far."""
    return {
        "event": REPORTED,
        "trial": number,
        "validation": record.validation,
        "epoch": record.epoch,
        "value": value,
        "score": score,
    }


def promoted(number: int, rung: int) -> dict[str, Any]:
    """ASHA lets a trial continue beyond a rung; `rung` is the rung's number of epochs."""
    return {"event": "promoted", "trial": number, "rung": rung}


def ended(number: int, how: str, reason: str = "") -> dict[str, Any]:
    """A trial has ended, or never started; `how` is one of the constants in `attributes`."""
    because = {"reason": reason} if reason else {}
    return {"event": ENDED, "trial": number, "how": how, **because}


def packing(trials_per_gpu: int, trial: int | None = None) -> dict[str, Any]:
    """The number of trials that share a GPU changes, for trials suggested from now on.

    It was measured; or `trial` has run out of memory, and the number is lowered.
    """
    because = {} if trial is None else {"trial": trial}
    return {"event": PACKING, "trials_per_gpu": trials_per_gpu, **because}


def stage(name: str, fixed: dict[str, Any]) -> dict[str, Any]:
    """A search stage starts, with these parameters fixed."""
    return {"event": STAGE, "name": name, "fixed": fixed}


def confirmation(candidates: list[int]) -> dict[str, Any]:
    """The trials to be confirmed have been chosen."""
    return {"event": "confirmation", "candidates": candidates}
