"""What a trial asks for, held against what is free: a sweep that waits must say for what."""

from collections.abc import Callable

from toprung.cluster import ray_internals
from toprung.cluster.placement import resources
from toprung.cluster.placement.resources import Resources
from toprung.settings import SweepSettings


def tell_room(settings: SweepSettings, tell: Callable[[str], None]) -> None:
    """Say so if no trial can begin now; not if the GPU share of a trial is not known yet."""
    if settings.gpus_per_trial == "auto" or resources.num_fitting(settings, free_machines()):
        return
    if resources.num_fitting(settings, resources.nodes()):
        tell(f"the cluster is busy: {room(settings)}; trials begin as soon as there is room")
    else:
        tell(f"no node can take a trial now: {room(settings)}; the autoscaler may bring one")


def room(settings: SweepSettings) -> str:
    """What a trial asks for, and what of the cluster is free."""
    return room_text(settings.each_trial, free_machines(), resources.nodes())


def why_none_begins(settings: SweepSettings) -> str:
    """Why a trial that waits has not begun: there is no room, or its process is starting."""
    if resources.num_fitting(settings, free_machines()):
        return "there is room, and its process is starting"
    return room(settings)


def room_text(asked: Resources, free: list[Resources], there: list[Resources]) -> str:
    """The same of given machines."""
    wants = " and ".join(_number(asked[kind], kind) for kind in asked if asked[kind])
    has = " and ".join(
        f"{_sum(free, kind):g} of {_number(_sum(there, kind), kind)}"
        f" (at most {max((machine[kind] for machine in free), default=0):g} on one node)"
        for kind in asked
        if asked[kind]
    )
    return f"a trial asks for {wants}; free: {has}"


def free_machines() -> list[Resources]:
    """CPUs and GPUs that nobody uses now, of each node."""
    import ray

    per_node = ray_internals.FREE_RESOURCES
    nodes = [ray.available_resources()] if per_node.misfit() else per_node.get()().values()
    return [{kind: node.get(kind, 0.0) for kind in ("CPU", "GPU")} for node in nodes]


def _sum(machines: list[Resources], kind: str) -> float:
    return sum(machine[kind] for machine in machines)


def _number(number: float, kind: str) -> str:
    return f"{number:g} {kind}{'' if number == 1 else 's'}"
