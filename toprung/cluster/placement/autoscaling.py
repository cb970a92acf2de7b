"""Whether a cluster starts nodes by itself when trials wait for a place."""

import json
import re
from typing import Any

from toprung.cluster import ray_internals

_NOBODYS = re.compile(r"node_[0-9a-f]{56}")
"""Ray's monitor without an autoscaler calls each node so, with its id, and no kind of nodes."""


def autoscales() -> bool:
    """Whether the cluster that this process has joined has an autoscaler.

    Ray does not say so outright. The first autoscaler's monitor writes down its kinds of nodes; the
    second, which is KubeRay's, is known by a flag.
    """
    from ray.autoscaler.v2.utils import is_autoscaler_v2

    if is_autoscaler_v2(fetch_from_server=True):
        return True
    names = (ray_internals.KEPT_VALUE, ray_internals.AUTOSCALING_STATUS)
    if any(name.misfit() for name in names):
        return False
    status = ray_internals.KEPT_VALUE.get()(ray_internals.AUTOSCALING_STATUS.get())
    return bool(status) and has_kinds_of_nodes(json.loads(status))


def has_kinds_of_nodes(status: dict[str, Any]) -> bool:
    """Whether a monitor's status names kinds of nodes, as an autoscaler's does."""
    told = status.get("autoscaler_report", {})
    kinds = [*told.get("active_nodes", {}), *(told.get("node_type_mapping") or {}).values()]
    return any(not _NOBODYS.fullmatch(kind) for kind in kinds)
