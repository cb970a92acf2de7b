"""Joining a cluster that runs: this process, on one of its nodes, is the sweep's driver."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from toprung.cluster import ray_internals
from toprung.cluster.placement.resources import is_joined
from toprung.cluster.ray_environment import command_without_secrets
from toprung.cluster.replaced import nothing
from toprung.cluster.session import prepare_ray, signals_kept
from toprung.cluster.token import use_token
from toprung.console import show_line
from toprung.errors import ToprungError
from toprung.trainables.system.error_text import one_line

CLIENT = "ray://"
_JOBS = ("http://", "https://")
RAY_ADDRESS = "RAY_ADDRESS"


@contextmanager
def joined(address: str | None, console: Console) -> Iterator[None]:
    """Be a driver on the cluster at `address`, and leave it afterwards; None: on no cluster.

    A Ray that this process had joined before stays as it is.

    Args:
        address: `auto` (a node of a cluster runs on this machine), or `HOST:PORT` of its head.
        console: where warnings are shown.

    Raises:
        ToprungError: if it cannot be joined.
    """
    had_joined = is_joined()
    if address is None:
        if not had_joined:
            _tell_of_environment(console)
        yield
        return
    prepare_ray()
    import ray

    found = _resolved(address)
    if had_joined:
        _check_same(address, found)
        yield
        return
    _join(found, console)
    try:
        yield
    finally:
        with signals_kept():
            ray.shutdown()


def _resolved(address: str) -> str:
    """HOST:PORT of the head."""
    if address == "auto":
        said = os.environ.get(RAY_ADDRESS)
        address = _running_here() if said in (None, "", "auto") else str(said)
    if address.startswith(_JOBS):
        raise ToprungError(
            f"address = {address}: takes jobs: toprung submit --address {address}; to run the "
            "sweep from here, HOST:PORT of the head (usually port 6379)"
        )
    if address.startswith(CLIENT):
        raise ToprungError(
            f"address = {address}: from Python, a sweep runs where its folder is; use the command "
            "toprung run --address, or toprung submit"
        )
    if not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:/\s]+):[0-9]{1,5}", address):
        raise ToprungError(
            f"address = {address}: must be auto, HOST:PORT of a cluster's head (usually port "
            f"6379), or {CLIENT}HOST:PORT (usually 10001)"
        )
    return address


def _running_here() -> str:
    """The cluster of which this machine is a node."""
    find = ray_internals.CLUSTERS_HERE.needed()
    find.cache_clear()
    found = set(find())
    started_last = ray_internals.LAST_CLUSTER_HERE.needed()(None)
    if started_last in found:
        return str(started_last)
    if len(found) > 1:
        raise ToprungError(
            f"address = auto: this machine is a node of several clusters: "
            f"{', '.join(sorted(found))}; choose one of them with --address"
        )
    if not found:
        raise ToprungError(
            "address = auto: no Ray runs on this machine; start one (ray start --head), make this "
            "machine a node (ray start --address=HEAD:6379), or say where the head is"
        )
    return str(found.pop())


def _join(address: str, console: Console) -> None:
    from toprung.cluster.probe import asks_for_token, check_head, has_node_here

    use_token()
    host, _, port = address.rpartition(":")
    check_head(host.strip("[]"), int(port))
    if not has_node_here(address):
        raise ToprungError(
            f"this machine is no node of the cluster at {address}: make it one (ray start "
            f"--address={address} --num-cpus=0), or hand the sweep over: toprung submit --address "
            f"http://{host}:8265, or toprung run --address {CLIENT}{host}:10001"
        )
    if not asks_for_token(address):
        show_line(
            console,
            f"warning: the cluster at {address} runs open: who reaches its ports can run anything "
            "there (start its nodes with RAY_AUTH_MODE=token)",
        )
    _start_driver(address)


def _start_driver(address: str) -> None:
    import ray

    try:
        with (
            signals_kept(),
            ray_internals.LISTEN_TO_ERRORS.patched(lambda _: nothing),
            command_without_secrets(),
        ):
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:
        ray.shutdown()
        reason = one_line(error.__cause__ or error)
        raise ToprungError(f"the cluster at {address} cannot be joined: {reason}") from error


def _check_same(address: str, found: str) -> None:
    """A notebook that has joined one cluster cannot mean another."""
    import ray

    context = ray.get_runtime_context()
    there = str(context.gcs_address)
    if address not in ("auto", there) and not _has_node(found, context.get_node_id()):
        raise ToprungError(
            f"address = {address}: this process has joined the Ray at {there} already; "
            "ray.shutdown() first, or leave the address out"
        )


def _has_node(address: str, node_id: str) -> bool:
    """Whether the cluster at this address has this node: a head may be known by several names."""
    from toprung.cluster.probe import check_head, node_ids

    host, _, port = address.rpartition(":")
    try:
        check_head(host.strip("[]"), int(port))
    except ToprungError:
        return False
    return node_id in node_ids(address)


def _tell_of_environment(console: Console) -> None:
    if there := os.environ.get(RAY_ADDRESS):
        show_line(
            console,
            f"{RAY_ADDRESS}={there} is not used: this sweep starts a Ray of its own; to join that "
            "cluster: --address auto",
        )
