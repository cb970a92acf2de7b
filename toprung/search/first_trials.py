"""Whether a sweep should continue when its first trials all fail."""

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
"""How many may fail for a reason that depends on the parameters, which the sampler can avoid."""


class FirstTrials:
    """Watches the trials until one of them succeeds."""

    def __init__(self) -> None:
        self._any_succeeded = False
        self._failures: list[tuple[str, str]] = []

    @classmethod
    def since_the_last_end(
        cls, past: Sequence[Mapping[str, Any]], trials: Sequence[FrozenTrial]
    ) -> "FirstTrials":
        """Start with the trials that ended before the sweep was resumed, since its last end.

        Args:
            past: the events before the sweep was resumed.
            trials: the trials of the study, in the order of their numbers.
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
        """A trial has a result, so the sweep should continue."""
        self._any_succeeded = True

    def failed(self, kind: str, reason: str) -> None:
        """A trial has failed."""
        if not self._any_succeeded:
            self._failures.append((kind, reason))

    @property
    def verdict(self) -> str:
        """Why the sweep should end; empty if it should continue."""
        if self._any_succeeded or not self._failures:
            return ""
        kind, reason = self._failures[0]
        enough = MAX_ALIKE_OF_THE_SPACE if kind in OF_THE_SPACE else MAX_ALIKE
        alike = {_similarity_key(*failure) for failure in self._failures}
        if len(self._failures) < enough or len(alike) > 1:
            return ""
        return f"the first {len(self._failures)} trials all failed alike ({kind}): {reason}"


def _similarity_key(kind: str, reason: str) -> tuple[str, str]:
    """A key that is the same for similar failures; the numbers in their reasons may differ."""
    return kind, "" if kind in OF_THE_SPACE else reason.partition(":")[0]
