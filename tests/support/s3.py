"""An S3-compatible server of the tests' own, moto's, on 127.0.0.1."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "of-toprung",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
BUCKET = "bucket"
_SECONDS_TO_START = 60


class S3Server:
    """A server that can be stopped, and started again with nothing in it but the bucket."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it answers, and has its bucket, when this returns."""
        code = "import sys; from moto.server import main; sys.exit(main())"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, "-H", "127.0.0.1", "-p", str(self._port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        make = urllib.request.Request(f"{self.endpoint}/{BUCKET}", method="PUT")
        deadline = time.monotonic() + _SECONDS_TO_START
        while True:
            try:
                urllib.request.urlopen(make).close()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("moto's server did not start") from None
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A server that runs, with a bucket, and is what this process's environment names."""
    server = S3Server()
    names = {**ENVIRONMENT, "AWS_ENDPOINT_URL": server.endpoint}
    before = {name: os.environ.get(name) for name in names}
    server.start()
    os.environ.update(names)
    try:
        yield server
    finally:
        server.stop()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
