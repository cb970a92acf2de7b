"""A sweep from a machine that is no node of the cluster (`ray://`): its driver runs there.

The driver is a process below an actor on the head node; this machine shows what it prints. If this
machine goes away, the sweep is ended in order a minute later, and can be resumed. For a laptop
that is to be closed there is `toprung submit`.
"""

import logging
import re
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

from toprung.cluster import versions
from toprung.cluster.jobs.options import as_options, check_sweep_place, submitted_sweep
from toprung.cluster.probe import check_client_server
from toprung.cluster.session import prepare_ray
from toprung.cluster.token import use_token
from toprung.console import echo_line
from toprung.errors import ToprungError
from toprung.planning.code_package import Package
from toprung.trainables.system.error_text import one_line

CLIENT = "ray://"
_ON_THE_HEAD = {"node:__internal_head__": 0.001}


def run_there(
    address: str, space: str | None, overrides: Mapping[str, Any], given: Mapping[str, Any]
) -> int:
    """Run `toprung run` on the cluster, show its lines, and return its exit code.

    Args:
        address: `ray://HOST:10001`.
        space: as for `toprung.run`, but no function.
        overrides: as for `toprung.run`.
        given: further arguments of `toprung.run`, by name; `out` is a folder there.

    Raises:
        ValueError: as `toprung.run`; see `toprung.errors.USER_ERRORS`.
    """
    sweep = submitted_sweep(space, overrides, given)
    echo_line(sweep.package.told(), err=True)
    return _drive(address, sweep.arguments, sweep.package)


def resume_there(address: str, sweep: str, given: Mapping[str, Any]) -> int:
    """The same with `toprung resume`, of a sweep that lies where the cluster can read it."""
    folder = check_sweep_place(sweep)
    return _drive(address, ["resume", *as_options(given), "--", folder], Package(None))


def _drive(address: str, arguments: list[str], package: Package) -> int:
    with tempfile.TemporaryDirectory(prefix="toprung-") as place:
        archive = Path(place) / "package.zip"
        package.write(archive)
        content = archive.read_bytes()
    with _connected(address):
        import ray

        from toprung.cluster.jobs.client_actor import RemoteDriver

        _check_versions(address)
        remote = ray.remote(num_cpus=0, resources=_ON_THE_HEAD, lifetime="detached")(RemoteDriver)
        driver = remote.remote(arguments, content)
        try:
            return _follow(driver)
        except ray.exceptions.RayError as error:
            raise ToprungError(
                f"the sweep's driver on the cluster was lost ({type(error).__name__}); if its "
                "trials had begun, resume with: toprung resume"
            ) from None


def _follow(driver: Any) -> int:
    """Show what the driver prints; Ctrl-C is passed on to it, and ends the sweep in order."""
    import ray

    stops: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda signalled, _: stops.append(signalled))
    while True:
        lines, code = ray.get(driver.more.remote())
        for is_error, text in lines:
            click.echo(text, err=is_error)
        if code is not None:
            ray.kill(driver)
            return int(code)
        if stops:
            stops.clear()
            ray.get(driver.interrupt.remote())


@contextmanager
def _connected(address: str) -> Iterator[None]:
    found = re.fullmatch(rf"{CLIENT}(\[[0-9a-fA-F:]+\]|[^:/\s]+):([0-9]{{1,5}})/?", address)
    if not found:
        raise ToprungError(f"address = {address}: must be {CLIENT}HOST:PORT (usually port 10001)")
    use_token()
    check_client_server(found[1].strip("[]"), int(found[2]))
    prepare_ray()
    import ray

    try:
        ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL)
    except Exception as error:
        raise ToprungError(f"{address}: cannot be joined: {one_line(error)}") from None
    try:
        yield
    finally:
        ray.shutdown()


def _check_versions(address: str) -> None:
    """See that the Toprung there is this one."""
    import ray

    ray.cloudpickle.register_pickle_by_value(versions)
    look = partial(versions.look, {"toprung": versions.versions()["toprung"]})

    def call() -> str:
        return look()

    ask = ray.remote(num_cpus=0, resources=_ON_THE_HEAD)(call)
    if problem := ray.get(ask.remote()):
        raise ToprungError(f"the head at {address} has {problem}")
