"""Whether the kernel has killed a trial's process for memory, by the counters of its node."""

import re
from collections.abc import Sequence
from time import monotonic
from typing import Any

from toprung.cluster.messages import Node, alive_nodes, answered, ask, heard
from toprung.trainables.system.oom_kills import oom_kills
from toprung.tune.callbacks.watcher import TrialStates, Watcher

SECONDS_BETWEEN_LOOKS = 5.0
MAX_SECONDS_TO_ANSWER = 10.0
"""How long a node may take to say its counter, while the driver waits."""

_ADDRESS = re.compile(r"^\s*ip: (\S+)$", re.MULTILINE)
"""Of the node, in what Ray says of an actor that has died."""


class OomWatch(Watcher):
    """Knows the kernel's counts of processes killed for memory, which say nothing of which ones.

    So a death is held to be such a kill if the count has grown since the last death there; each
    kill accounts for one death. Ray's processes on a node share a control group, and a Ray of our
    own has the driver's.

    Args:
        nodes: of the cluster that was joined; None for a Ray of our own on this machine.
    """

    def __init__(self, nodes: Sequence[Node] | None) -> None:
        self._is_own = nodes is None
        self._accounted: dict[str, int | None] = {"": oom_kills() if nodes is None else None}
        """By a node's address: its kills that a death, or the time before, accounts for."""
        self._known = set(nodes or ())
        self._asked = {ask(node, oom_kills): node for node in self._known}
        self._looked = monotonic()

    def on_step(self, trials: TrialStates) -> None:
        """Learn the counts of nodes that are new, before a trial dies there."""
        del trials
        if self._is_own or monotonic() - self._looked < SECONDS_BETWEEN_LOOKS:
            return
        self._looked = monotonic()
        for node in set(alive_nodes()) - self._known:
            self._known.add(node)
            self._asked[ask(node, oom_kills)] = node
        self._hear()

    def accounts_for(self, death: str) -> bool | None:
        """Whether a death was an OOM kill that accounts for no other death.

        Args:
            death: what Ray says of it.

        Returns:
            None if the node cannot say it.
        """
        found = _ADDRESS.search(death)
        address = found[1] if found and not self._is_own else ""
        self._hear()
        before = self._accounted.get(address)
        now = oom_kills() if self._is_own else self._count(address)
        if now is None or before is None:
            self._accounted[address] = before if now is None else now
            return None
        if now <= before:
            return False
        self._accounted[address] = before + 1
        return True

    def _hear(self) -> None:
        """Take note of the counts that have come."""
        for reference in answered(list(self._asked)):
            node = self._asked.pop(reference)
            self._accounted.setdefault(node.address, _number(heard(node, reference)))

    def _count(self, address: str) -> int | None:
        """The count of a node now; None if it does not say it in time."""
        node = next((node for node in alive_nodes() if node.address == address), None)
        if node is None:
            return None
        import ray

        reference = ask(node, oom_kills)
        done, _ = ray.wait([reference], timeout=MAX_SECONDS_TO_ANSWER)
        return _number(heard(node, reference)) if done else None


def _number(said: Any) -> int | None:
    return said if isinstance(said, int) else None
