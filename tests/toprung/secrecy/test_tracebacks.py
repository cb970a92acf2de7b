"""Tracebacks of errors that nobody catches."""

import sys
import threading

import pytest

from tests.support.canaries import VARIABLES, canaries_set, found_in
from toprung.secrecy.tracebacks import show_without_secrets


def test_are_shown_without_secrets_in_every_thread(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # as before, afterwards
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    show_without_secrets()

    def fail() -> None:
        raise KeyError(f"no access with {VARIABLES['HF_TOKEN']}")

    with canaries_set():
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        with pytest.raises(KeyError) as raised:
            fail()
        sys.excepthook(KeyError, raised.value, raised.tb)
        threading.Thread(target=sys.exit).start()
    shown = capsys.readouterr().err
    assert shown.count("no access with [secret]") == 2
    assert shown.count("Traceback") == 2
    assert found_in([shown]) == []
