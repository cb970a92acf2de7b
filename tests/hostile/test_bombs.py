"""Files that are small, and would stand for gigabytes or hours: each is refused in one line."""

import io
import json
import os
import pickle
import sqlite3
import struct
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.fuzzed_sweep import WINNER, Place, commands, run
from toprung.analysis.models.model import load_model
from toprung.analysis.models.predictions import MAX_WELL_COMPRESSED_BYTES, load_predictions
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.trainables.files.archives import MAX_DIRECTORY_BYTES, ArchiveError, check_archive
from toprung.trainables.files.pickles import PickleError, check_pickle
from toprung.trainables.files.plain_yaml import MAX_VALUES, YamlError, read_yaml
from toprung.trainables.files.tensor_files import MAX_TENSORS, check_header, check_tensors
from toprung.trainables.files.untrusted_files import (
    MAX_COLUMNS,
    MAX_SPARSE_BYTES,
    MAX_TEXT_BYTES,
    UntrustedFileError,
    read_table,
)
from toprung.trainables.pretrained.weights import read_state
from toprung.trainables.system.typed_settings import ConfigError

CHECKPOINT = f"trials/trial_{WINNER:05d}/checkpoint.pt"
LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}]\n" for n in range(1, 40))
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], y{n}: 1}}\n" for n in range(1, 60)
)
SAME_HASH = "".join(f"{n * (2**61 - 1)}: 1\n" for n in range(1, 5_000))


ENDLESS = (
    "ALTER TABLE trials RENAME TO others; CREATE VIEW trials AS WITH RECURSIVE n(x) AS "
    "(SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS trial_id, x AS number FROM n"
)
COMPUTED = (
    "ALTER TABLE trials ADD COLUMN evil GENERATED ALWAYS AS (hex(zeroblob(1000000000))) VIRTUAL"
)
MANY_TABLES = (
    "BEGIN; PRAGMA writable_schema = ON; WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 "
    "FROM n LIMIT 30000) INSERT INTO sqlite_master SELECT 'view', 't' || x, 't' || x, 0, "
    "'CREATE VIEW t' || x || ' AS SELECT 1' FROM n; COMMIT"
)


def _attribute(value: str) -> str:
    return f"UPDATE trial_user_attributes SET value_json = {value} WHERE trial_id = 1"


def _rows(count: int) -> str:
    return "".join(
        f"INSERT INTO trial_user_attributes(trial_id, key, value_json) VALUES (1, 'k{n}', '{n}');"
        for n in range(count)
    )


class TestYaml:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (LAUGHS, f"more than {MAX_VALUES:,} values"),
            (MERGES, f"more than {MAX_VALUES:,} values"),
            ("- a\n" * (MAX_VALUES + 1), f"more than {MAX_VALUES:,} values"),
            ("#" * (MAX_TEXT_BYTES + 1), f"more than {MAX_TEXT_BYTES:,} characters"),
            ("a: &a [*a]", r"\*a is within the group that it refers to"),
            ("a: 1" + ":59" * 1_000_000, "a number of 3000001 digits"),
            ("a: 1" + ":59" * 1_000_000 + ".5", "a number of 3000003 digits"),
            ("a: " + "9" * 1_000_000, "a number of 1000000 digits"),
            ("a: 0x" + "f" * 1_000_000, "a number of 1000002 digits"),
            (SAME_HASH, "a number of 21 digits, more than 20"),
        ],
        ids=lambda text: text[:12],
    )
    def test_a_bomb(self, text: str, said: str) -> None:
        with pytest.raises(YamlError, match=said) as error:
            read_yaml(text)
        assert len(str(error.value)) < 200

    def test_in_every_file(self, place: Place) -> None:
        for file, command in (("sweep.yaml", "status"), ("best/trial.yaml", "predict")):
            with (place.sweep / file).open("a") as opened:
                opened.write(LAUGHS)
            code, told = run(commands(place)[command])
            assert (code, len(told.splitlines()), "more than" in told) == (2, 1, True), told

    def test_aliases_and_merges_that_people_write(self) -> None:
        text = "base: &base {lr: 1, betas: &b [1, 2]}\nmine: {<<: *base, lr: 2}\nother: *b\n"
        assert read_yaml(text)["mine"] == {"lr": 2, "betas": [1, 2]}

    def test_the_names_of_all_of_imagenet_21k(self) -> None:
        names = [f"n{number:08d}" for number in range(21_841)]
        assert read_yaml("names:\n" + "".join(f"- {name}\n" for name in names)) == {"names": names}


class TestJson:
    @pytest.mark.parametrize("file", ["best/config.json", "sealed_test.json"])
    @pytest.mark.parametrize(
        "text", ["[" * 1_000_000, '{"trial": ' + "9" * 1_000_000 + "}"], ids=["deep", "long"]
    )
    def test_a_bomb(self, file: str, text: str, place: Place) -> None:
        (place.sweep / file).write_text(text)
        command = "predict" if file.startswith("best") else "status"
        code, told = run(commands(place)[command])
        assert (code, len(told.splitlines())) == (2, 1)
        assert len(told) < 1000

    def test_a_billion_classes(self, place: Place) -> None:
        file = place.sweep / "best" / "config.json"
        card = json.loads(file.read_text())
        card["label_names"] = ["a"] * 3_000_000
        file.write_text(json.dumps(card, separators=(",", ":")))
        code, told = run(commands(place)["predict"])
        assert (code, len(told.splitlines())) == (2, 1)
        assert "another network" in told


def _zip(path: Path, **entries: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def _overlapping(path: Path, count: int) -> None:
    """An archive whose entries are all the same part of it."""
    path.write_bytes(b"")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("0", b"x" * 2**16)
        info = archive.infolist()[0]
        for number in range(1, count):
            twin = zipfile.ZipInfo(str(number))
            for name in ("CRC", "compress_size", "file_size", "header_offset", "compress_type"):
                setattr(twin, name, getattr(info, name))
            archive.filelist.append(twin)
            archive.NameToInfo[twin.filename] = twin
        archive.comment = b"changed"


class TestArchives:
    def test_one_that_unpacks_to_much(self, tmp_path: Path) -> None:
        _zip(tmp_path / "a", zeros=bytes(10 * 2**20))
        with (tmp_path / "a").open("rb") as file:
            check_archive(file, most_bytes=10 * 2**20)
            with pytest.raises(ArchiveError, match="to 10,485,760 bytes; at most 1,000 are"):
                check_archive(file, most_bytes=1000)
            with pytest.raises(ArchiveError, match="compressed entries"):
                check_archive(file)

    def test_entries_that_overlap(self, tmp_path: Path) -> None:
        _overlapping(tmp_path / "a", 1000)
        with (tmp_path / "a").open("rb") as file, pytest.raises(ArchiveError, match="would unpack"):
            check_archive(file)

    def test_a_long_list_of_entries(self, tmp_path: Path) -> None:
        _zip(tmp_path / "a", x=b"x")
        content = bytearray((tmp_path / "a").read_bytes())
        content[-10:-6] = struct.pack("<I", MAX_DIRECTORY_BYTES + 1)
        with pytest.raises(ArchiveError, match="a directory of 16,777,217 bytes"):
            check_archive(io.BytesIO(content))

    @pytest.mark.parametrize("content", [b"", b"PK", b"PK\x05\x06", b"\0" * 100_000])
    def test_what_is_none(self, content: bytes) -> None:
        with pytest.raises(ArchiveError, match="is not a zip archive"):
            check_archive(io.BytesIO(content))


class TestPredictions:
    def test_one_that_unpacks_to_much(self, tmp_path: Path) -> None:
        path = tmp_path / "predictions.npz"
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("logits.npy", "w", force_zip64=True) as entry,
        ):
            for _ in range(MAX_WELL_COMPRESSED_BYTES // 2**20 + 1):
                entry.write(bytes(2**20))
        with pytest.raises(SweepFolderError, match="would unpack from"):
            load_predictions(path)

    @pytest.mark.parametrize("shape", [(10**12,), (10**6, 10**6), (10**18, 0)])
    def test_an_array_that_claims_to_be_large(self, shape: tuple[int, ...], place: Place) -> None:
        path = place.sweep / f"test_predictions/trial_{WINNER:05d}.npz"
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117)
        claims = b"\x93NUMPY\x01\x00v\x00" + header.encode() + b"\n"
        with np.load(path) as file:
            arrays = {f"{name}.npy": _as_npy(file[name]) for name in file.files}
        _zip(path, **arrays | {"logits.npy": claims})
        with pytest.raises(SweepFolderError, match="is not a file of predictions"):
            load_predictions(path)


def _as_npy(array: Any) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


class TestTensors:
    @pytest.mark.parametrize(
        ("header", "said"),
        [
            (struct.pack("<Q", 2**40), "its header would have 1,099,511,627,776 bytes"),
            (struct.pack("<Q", 10**7) + b'"a",' * 250_000, f"more than {MAX_TENSORS:,} tensors"),
        ],
    )
    def test_a_header(self, header: bytes, said: str, place: Place, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(header)
        with pytest.raises(ValueError, match=said):
            check_header(tmp_path / "a")
        (place.sweep / "best" / "model.safetensors").write_bytes(header)
        code, told = run(commands(place)["predict"])
        assert (code, len(told.splitlines()), said in told) == (2, 1, True), told

    def test_a_checkpoint_that_is_compressed(self, place: Place) -> None:
        path = place.sweep / CHECKPOINT
        with zipfile.ZipFile(path) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        _zip(path, **entries)
        with pytest.raises(SweepFolderError, match="has compressed entries"):
            Sweep(place.sweep).model()

    @pytest.mark.parametrize("file", [CHECKPOINT, "best/model.safetensors"])
    def test_a_sparse_file(self, file: str, place: Place) -> None:
        os.truncate(place.sweep / file, MAX_SPARSE_BYTES + 1)
        with pytest.raises(SweepFolderError, match="stored: a sparse file of more than"):
            Sweep(place.sweep).model() if file == CHECKPOINT else load_model(place.sweep / "best")

    @pytest.mark.parametrize("is_old", [False, True])
    def test_a_pickle_of_a_tuple_without_end(self, is_old: bool, tmp_path: Path) -> None:
        pairs = b"".join(b"q%ch%c\x86" % (n, n) for n in range(1, 60))
        laughs = b"\x80\x02})" + pairs + b"K\x01s."  # a dict with such a pair as its key
        path = tmp_path / "weights.pth"
        torch.save({"a": torch.zeros(1)}, path, _use_new_zipfile_serialization=not is_old)
        if is_old:
            path.write_bytes(path.read_bytes()[:15] + laughs)
        else:
            with zipfile.ZipFile(path) as archive:
                entries = {name: archive.read(name) for name in archive.namelist()}
            with zipfile.ZipFile(path, "w") as archive:
                for name, content in entries.items():
                    archive.writestr(name, laughs if name.endswith("data.pkl") else content)
        with pytest.raises(ConfigError, match="a tuple of more than 100,000 values"):
            read_state(path)

    @pytest.mark.parametrize("is_old", [False, True])
    def test_pickles_of_torch(self, is_old: bool, tmp_path: Path) -> None:
        network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
        path = tmp_path / "weights.pth"
        torch.save(network.state_dict(), path, _use_new_zipfile_serialization=not is_old)
        assert list(read_state(path)) == list(network.state_dict())

    @pytest.mark.parametrize("protocol", range(6))
    def test_every_protocol(self, protocol: int) -> None:
        for value in ({"a": [1, (2, (3.5, None))]}, {1}, b"x", "y", 10**50, {}, ((),)):
            check_pickle(io.BytesIO(pickle.dumps(value, protocol)))

    @pytest.mark.parametrize(
        "content", [b"", b".", b"0.", b"\x80\x02u.", b"g5\n.", b"garbage", b"I"]
    )
    def test_what_is_no_pickle(self, content: bytes) -> None:
        with pytest.raises(PickleError, match="is not a pickle"):
            check_pickle(io.BytesIO(content))

    @pytest.mark.parametrize("size", [10**12, 10**6])
    def test_a_tensor_that_claims_to_be_large(self, size: int, place: Place) -> None:
        path = place.sweep / CHECKPOINT
        saved = torch.load(path, weights_only=True)
        name = next(iter(saved["model"]))
        saved["model"][name] = torch.zeros(1).expand(size)
        saved["best_weights"] = None
        torch.save(saved, path)
        with pytest.raises(SweepFolderError, match=f"{name} claims more values"):
            Sweep(place.sweep).model()

    def test_what_is_plain(self) -> None:
        weight = torch.zeros(3, 4)
        check_tensors({"whole": weight, "part": weight[1:, ::2], "none": torch.zeros(0)})
        for strange in (torch.zeros(2, device="meta"), weight.to_sparse()):
            with pytest.raises(ValueError, match="a is not a dense tensor"):
                check_tensors({"a": strange})

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"filters": 65_536, "dense": 65_536}, "parameters; at most"),
            ({"filters": 60_000}, "another network"),
            ({"filters": 10**12}, "must be less than or equal to 65536"),
            ({"freeze_policy": "first_stages_frozen:2000000000"}, "COUNT must be at most 1,000"),
        ],
    )
    def test_an_export_of_a_large_network(
        self, change: dict[str, Any], said: str, place: Place
    ) -> None:
        file = place.sweep / "best" / "trial.yaml"
        config = read_yaml(file.read_text())
        config["model"] |= change
        file.write_text(json.dumps(config))
        for name in ("predict", "describe", "evaluate export"):
            code, told = run(commands(place)[name])
            assert (code, len(told.splitlines()), said in told) == (2, 1, True), told
        with pytest.raises(ValueError, match=said):
            load_model(place.sweep / "best")


@pytest.mark.parametrize(
    "change",
    [
        {"reduction_factor": 1},
        {"reduction_factor": 0},
        {"grace_epochs": 0},
        {"max_epochs": 0},
        {"trials": 10**18},
        {"seed": 10**30},
        {"gpus_per_trial": 1e300},
    ],
    ids=str,
)
def test_settings_of_a_sweep_that_never_end(change: dict[str, Any], place: Place) -> None:
    file = place.sweep / "sweep.yaml"
    said = read_yaml(file.read_text())
    said["settings"] |= change
    file.write_text(json.dumps(said))
    for name in ("status", "report"):
        code, told = run(commands(place)[name])
        assert (code, len(told.splitlines()), "sweep.yaml" in told) == (2, 1, True), told


class TestStudy:
    @pytest.mark.parametrize(
        ("sql", "said"),
        [
            (ENDLESS, "its trials is not a plain table"),
            (COMPUTED, "its table trials has columns that are computed"),
            (_attribute(f"zeroblob({MAX_TEXT_BYTES + 1})"), "a value of 16,777,217 bytes"),
            (_rows(100), "more than 100 rows"),
            (MANY_TABLES, "cannot be read: interrupted"),
        ],
        ids=["endless", "computed", "large", "rows", "tables"],
    )
    def test_one_that_is_too_large(
        self, sql: str, said: str, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("toprung.analysis.sweep_folder.study_limits.MAX_ROWS", 100)
        assert run(commands(place)["status"])[0] == 0
        with closing(sqlite3.connect(place.sweep / "study.db")) as study:
            study.executescript(sql)
        code, told = run(commands(place)["status"])
        assert (code, len(told.splitlines()), said in told) == (2, 1, True), told


class TestTables:
    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (",".join(["a"] * 200_000) + "\n" + "1\n" * 100, f"more than {MAX_COLUMNS} columns"),
            ("a\n" + "1\n" * 20, "more than 10 rows"),
        ],
        ids=["columns", "rows"],
    )
    def test_one_that_is_too_large(
        self, content: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("toprung.trainables.files.untrusted_files.MAX_ROWS", 10)
        (tmp_path / "splits.csv").write_text(content)
        with pytest.raises(UntrustedFileError, match=said):
            list(read_table(tmp_path / "splits.csv"))
