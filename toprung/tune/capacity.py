"""How many trials run at a time, on a cluster whose nodes come and go."""

from collections.abc import Callable, Sequence
from time import monotonic

from toprung.cluster.placement import resources
from toprung.cluster.placement.packing import Packing
from toprung.cluster.placement.resources import Resources

SECONDS_BETWEEN_LOOKS = 2.0
SECONDS_TO_GROW = 600.0
"""For how long after the last change of nodes an autoscaler is thought to bring more, and fast."""


class Capacity:
    """As many trials as were asked for, or as fit on the nodes that are alive now.

    A trial is suggested only when there is a place for it: one that waited would have been
    suggested without what the trials before it have told meanwhile. A place is what a node has,
    also where another job holds it: with two sweeps on one cluster, trials of both wait. How many
    share a GPU, where that was found out, holds against what was asked for.

    An autoscaler brings nodes only for trials that wait. On its cluster as many wait as have a
    place, so that it doubles at each step, and when it has not grown for ten minutes, one.

    Args:
        packing: knows the sweep's settings, and whether it was found how many share a GPU.
        tell: shows the user a line.
        nodes: what each node that is alive has.
        autoscales: whether the cluster has an autoscaler.
        clock: gives the time in seconds.
    """

    def __init__(
        self,
        packing: Packing,
        tell: Callable[[str], None],
        *,
        nodes: Callable[[], Sequence[Resources]] = resources.nodes,
        autoscales: Callable[[], bool] = resources.autoscales,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._packing = packing
        self._tell = tell
        self._nodes = nodes
        self._autoscales = autoscales
        self._clock = clock
        self._looked = self._changed = float("-inf")
        self._num_nodes = self._fitting = self._waiting = 0
        self._has_said_fewer = False

    def __call__(self) -> int:
        """How many trials are to run now, or wait. Nodes are looked up every two seconds."""
        asked = self._packing.settings.concurrency
        if asked is not None and self._packing.trials_per_gpu is None:
            return asked  # it was held against the machines when the sweep began
        now = self._clock()
        if now - self._looked > SECONDS_BETWEEN_LOOKS:
            self._looked = now
            self._look()
        places = self._fitting + self._waiting
        if asked is None:
            return places
        if places < asked and not self._has_said_fewer:
            self._has_said_fewer = True
            self._tell(f"concurrency = {asked}: the GPUs hold {places} trials at a time")
        return min(asked, places)

    def _look(self) -> None:
        machines, before = self._nodes(), self._fitting
        self._fitting = resources.num_fitting(self._packing.settings, machines)
        if len(machines) != self._num_nodes:
            self._changed = self._looked
            if self._num_nodes:
                self._say(len(machines), before)
        self._num_nodes = len(machines)
        grows = self._looked - self._changed < SECONDS_TO_GROW
        self._waiting = (max(1, self._fitting) if grows else 1) if self._autoscales() else 0

    def _say(self, num_nodes: int, before: int) -> None:
        nodes = f"{num_nodes} node{'' if num_nodes == 1 else 's'}"
        self._tell(f"cluster: {nodes} now; trials at a time: {self._fitting}, before {before}")
