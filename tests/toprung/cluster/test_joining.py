"""What is told of a cluster that cannot be joined: one line, at once."""

import io
import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import ray
from rich.console import Console

from toprung.cluster import joining, probe
from toprung.cluster.joining import joined
from toprung.cluster.probe import check_client_server, check_head
from toprung.errors import ToprungError


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://head:8265", "toprung submit --address http://head:8265"),
        ("ray://head:10001", "use the command toprung run --address, or toprung submit"),
        ("head", "must be auto, HOST:PORT"),
        ("head:port", "must be auto, HOST:PORT"),
        ("head:6379/x", "must be auto, HOST:PORT"),
    ],
)
def test_an_address_of_another_kind_is_told_with_what_to_do(address: str, message: str) -> None:
    with pytest.raises(ToprungError, match=message), joined(address, Console()):
        pytest.fail("there is no such cluster")


def test_auto_takes_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://head:8265")
    with pytest.raises(ToprungError, match="address = http://head:8265"), joined("auto", Console()):
        pytest.fail("there is no such cluster")


def test_auto_in_the_environment_is_the_ray_on_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setattr(joining, "_running_here", lambda: "http://found-here:1")
    with pytest.raises(ToprungError, match="found-here"), joined("auto", Console()):
        pytest.fail("there is no such cluster")


def test_another_head_with_the_same_port_is_another_cluster(
    monkeypatch: pytest.MonkeyPatch, hangs_up: int
) -> None:
    there = SimpleNamespace(gcs_address=f"head.example:{hangs_up}", get_node_id=lambda: "a" * 56)
    monkeypatch.setattr(joining, "is_joined", lambda: True)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: there)
    other = f"127.0.0.1:{hangs_up}"
    with pytest.raises(ToprungError, match="has joined the Ray at head"), joined(other, Console()):
        pytest.fail("that is another one")
    monkeypatch.setattr(probe, "check_head", lambda *_: None)
    monkeypatch.setattr(probe, "node_ids", lambda _: {"a" * 56})  # the same by another name
    with joined(other, Console()), joined(there.gcs_address, Console()):
        pass


@pytest.mark.parametrize(("host", "port"), [("a..b", 6379), ("127.0.0.1", 99999)])
def test_a_host_or_port_that_cannot_be_is_one_line(host: str, port: int) -> None:
    with pytest.raises(ToprungError, match="there can be no such host or port"):
        check_head(host, port)


def test_what_the_environment_says_is_not_ignored_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(joining, "is_joined", lambda: False)  # whatever ran before in this process
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    console = Console(file=io.StringIO())
    with joined(None, console):
        pass
    assert console.file.getvalue().startswith("RAY_ADDRESS=head:6379 is not used")  # type: ignore[attr-defined]


@pytest.fixture
def hangs_up() -> Iterator[int]:
    """The port of a server that is no Ray."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connection.close()

        threading.Thread(target=answer, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("check", [check_head, check_client_server])
def test_where_nothing_or_something_else_answers(
    check: Callable[[str, int], None], hangs_up: int
) -> None:
    with pytest.raises(ToprungError, match="is no Ray head") as error:
        check("127.0.0.1", hangs_up)
    assert "\n" not in str(error.value)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(ToprungError, match=r"no cluster at 127.0.0.1:.*refused"):
        check("127.0.0.1", port)
