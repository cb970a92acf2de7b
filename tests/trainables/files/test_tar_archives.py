"""A tar.gz from a stranger: only plain files come out of it, and no more than the bounds say."""

import gzip
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from toprung.trainables.files import tar_archives
from toprung.trainables.files.archives import ArchiveError
from toprung.trainables.files.tar_archives import unpack_tar


def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(content), kind, "/etc/passwd"
    return info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


def archive(members: Iterable[bytes]) -> bytes:
    return gzip.compress(b"".join(members) + bytes(1024), 1, mtime=0)


def claiming(size: int) -> bytes:
    """An empty file of which a pax header says another size."""
    info = tarfile.TarInfo("a")
    info.pax_headers = {"size": str(size)}
    return info.tobuf(tarfile.PAX_FORMAT)


def test_plain_files_come_out_as_they_were(tmp_path: Path) -> None:
    long = "/".join(["folder"] * 30) + "/long"
    with io.BytesIO() as packed:
        with tarfile.open(fileobj=packed, mode="w:gz") as files:
            for name in ("a", "b/ä", long):
                info = tarfile.TarInfo(name)
                info.size = 3
                files.addfile(info, io.BytesIO(b"abc"))
        unpack_tar(packed.getvalue(), tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in ("a", "b/ä", long)} == {
        "a": b"abc",
        "b/ä": b"abc",
        long: b"abc",
    }


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (tarfile.SYMTYPE, "a"),
        (tarfile.LNKTYPE, "a"),
        (tarfile.FIFOTYPE, "a"),
        (tarfile.CHRTYPE, "a"),
        (tarfile.BLKTYPE, "a"),
        (tarfile.DIRTYPE, "a"),
        (tarfile.CONTTYPE, "a"),
        (tarfile.GNUTYPE_SPARSE, "a"),
        (b"?", "a"),
        (tarfile.REGTYPE, "/a"),
        (tarfile.REGTYPE, "../a"),
        (tarfile.REGTYPE, "b/../../a"),
    ],
)
def test_anything_else_is_refused(kind: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    with pytest.raises(ArchiveError, match="which is not a"):
        unpack_tar(archive([member(name, kind=kind)]), tmp_path / "to")
    assert list(tmp_path.rglob("*")) == [tmp_path / "to"]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([member("a", bytes(900_000))] * 2, "more than 1,000,000 bytes"),
        ([member("a/" * 60 + "a")] * 20, "more than 1,000 names"),
        ([member("x", b"n" * 70_000, tarfile.GNUTYPE_LONGNAME)], "more than 65,536 bytes"),
        ([member("x", b"n\0", tarfile.GNUTYPE_LONGNAME)] * 3000, "1,000,000 bytes|is damaged"),
        ([claiming(8_000_000_000)], "more than 1,000,000 bytes"),
        ([claiming(-512)], "not a file below|is damaged"),
        ([b"\xff" * 2000], "is damaged"),
    ],
    ids=["bytes", "names", "long name", "chain", "claims", "negative", "none"],
)
def test_an_archive_that_is_too_large_or_damaged(
    members: list[bytes], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar_archives, "MAX_WELL_COMPRESSED_BYTES", 1_000_000)
    monkeypatch.setattr(tar_archives, "MAX_NAMES", 1_000)
    with pytest.raises(ArchiveError, match=said):
        unpack_tar(archive(members), tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 1_000_000


@pytest.mark.parametrize(
    "content",
    [b"", b"not gzip", archive([member("a", bytes(999))])[:-30]],
    ids=["empty", "not gzip", "torn"],  # what gzip writes has the time, and so had the test's name
)
def test_what_is_not_a_whole_archive(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"is not a tar\.gz, or is damaged"):
        unpack_tar(content, tmp_path)
