"""A study that would make SQLite read and delete a file elsewhere is not opened."""

import shutil
import sqlite3
import struct
from pathlib import Path

import pytest

from tests.support.fuzzed_sweep import Place, commands, run
from toprung.analysis.sweep_folder.sqlite_file import check_study_file
from toprung.storage.study_copy import copy_study

MAGIC = bytes.fromhex("d9d505f920a163d7")


def hot_journal(study: Path, victim: Path) -> None:
    """Leave what a transaction over two databases leaves, killed; its super-journal is the victim.

    See https://www.sqlite.org/fileformat2.html#the_rollback_journal
    """
    copy = study.with_name("copy.db")
    shutil.copy(study, copy)
    connection = sqlite3.connect(copy)
    connection.execute("PRAGMA cache_size = 1")  # so that changes reach the files at once
    connection.execute("BEGIN")
    connection.execute("CREATE TABLE large AS SELECT zeroblob(100000)")
    journal = bytearray(copy.with_name("copy.db-journal").read_bytes())
    connection.rollback()
    connection.close()
    copy.unlink()
    name = str(victim).encode()
    (page_size,) = struct.unpack(">I", journal[24:28])
    journal[:8] = MAGIC
    journal += struct.pack(">I", 2**30 // page_size + 1) + name
    journal += struct.pack(">II", len(name), sum(name)) + MAGIC
    study.with_name(f"{study.name}-journal").write_bytes(journal)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "precious.txt"
    path.write_text("mine")
    return path


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.db"
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE numbers AS SELECT 7 AS number")
    made.close()
    return path


def test_sqlite_itself_would_delete_it(study: Path, victim: Path) -> None:
    hot_journal(study, victim)
    with sqlite3.connect(study) as opened:
        assert opened.execute("SELECT number FROM numbers").fetchall() == [(7,)]
    opened.close()
    assert not victim.exists()


def test_a_copy_of_it_does_not(study: Path, victim: Path) -> None:
    hot_journal(study, victim)
    with pytest.raises(sqlite3.Error):
        copy_study(study, study.with_name("copied.db"))
    assert victim.read_text() == "mine"


def test_a_journal_of_one_s_own_is_let_through(study: Path, victim: Path) -> None:
    hot_journal(study, victim)
    journal = study.with_name("study.db-journal")
    content = journal.read_bytes()
    journal.write_bytes(content[: -16 - len(str(victim)) - 4])
    check_study_file(study)
    for end in (content, content[-16:], content[-8:]):
        journal.write_bytes(end)
        with pytest.raises(ValueError, match="names a file elsewhere"):
            check_study_file(study)


def test_no_command_opens_it(place: Place, victim: Path) -> None:
    hot_journal(place.sweep / "study.db", victim)
    looks = [name for name, words in commands(place).items() if str(place.sweep) in words]
    for name in [*looks, "resume"]:
        code, said = run(commands(place).get(name, ["resume", str(place.sweep), "--trust"]))
        assert (code, "names a file elsewhere" in said) == (2, True), name
    assert victim.read_text() == "mine"
