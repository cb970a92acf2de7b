"""What Ray's processes get of the driver's environment, and what Ray is told of its command line.

Ray gives its own processes the whole environment of the driver, and records the driver's command
line, which is listed (`ray list jobs`).
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from shlex import join
from typing import Any

from toprung.cluster import ray_internals
from toprung.trainables.system.secrecy import (
    LENT_CREDENTIALS,
    redacted_command,
    store_credentials,
    without_secrets,
)


@contextmanager
def environment_without_secrets() -> Iterator[None]:
    """Start Ray's processes, and with them those of its trials, without credentials."""
    start = ray_internals.OPEN_PROCESS.needed()

    def started(*arguments: Any, env: dict[str, str], **options: Any) -> Any:
        return start(*arguments, env=without_secrets(env), **options)

    with ray_internals.OPEN_PROCESS.replaced(started):
        yield


@contextmanager
def command_without_secrets() -> Iterator[None]:
    """Tell Ray of this process's command line without the secrets in it."""
    ray_internals.COMMAND_LINE.check()
    with ray_internals.COMMAND_LINE.replaced(lambda: join(redacted_command(sys.orig_argv))):
        yield


def lend_store_credentials(url: str) -> None:
    """Let trials of a Ray that was started here write to this store.

    Their environment is that of Ray's processes, which has no secrets. What they need is kept in
    the memory of Ray's server, which answers only to who has its token, and ends with the sweep. On
    a cluster that is joined each node has credentials of its own.
    """
    put = ray_internals.KEEP_VALUE.needed()
    put(LENT_CREDENTIALS, json.dumps(store_credentials(url, os.environ)))
