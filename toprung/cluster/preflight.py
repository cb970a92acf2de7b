"""Before a sweep begins on a cluster: every node that may train its trials is looked at."""

import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console

from toprung.cluster import node_look, versions
from toprung.cluster.messages import Node, Question, alive_nodes, ask_all
from toprung.cluster.node_look import Answer
from toprung.cluster.placement.free_resources import tell_room
from toprung.cluster.placement.resources import num_fitting
from toprung.console import show_line
from toprung.errors import ToprungError
from toprung.planning.plan import SweepPlan, with_each_weights
from toprung.settings import SweepSettings
from toprung.trainables.config import TrialConfig


def check_cluster(plan: SweepPlan) -> list[Node]:
    """See that the nodes of the cluster that this process has joined can train the sweep's trials.

    Each must have the driver's versions, the sweep's storage, its data and its weights. At the end
    one line, beginning with `cluster: `, says so. Nothing is left behind but what the nodes keep:
    the data, prepared, and weights that they had to download.

    Returns:
        The nodes that can.

    Raises:
        ToprungError: with a line for each node that cannot.
    """
    nodes = alive_nodes()
    trains = [node for node in nodes if can_train(node, plan.settings)]
    trains = _asked(plan.console, trains, partial(versions.look, versions.versions()))
    checked = [_check_storage(plan, trains), _check_inputs(plan, trains)]
    if not trains:
        checked = ["none of them can train a trial yet; those that come are looked at then"]
    show_line(plan.console, f"cluster: {'; '.join([summary(nodes), *checked])}")
    tell_room(plan.settings, partial(show_line, plan.console))
    return trains


def can_train(node: Node, settings: SweepSettings) -> bool:
    """Whether the node has the CPUs for a trial, and the GPUs if it asks for any."""
    if settings.gpus_per_trial == "auto":
        return node.num_cpus >= (settings.cpus_per_trial or 1) and node.num_gpus > 0
    return num_fitting(settings, [{"CPU": node.num_cpus, "GPU": node.num_gpus}]) > 0


def summary(nodes: Sequence[Node]) -> str:
    """How many nodes there are, and what they have."""
    cpus, gpus = sum(node.num_cpus for node in nodes), sum(node.num_gpus for node in nodes)
    counts = [(len(nodes), "node"), (cpus, "CPU"), (gpus, "GPU")]
    return ", ".join(f"{n:g} {what}{'' if n == 1 else 's'}" for n, what in counts if n)


def weights_of(plan: SweepPlan) -> list[tuple[TrialConfig, str]]:
    """A config for each file of weights that trials begin with, and the file's digest here."""
    return [
        (config, node_look.weights_digest(config))
        for config in with_each_weights(plan.proposals.rehearsal.configs)
    ]


def answer_of(said: object) -> Answer:
    """What a node said, which is text where something went wrong, and empty where nothing did."""
    return said if isinstance(said, Answer) else Answer(str(said))


def _check_storage(plan: SweepPlan, nodes: list[Node]) -> str:
    if plan.store is not None:
        _asked(plan.console, nodes, partial(node_look.look_at_store, plan.store))
        return f"storage {plan.store} can be written from all"
    parent = next(folder for folder in plan.folder.path.parents if folder.exists())
    shown = plan.folder.path.parent
    check_shared(parent, nodes, plan.console)
    return f"storage {shown}" + ("" if all(node.is_drivers for node in nodes) else " is shared")


def check_shared(parent: Path, nodes: list[Node], console: Console) -> None:
    """See that every node sees in `parent` what the driver writes, and the driver what they write.

    Raises:
        ToprungError: with a line for each node where that is not so.
    """
    nonce = secrets.token_hex(16)
    with _folder_for_all(parent, nonce) as shared:
        looks = {
            node: partial(node_look.look_at_folder, shared, nonce, node.id[:12]) for node in nodes
        }
        there = _asked(console, nodes, looks)
        unseen = {
            node: f"storage {parent}: what it writes there is not seen here; is it shared?"
            for node in there
            if node_look.read_soon(shared / node.id[:12] / node_look.DRIVER_FILE) != nonce
        }
        _refuse(unseen)


def _check_inputs(plan: SweepPlan, nodes: list[Node]) -> str:
    models = weights_of(plan)
    _asked(plan.console, nodes, partial(node_look.look_at_inputs, plan.data.kinds, models))
    digest = str(plan.data.first.settings.digest)[:8]
    weights = " and weights" if any(digest for _, digest in models) else ""
    return f"data {digest}{weights} the same on all"


def _asked(
    console: Console, nodes: Sequence[Node], question: Question | Mapping[Node, Question]
) -> list[Node]:
    """Ask all at once; those that are still there have answered that all is well."""
    answers = ask_all(nodes, question, partial(show_line, console))
    problems = {}
    for node, said in answers.items():
        answer = answer_of(said)
        if answer.problem:
            problems[node] = answer.problem
        elif answer.warning:
            show_line(console, f"warning: {node}: {answer.warning}")
    _refuse(problems)
    return list(answers)


def _refuse(problems: Mapping[Node, str]) -> None:
    if problems:
        lines = "".join(f"\n  {node}: {problem}" for node, problem in problems.items())
        raise ToprungError(f"the cluster is not ready for this sweep:{lines}")


@contextmanager
def _folder_for_all(parent: Path, nonce: str) -> Iterator[Path]:
    shared = parent / f".toprung-{nonce[:12]}"
    try:
        node_look.leave(shared, nonce)
    except OSError as error:
        raise ToprungError(f"storage {parent}: cannot be written: {error.strerror}") from None
    try:
        yield shared
    finally:
        shutil.rmtree(shared, ignore_errors=True)
    if shared.exists():
        raise ToprungError(
            f"storage {parent}: what nodes write there cannot be removed from here (another "
            f"user's?): {shared}"
        )
