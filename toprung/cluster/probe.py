"""One question to a cluster before it is joined: Ray itself would ask, and wait, for minutes."""

import os
import socket
from collections.abc import Callable
from typing import Any

from toprung.cluster import ray_internals
from toprung.cluster.token import MODE, TOKEN, token_file
from toprung.errors import ToprungError

_SECONDS = 10.0
"""How long a cluster may take to answer."""


def check_head(host: str, port: int) -> None:
    """See that the head of a Ray of this version answers there, and takes this process's token.

    Raises:
        ToprungError: if not.
    """
    at = f"{host}:{port}"
    _check_open(at, host, port)
    port_of = "its port is that of `ray start --head --port`, usually 6379, not the dashboard's"
    version = _answer(at, port_of, _ask_head).ray_version
    import ray

    if version != ray.__version__:
        raise ToprungError(f"the cluster at {at} has Ray {version}, and here is {ray.__version__}")


def check_client_server(host: str, port: int) -> None:
    """The same of the server for Ray's clients (`ray://`). Ray asks for the versions itself.

    Raises:
        ToprungError: if none answers, or it does not take this process's token.
    """
    at = f"{host}:{port}"
    _check_open(at, host, port)
    port_of = "its port is that of `ray start --head --ray-client-server-port`, usually 10001"
    _answer(at, port_of, _ask_client_server)


def has_node_here(address: str) -> bool:
    """Whether one of the cluster's nodes is this machine: a driver needs one beside it."""
    return not ray_internals.NODES_HERE.needed()().isdisjoint(node_ids(address))


def node_ids(address: str) -> set[str]:
    """The ids of the nodes of the cluster (HOST:PORT, one that answers)."""
    nodes = _ask_head(ray_internals.OPEN_CHANNEL.needed()(address), "GetAllNodeInfo").node_info_list
    return {node.node_id.hex() for node in nodes}


def asks_for_token(address: str) -> bool:
    """Whether the cluster (HOST:PORT, one that answers) turns away those who have no token."""
    import grpc

    try:
        _ask_head(grpc.insecure_channel(address))
    except grpc.RpcError:  # turned away, or not even heard (TLS)
        return True
    return False


def _check_open(at: str, host: str, port: int) -> None:
    try:
        if not 0 < port < 2**16:  # asked for another one, the system would take that modulo 2**16
            raise OverflowError
        socket.create_connection((host, port), timeout=_SECONDS).close()
    except OSError as error:
        raise ToprungError(
            f"no cluster at {at}: {error.strerror or error}; is its head running (ray start "
            "--head), and its port open from here?"
        ) from None
    except (UnicodeError, OverflowError):  # the former: a name that no host can have
        raise ToprungError(f"no cluster at {at}: there can be no such host or port") from None


def _answer(at: str, port_of: str, ask: Callable[[Any], Any]) -> Any:
    """What is answered there to one who shows the token."""
    import grpc

    open_channel = ray_internals.OPEN_CHANNEL.needed()
    try:
        return ask(open_channel(at))
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNAUTHENTICATED:
            raise ToprungError(f"the cluster at {at} refuses the token {_whence()}") from None
        raise ToprungError(
            f"what answers at {at} is no Ray head ({error.code().name}); {port_of}"
        ) from None


def _ask_head(channel: Any, question: str = "CheckAlive") -> Any:
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

    with channel:
        server = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
        request = getattr(gcs_service_pb2, f"{question}Request")()
        return getattr(server, question)(request, timeout=_SECONDS)


def _ask_client_server(channel: Any) -> Any:
    from ray.core.generated import ray_client_pb2, ray_client_pb2_grpc

    with channel:
        ping = ray_client_pb2.ClusterInfoRequest(type=ray_client_pb2.ClusterInfoType.PING)
        return ray_client_pb2_grpc.RayletDriverStub(channel).ClusterInfo(ping, timeout=_SECONDS)


def _whence() -> str:
    if os.environ.get(MODE, "").lower() == "disabled":
        return f"that it was not shown, because {MODE}=disabled is set here"
    where = TOKEN if os.environ.get(TOKEN) else str(token_file())
    return f"in {where}; it must be the one of the cluster's head (there: ray get-auth-token)"
