"""Sweeps through Ray's client: the driver's process on the head, and what is shown of it here."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from toprung.cluster.jobs import client_driver
from toprung.cluster.jobs.client_actor import RemoteDriver
from toprung.errors import ToprungError
from toprung.planning.code_package import package


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "mine.py").touch()
    package(tmp_path / "project").write(tmp_path / "package.zip")
    return (tmp_path / "package.zip").read_bytes()


def test_the_head_keeps_nothing_of_the_user_s_code_when_its_driver_has_ended(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "head").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "head"))
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address="a:1"))
    monkeypatch.setattr(RemoteDriver, "_watch", lambda _: None)  # it would end this process
    driver = RemoteDriver(["status", "nowhere"], content)
    (kept,) = (tmp_path / "head").rglob("mine.py")
    shown: list[tuple[bool, str]] = []
    code = None
    while code is None:
        lines, code = driver.more()
        shown += lines
    assert code == 2
    ((is_error, line),) = shown
    assert is_error
    assert line.startswith("error: address = a:1: here it must be that of the job server")
    assert not kept.exists()
    assert list((tmp_path / "head").iterdir()) == []
    assert driver.more() == ([], 2)


@pytest.fixture
def signals() -> Iterator[None]:
    """Those of this process, as they are, afterwards."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_its_lines_are_shown_and_ctrl_c_is_passed_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[str] = []

    def more() -> tuple[list[tuple[bool, str]], int | None]:
        calls.append("more")
        if calls == ["more"]:
            os.kill(os.getpid(), signal.SIGINT)
            return [(True, "trial 0 begins")], None
        return [(False, "partial")], 130

    def method(action: Any) -> SimpleNamespace:
        return SimpleNamespace(remote=action)

    driver = SimpleNamespace(more=method(more), interrupt=method(lambda: calls.append("interrupt")))
    monkeypatch.setattr(ray, "get", lambda answer: answer)
    monkeypatch.setattr(ray, "kill", lambda _: calls.append("kill"))
    assert client_driver._follow(driver) == 130
    assert calls == ["more", "interrupt", "more", "kill"]
    assert capsys.readouterr() == ("partial\n", "trial 0 begins\n")


@pytest.mark.parametrize("address", ["ray://head", "ray://head:x", "ray://head:10001/x"])
def test_an_address_that_is_none_is_told(address: str) -> None:
    with pytest.raises(ToprungError, match="must be ray://HOST:PORT"):
        client_driver.resume_there(address, "/shared/sweeps/x", {})


def test_a_sweep_that_is_not_there_is_told_before_anything_is_joined() -> None:
    with pytest.raises(ToprungError, match="must be the absolute path of the sweep's folder there"):
        client_driver.resume_there("ray://head:10001", "sweeps/x", {})
