"""A cluster's job server, asked over HTTP by Ray's own client; each failure is one clear line."""

import asyncio
import difflib
import http.client
import itertools
import json
import logging
import os
import re
import shlex
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from toprung.cluster import ray_internals
from toprung.cluster.jobs.http_address import API_SERVER, http_address
from toprung.cluster.token import use_token
from toprung.errors import ToprungError
from toprung.trainables.system.error_text import innermost, last_line, one_line

_SECONDS_TO_ANSWER = 10
_SECONDS_OF_SILENCE = 60
"""After that, a server that says nothing does not answer, and a log's server is looked at."""
_SECONDS_BETWEEN_LOOKS = 0.3
_SECONDS_TO_COME_BACK = 2
_OF_RAY = re.compile(r"Running entrypoint for job |[\d-]+ [\d:,]+\s+INFO job_manager\.py:")
"""What Ray writes into a job's log when it begins."""


class UnreachableError(ToprungError):
    """A cluster that does not answer, or no more."""


class JobExistsError(ToprungError):
    """A job of this id was submitted before."""


class JobServer:
    """The job server of a cluster that answers, accepts the token and runs the Ray that is here.

    Raises:
        ToprungError: if one of these is not so.
    """

    def __init__(self, address: str | None) -> None:
        self.address = http_address(address)
        use_token()
        from ray.job_submission import JobSubmissionClient

        for name in ("job.sdk", "dashboard_sdk"):  # their loggers tell each step
            logging.getLogger(f"ray.dashboard.modules.{name}").setLevel(logging.WARNING)
        self.ray_version = self._check()
        with _asked_for(self.address), self._clear_errors():
            self._client = JobSubmissionClient(self.address)
        # Ray's client would wait for ever for a head that is lost. It passes the time to requests.
        ask = ray_internals.ASK_JOB_SERVER
        if not ask.misfit():
            ask.set(self._client, partial(ask.of(self._client), timeout=_SECONDS_OF_SILENCE))

    def submit(
        self,
        job_id: str,
        entrypoint: str,
        metadata: Mapping[str, str],
        runtime_env: Mapping[str, Any],
    ) -> None:
        """Hand over a job; it starts by itself.

        Raises:
            JobExistsError: if there is one of this id; of two that are submitted at once, one is.
        """
        try:
            with self._clear_errors():
                self._client.submit_job(
                    entrypoint=entrypoint,
                    submission_id=job_id,
                    metadata=dict(metadata),
                    runtime_env=dict(runtime_env),
                )
        except ToprungError as error:
            if f"{job_id} already exists" in str(error):
                raise JobExistsError(str(error)) from None
            raise

    def jobs(self) -> list[Any]:
        """All jobs that were submitted to the cluster, as Ray's `JobDetails`."""
        with self._clear_errors():
            return [job for job in self._client.list_jobs() if job.submission_id]

    def info(self, job_id: str) -> Any:
        """What is known of a job, as Ray's `JobDetails`.

        Raises:
            ToprungError: if there is no such job, naming the nearest.
        """
        try:
            with self._clear_errors():
                return self._client.get_job_info(job_id)
        except ToprungError:
            ids = [job.submission_id for job in self.jobs()]
            if job_id in ids:
                raise
            close = difflib.get_close_matches(job_id, ids, n=3, cutoff=0.4)
            nearest = f"; nearest: {', '.join(close)}" if close else ""
            raise ToprungError(
                f"{job_id}: there is no job of this id at {self.address}{nearest}. See toprung jobs"
            ) from None

    def stop(self, job_id: str) -> None:
        """Ask a job to end; it is killed if it has not within its time."""
        with self._clear_errors():
            self._client.stop_job(job_id)

    def delete(self, job_id: str) -> None:
        """Forget a job that has ended."""
        with self._clear_errors():
            self._client.delete_job(job_id)

    def log(self, job_id: str) -> str:
        """All that a job has printed."""
        with self._clear_errors():
            log: str = self._client.get_job_logs(job_id)
        return "\n".join(_of_the_job(log.splitlines()))

    def follow(self, job_id: str) -> Iterator[str]:
        """The lines that a job prints, as they come, until it ends; all from the beginning.

        A connection that is cut is taken up again where it was.
        """
        self._wait_for_start(job_id)
        yield from _of_the_job(self._all_lines(job_id))

    def wait(self, job_id: str) -> Any:
        """Return when a job has ended: what is known of it then."""
        while not (info := self.info(job_id)).status.is_terminal():
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        return info

    def python(self) -> str:
        """The Python that Ray runs on the head node, where the jobs' drivers run.

        A job's own `python` would be whatever is first on the PATH there.

        Raises:
            ToprungError: if the head does not tell.
        """
        deadline = time.monotonic() + _SECONDS_TO_ANSWER
        while time.monotonic() < deadline:
            nodes = self._get("/nodes?view=summary")["data"]["summary"]
            heads = [node["raylet"] for node in nodes if node["raylet"].get("isHeadNode")]
            for head in heads:
                detail = self._get(f"/nodes/{head['nodeId']}")["data"]["detail"]
                if python := python_of_workers(detail.get("cmdline") or []):
                    return python
            time.sleep(_SECONDS_BETWEEN_LOOKS)  # its first report comes some seconds after it
        raise ToprungError(
            f"{self.address}: does not say which Python its Ray runs in; give it: --python PATH"
        )

    def _wait_for_start(self, job_id: str) -> None:
        while self.info(job_id).status == "PENDING":
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _all_lines(self, job_id: str) -> Iterator[str]:
        num_seen = 0
        while True:
            for line in itertools.islice(self._lines(job_id), num_seen, None):
                num_seen += 1
                yield line
            has_ended = self.info(job_id).status.is_terminal()
            with self._clear_errors():
                *lines, half = self._client.get_job_logs(job_id).split("\n")
            lines += [half] if half and has_ended else []
            yield from lines[num_seen:]
            if has_ended:
                return
            num_seen = max(num_seen, len(lines))
            time.sleep(_SECONDS_TO_COME_BACK)

    def _lines(self, job_id: str) -> Iterator[str]:
        """The whole lines of a job's log, until it ends or the connection is cut."""
        from aiohttp import ClientError

        half = ""
        with asyncio.Runner() as runner:
            chunks = self._client.tail_job_logs(job_id)
            try:
                while (chunk := runner.run(_next(chunks, partial(self.info, job_id)))) is not None:
                    *lines, half = (half + chunk).split("\n")
                    yield from lines
            except (RuntimeError, OSError, ClientError):
                return  # whoever asks sees whether the job goes on
            finally:
                with suppress(RuntimeError):  # a signal may have left it in the midst of a step
                    runner.run(chunks.aclose())

    def _check(self) -> str:
        """See that this is a Ray's job server, and of which version."""
        import ray

        said = self._get("/api/version")
        version = said.get("ray_version") if isinstance(said, dict) else None
        if not isinstance(version, str):
            raise ToprungError(f"{self.address}: answers, but is no Ray dashboard")
        if version != ray.__version__:
            raise ToprungError(
                f"{self.address}: runs Ray {version}, and here is Ray {ray.__version__}; they must "
                f"be the same: pip install 'ray[default,tune]=={version}'"
            )
        return version

    def _get(self, path: str) -> Any:
        request = urllib.request.Request(self.address + path, headers=_token_header())
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS_TO_ANSWER) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in (401, 403):
                raise self._refused(error.code) from None
            raise ToprungError(
                f"{self.address}: answers {error.code} to {path}; is it a Ray dashboard?"
            ) from None
        except (ValueError, http.client.HTTPException):
            raise ToprungError(f"{self.address}: answers, but is no Ray dashboard") from None
        except OSError as error:
            raise self._unreachable(error) from None

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError as error:
            raise self._refused(401 if "required" in str(error) else 403) from None
        except OSError as error:
            raise self._unreachable(error) from None
        except RuntimeError as error:
            said = last_line(str(error)) or "an error without words"
            raise ToprungError(f"{self.address}: {said}") from None

    def _refused(self, code: int) -> ToprungError:
        if code == 401:
            return ToprungError(
                f"{self.address}: asks for a token, and was shown none; see RAY_AUTH_TOKEN_PATH"
            )
        return ToprungError(
            f"{self.address}: does not accept the token that is here; it is another cluster's, or "
            "an old one (there: ray get-auth-token)"
        )

    def _unreachable(self, error: OSError) -> UnreachableError:
        cause = innermost(error)
        plain = getattr(cause, "strerror", None) or one_line(cause)
        return UnreachableError(f"{self.address}: the cluster cannot be reached: {plain}")


def _of_the_job(lines: Iterable[str]) -> Iterator[str]:
    """A job's own lines, without what Ray writes between the first of them."""
    return (line for line in lines if not _OF_RAY.match(line))


def python_of_workers(raylet: list[str]) -> str | None:
    """What the command that a node's raylet starts its workers with begins with."""
    option = "--python_worker_command="
    commands = [part.removeprefix(option) for part in raylet if part.startswith(option)]
    return shlex.split(commands[0])[0] if commands and commands[0].strip() else None


def _token_header() -> dict[str, str]:
    header: dict[str, str] = ray_internals.TOKEN_HEADER.needed()({})
    return header


async def _next(chunks: Any, look: Callable[[], object]) -> str | None:
    """The next chunk of a log; looks whether the server is there while none comes."""
    waiting = asyncio.ensure_future(anext(chunks, None))
    while not (await asyncio.wait({waiting}, timeout=_SECONDS_OF_SILENCE))[0]:
        look()
    return await waiting


@contextmanager
def _asked_for(address: str) -> Iterator[None]:
    """Ray's client takes the address that it is given; it would prefer that of the variables."""
    before = os.environ.get(API_SERVER)
    os.environ[API_SERVER] = address
    try:
        yield
    finally:
        os.environ.pop(API_SERVER)
        if before is not None:
            os.environ[API_SERVER] = before
