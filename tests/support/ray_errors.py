"""What Ray raises when the process of a trial, or its node, is lost: Ray's own classes.

The words within come from Ray's programs; `tests/toprung/cluster/test_lost_node.py` looks for them
there.
"""

from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.exceptions import ActorDiedError

WORKER_DIED = (
    "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR "
    "Worker exit detail: Worker unexpectedly exits with a connection error code 2. End of file. "
    "Some common causes include: (1) the process was killed by the OOM killer due to high memory "
    "usage, (2) ray stop --force was called, or (3) the worker crashed unexpectedly due to SIGSEGV"
)
NODE_DIED = (
    "The actor died because its node has died. Node Id: b33f211e\n\tthe actor's node was "
    "terminated unexpectedly: health check failed due to missing too many heartbeats"
)
CUT_OFF = "The actor is temporarily unavailable: RpcError: RPC error: Socket closed rpc_code: 14"


def actor_died(message: str, address: str = "127.0.0.1") -> ActorDiedError:
    """Return the error that Ray raises for an actor of which its server says this."""
    cause = ActorDiedErrorContext(
        error_message=message,
        class_name="ImplicitFunc",
        actor_id=b"\x2d" * 16,
        pid=7,
        node_ip_address=address,
    )
    return ActorDiedError(cause)
