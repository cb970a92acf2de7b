"""Whether a cluster starts nodes by itself when trials wait for a place."""

import json
import re
from typing import Any

_NOBODYS = re.compile(r"node_[0-9a-f]{56}")
"""Ray's monitor without an autoscaler calls each node so, with its id, and no kind of nodes."""


def autoscales() -> bool:
    """Whether the cluster that this process has joined has an autoscaler.

    Ray does not say so outright. The first autoscaler's monitor writes down its kinds of nodes; the
    second, which is KubeRay's, is known by a flag.
    """
    from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
    from ray.autoscaler.v2.utils import is_autoscaler_v2
    from ray.experimental.internal_kv import _internal_kv_get

    if is_autoscaler_v2(fetch_from_server=True):
        return True
    status = _internal_kv_get(DEBUG_AUTOSCALING_STATUS)
    return bool(status) and has_kinds_of_nodes(json.loads(status))


def has_kinds_of_nodes(status: dict[str, Any]) -> bool:
    """Whether a monitor's status names kinds of nodes, as an autoscaler's does."""
    told = status.get("autoscaler_report", {})
    kinds = [*told.get("active_nodes", {}), *(told.get("node_type_mapping") or {}).values()]
    return any(not _NOBODYS.fullmatch(kind) for kind in kinds)
