"""The watchers see what they are there for: a test that stands on them could fail."""

import os
import socket
import sqlite3
import urllib.request
from pathlib import Path

import psycopg
import pytest

from tests.support.watchers import bait, files_opened, greedy_postgres, refuse_sockets, touched


def test_sockets_are_refused() -> None:
    with bait() as server, refuse_sockets() as refused:
        with pytest.raises(OSError, match="a test refuses"):
            socket.create_connection(("127.0.0.1", server.port))
        with pytest.raises(OSError, match="a test refuses"):
            urllib.request.urlopen("http://host.invalid/")
    assert len(refused) == 2
    assert server.heard == []
    socket.getaddrinfo("127.0.0.1", 1)


def test_bait_hears_what_a_c_library_says() -> None:
    with bait(greedy_postgres) as server:
        url = f"postgresql://someone:secret@127.0.0.1:{server.port}/x"
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
    assert b"someone" in server.heard[-1]
    assert b"secret" in server.heard[-1]


def test_opened_files_are_seen(tmp_path: Path) -> None:
    with files_opened() as opened:
        (tmp_path / "a").write_text("x")
        (tmp_path / "a").rename(tmp_path / "b")
        os.scandir(tmp_path).close()
        sqlite3.connect(f"file:{tmp_path}/db?mode=rwc", uri=True).close()
        (tmp_path / "b").unlink()
    (tmp_path / "c").touch()
    mine = [(event, path) for event, path in opened if path.is_relative_to(tmp_path)]
    assert mine == [
        ("open", tmp_path / "a"),
        ("os.rename", tmp_path / "a"),
        ("os.rename", tmp_path / "b"),
        ("os.scandir", tmp_path),
        ("sqlite3.connect", tmp_path / "db"),
        ("os.remove", tmp_path / "b"),
    ]


def test_what_is_touched_is_seen_whoever_does_it(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    database = tmp_path / "in" / "db"
    with sqlite3.connect(database) as made:
        made.execute("CREATE TABLE t AS SELECT 1")
    made.close()
    with touched(tmp_path) as names:
        pass
    assert names == []
    with touched(tmp_path) as names:
        with sqlite3.connect(database) as read:
            assert read.execute("SELECT * FROM t").fetchall() == [(1,)]
        read.close()
    assert "in/db" in names
