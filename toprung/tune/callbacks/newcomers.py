"""Looks at nodes that come while a sweep runs, as at the others before it began."""

from collections.abc import Callable, Collection
from functools import cached_property, partial
from time import monotonic
from typing import Any

from toprung.cluster import node_look, versions
from toprung.cluster.messages import Node, Question, alive_nodes, answered, ask, heard
from toprung.cluster.preflight import answer_of, can_train, weights_of
from toprung.planning.plan import SweepPlan
from toprung.tune.callbacks.watcher import TrialStates, Watcher

SECONDS_BETWEEN_LOOKS = 5.0


class Newcomers(Watcher):
    """Warns of a node that is not fit for the sweep's trials: Ray has no way to leave it out.

    Trials are not held back until it has answered, which may take as long as preparing its data.

    Args:
        plan: of the sweep.
        looked_at: the nodes that were looked at before it began.
        tell: shows the user a line.
    """

    def __init__(
        self, plan: SweepPlan, looked_at: Collection[Node], tell: Callable[[str], None]
    ) -> None:
        self._plan = plan
        self._known = set(looked_at)
        self._tell = tell
        self._looked = monotonic()
        self._asked: dict[Any, tuple[Node, Question | None]] = {}
        """By Ray's reference to what a node will answer: the node, and what it is asked then."""

    def on_step(self, trials: TrialStates) -> None:
        """Hear what was answered, and ask those that are new."""
        del trials
        if monotonic() - self._looked < SECONDS_BETWEEN_LOOKS:
            return
        self._looked = monotonic()
        for reference in answered(list(self._asked)):
            self._hear(reference)
        for node in alive_nodes():
            if node not in self._known and can_train(node, self._plan.settings):
                self._known.add(node)
                self._ask(node, partial(versions.look, versions.versions()), self._look)

    def _ask(self, node: Node, question: Question, follows: Question | None) -> None:
        self._asked[ask(node, question)] = node, follows

    def _hear(self, reference: Any) -> None:
        node, follows = self._asked.pop(reference)
        said = heard(node, reference)
        if said is None:
            return
        answer = answer_of(said)
        if answer.problem:
            self._tell(f"warning: {node} has come, and trials there may fail: {answer.problem}")
        elif answer.warning:
            self._tell(f"warning: {node}: {answer.warning}")
        if follows is not None and not answer.problem:
            self._ask(node, follows, None)

    @cached_property
    def _look(self) -> Question:
        plan = self._plan
        if plan.store is not None:
            storage: Question = partial(node_look.look_at_store, plan.store)
        else:
            settings = plan.folder.settings
            storage = partial(node_look.look_at_sweep, settings, settings.read_text("utf-8"))
        inputs = partial(node_look.look_at_inputs, plan.data.kinds, weights_of(plan))
        return partial(node_look.first_problem, storage, inputs)
