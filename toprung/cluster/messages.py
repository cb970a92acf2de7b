"""Asking every node of the cluster that this process has joined, all at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

from toprung.cluster import versions
from toprung.trainables.system.error_text import one_line

Question = Callable[[], Any]
SECONDS_BETWEEN_LINES = 30.0
_SECONDS_TO_BE_MISSED = 10.0
"""How long Ray may take to notice that a node is gone whose process was lost."""


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, as Ray knows it."""

    id: str
    hostname: str = field(compare=False)
    address: str = field(compare=False)
    num_cpus: float = field(compare=False)
    num_gpus: float = field(compare=False)
    is_drivers: bool = field(compare=False)
    """Whether this process runs there."""

    def __str__(self) -> str:
        return f"{self.hostname} ({self.address})"


def alive_nodes() -> list[Node]:
    """Those that are there now."""
    import ray

    own = ray.get_runtime_context().get_node_id()
    return [
        Node(
            node["NodeID"],
            node["NodeManagerHostname"],
            node["NodeManagerAddress"],
            node["Resources"].get("CPU", 0.0),
            node["Resources"].get("GPU", 0.0),
            node["NodeID"] == own,
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def ask_all(
    nodes: Sequence[Node], question: Question | Mapping[Node, Question], tell: Callable[[str], None]
) -> dict[Node, Any]:
    """Call the function, or the node's own, on each node; it takes no CPU from anybody.

    Args:
        nodes: the nodes.
        question: what to call.
        tell: shows the user a line.

    Returns:
        What it returned there; or as text why it failed. A node that went away is left out.
    """
    import ray

    waiting = {}
    for node in nodes:
        asked = question[node] if isinstance(question, Mapping) else question
        waiting[ask(node, asked)] = node
    answers: dict[Node, Any] = {}
    told = monotonic()
    while waiting:
        done, _ = ray.wait(list(waiting), timeout=1.0)
        for reference in done:
            node = waiting.pop(reference)
            answer = heard(node, reference)
            if answer is None:
                tell(f"warning: {node} went away, and is left out")
            else:
                answers[node] = answer
        if monotonic() - told > SECONDS_BETWEEN_LINES:
            told = monotonic()
            tell(f"waiting for {', '.join(map(str, waiting.values()))} to get ready …")
    return {node: answers[node] for node in nodes if node in answers}


def ask(node: Node, question: Question) -> Any:
    """Begin to call the function there; it takes no CPU from anybody.

    Toprung need not be installed there for one of `versions`.

    Returns:
        Ray's reference to what it will return.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray.cloudpickle.register_pickle_by_value(versions)

    def call(question: Question) -> Any:
        return question()

    there = NodeAffinitySchedulingStrategy(node.id, soft=False)
    return ray.remote(num_cpus=0, max_retries=1, scheduling_strategy=there)(call).remote(question)


def answered(references: Sequence[Any]) -> list[Any]:
    """Those of the references whose nodes have answered, or gone, by now."""
    import ray

    if not references:
        return []
    done, _ = ray.wait(list(references), num_returns=len(references), timeout=0)
    return list(done)


def heard(node: Node, reference: Any) -> Any:
    """What the node has said, or as text why it could not; None if it is gone. Waits for it."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return f"{type(error.cause).__name__}: {one_line(error.cause)}"
    except ray.exceptions.RayError as error:
        deadline = monotonic() + _SECONDS_TO_BE_MISSED
        while monotonic() < deadline:
            if node not in alive_nodes():
                return None
            sleep(0.5)
        return f"no process can run there: {one_line(error)}"
