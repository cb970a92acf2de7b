"""Whether a sweep is worth going on with, when its first trials all fail."""

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial

from toprung import events
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.attributes import FINISHED, GAVE_UP, TIME_BUDGET
from toprung.search.trial_ledger import OF_THE_SPACE
from toprung.trainables.results.failures import CODE_ERROR

MAX_ALIKE = 3
MAX_ALIKE_OF_THE_SPACE = 10
"""How many may fail for a reason that the sampler can move away from."""


class FirstTrials:
    """Watches the trials until one of them succeeds."""

    def __init__(self) -> None:
        self._any_succeeded = False
        self._failures: list[tuple[str, str]] = []

    @classmethod
    def since_the_last_end(
        cls, past: Sequence[Mapping[str, Any]], trials: Sequence[FrozenTrial]
    ) -> "FirstTrials":
        """With those that had ended before the sweep was resumed, since it came to an end at last.

        Args:
            past: what happened before.
            trials: of the study, by their numbers.
        """
        ends = [events.sweep(end) for end in (GAVE_UP, FINISHED, TIME_BUDGET)]
        first = cls()
        for event in past:
            if event in ends:
                first = cls()
            elif event["event"] == events.ENDED:
                attrs = trials[event["trial"]].user_attrs
                if event["how"] == attributes.FAILED:
                    kind = attrs.get(attributes.FAILURE_KIND, CODE_ERROR)
                    first.failed(kind, event.get("reason", ""))
                elif attributes.BEST in attrs:
                    first.succeeded()
        return first

    def succeeded(self) -> None:
        """A trial has a result, so the sweep is worth going on with."""
        self._any_succeeded = True

    def failed(self, kind: str, reason: str) -> None:
        """A trial has failed."""
        if not self._any_succeeded:
            self._failures.append((kind, reason))

    @property
    def verdict(self) -> str:
        """Why the sweep is to end; empty if it is to go on."""
        if self._any_succeeded or not self._failures:
            return ""
        kind, reason = self._failures[0]
        enough = MAX_ALIKE_OF_THE_SPACE if kind in OF_THE_SPACE else MAX_ALIKE
        alike = {_sort(*failure) for failure in self._failures}
        if len(self._failures) < enough or len(alike) > 1:
            return ""
        return f"the first {len(self._failures)} trials all failed alike ({kind}): {reason}"


def _sort(kind: str, reason: str) -> tuple[str, str]:
    """What two failures have in common that are alike; the numbers in a reason may differ."""
    return kind, "" if kind in OF_THE_SPACE else reason.partition(":")[0]
