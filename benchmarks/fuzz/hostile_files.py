"""Ways to make a file of a sweep's folder hostile."""

import json
import os
import random
import socket
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_FOLDERS = ("best", "report", "trials", "test_predictions", "exports", "tensorboard", "code")


@dataclass(frozen=True)
class Bait:
    """What hostile files point to, and what must never be reached.

    Attributes:
        port: of a server on this machine.
        secret: a file outside.
        folder: a folder outside.
    """

    port: int
    secret: Path
    folder: Path


Damage = Callable[[Path, Path, random.Random, Bait], None]
"""Takes a sweep's folder, a file in it, randomness and the bait."""
DAMAGES: list[Damage] = []


def _damage(function: Damage) -> Damage:
    DAMAGES.append(function)
    return function


def _values(rng: random.Random, bait: Bait) -> Any:
    """A value that no file should have."""
    host = f"127.0.0.1:{bait.port}"
    return rng.choice(
        [
            10**18,
            -1,
            10**400,
            1e308,
            float("nan"),
            2_000_000_000,
            20_000_000,
            True,
            None,
            "",
            [],
            {},
            [[]] * 1000,
            "x" * 100_000,
            "\x1b]0;owned\x07\x1b[31m",
            "\u202egnp.exe",
            "\x9b2J",
            f"postgresql://someone@{host}/toprung",
            f"s3://bucket/sweeps?endpoint_override={host}&scheme=http",
            f"http://{host}/weights.pth",
            str(bait.secret),
            f"../../../../../../..{bait.secret}",
            f"file:{bait.secret}?mode=rwc",
            "train_pattern:" + "(.*.*)*" * 20 + "x",
            "first_stages_frozen:2000000000",
        ]
    )


def _replace_a_value(value: Any, rng: random.Random, bait: Bait) -> Any:
    """The value with one part of it replaced, removed or added."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        if rng.random() < 0.1:
            return {name: part for name, part in value.items() if name != key}
        if rng.random() < 0.1:
            return value | {rng.choice(["storage", "data", "id", "space", "x"]): _values(rng, bait)}
        return value | {key: _replace_a_value(value[key], rng, bait)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        index = rng.randrange(len(value))
        return [
            _replace_a_value(part, rng, bait) if n == index else part
            for n, part in enumerate(value)
        ]
    return _values(rng, bait)


@_damage
def value_replaced(sweep: Path, file: Path, rng: random.Random, bait: Bait) -> None:
    """One value of a YAML, JSON or JSON-lines file."""
    if file.suffix == ".db":
        attribute_replaced(sweep, file, rng, bait)
    elif file.suffix in (".yaml", ".json"):
        lines = file.read_text().splitlines() if file.name == "result.json" else [file.read_text()]
        read = yaml.safe_load if file.suffix == ".yaml" else json.loads
        write = yaml.safe_dump if file.suffix == ".yaml" else json.dumps
        index = rng.randrange(len(lines))
        lines[index] = write(_replace_a_value(read(lines[index]), rng, bait))
        file.write_text("\n".join(lines), "utf-8", "surrogatepass")
    else:
        bytes_flipped(sweep, file, rng, bait)


@_damage
def attribute_replaced(sweep: Path, file: Path, rng: random.Random, bait: Bait) -> None:
    """An attribute of the study or of a trial, or a row of its tables."""
    del file
    with closing(sqlite3.connect(sweep / "study.db")) as database, suppress(sqlite3.Error):
        table = rng.choice(["study_user_attributes", "trial_user_attributes"])
        rows = database.execute(f"SELECT rowid, value_json FROM {table}").fetchall()
        row, text = rng.choice(rows)
        value = json.dumps(_replace_a_value(json.loads(text), rng, bait))
        database.execute(f"UPDATE {table} SET value_json = ? WHERE rowid = ?", (value, row))
        if rng.random() < 0.2:
            name = rng.choice(["studies", "trials", "trial_params", "trial_intermediate_values"])
            database.execute(f"DELETE FROM {name}")
        database.commit()


@_damage
def bytes_flipped(sweep: Path, file: Path, rng: random.Random, bait: Bait) -> None:
    """Some bytes."""
    del sweep, bait
    content = bytearray(file.read_bytes())
    for _ in range(rng.randint(1, 20) if content else 0):
        content[rng.randrange(len(content))] = rng.randrange(256)
    file.write_bytes(content)


@_damage
def cut_short(sweep: Path, file: Path, rng: random.Random, bait: Bait) -> None:
    """The file ends early."""
    del sweep, bait
    content = file.read_bytes()
    file.write_bytes(content[: rng.randrange(len(content) + 1)])


@_damage
def bomb(sweep: Path, file: Path, rng: random.Random, bait: Bait) -> None:
    """A small file that is read into a large value, or takes long to read."""
    del sweep, bait
    aliases = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    bombs = [
        f"a0: &a0 [x]\n{aliases}".encode(),
        b"[" * 200_000,
        b'{"a": ' * 100_000,
        b"9" * 5_000_000,
        b'{"settings": ' + b"9" * 1_000_000 + b"}",
        b"x" * 30_000_000,
        (2**40).to_bytes(8, "little") + b'{"__metadata__": {}}',
        b"a," * 1_000_000,
        b'"' + b"\n" * 1_000_000,
    ]
    file.write_bytes(rng.choice(bombs))


@_damage
def zip_bomb(sweep: Path, file: Path, rng: random.Random, bait: Bait) -> None:
    """An archive that is a thousand times as large once it is read."""
    del sweep, bait
    if file.suffix not in (".npz", ".pt"):
        return
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chosen = rng.choice(list(members))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content + bytes(300_000_000) if name == chosen else content)


@_damage
def link_out(sweep: Path, file: Path, rng: random.Random, bait: Bait) -> None:
    """A link to a file outside."""
    del sweep, rng
    file.unlink()
    file.symlink_to(bait.secret)


@_damage
def special(sweep: Path, file: Path, rng: random.Random, bait: Bait) -> None:
    """A pipe, a socket, a device or a folder in the file's place."""
    del sweep, bait
    file.unlink()
    kind = rng.choice(["pipe", "zeros", "random", "socket", "folder"])
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "socket":
        with closing(socket.socket(socket.AF_UNIX)) as server:
            server.bind(os.path.relpath(file))
    else:
        file.symlink_to("/dev/zero" if kind == "zeros" else "/dev/urandom")


@_damage
def folder_out(sweep: Path, file: Path, rng: random.Random, bait: Bait) -> None:
    """A link to a folder outside, in the place of one of the sweep's."""
    del file
    folder = sweep / rng.choice(_FOLDERS)
    if folder.exists():
        folder.rename(folder.with_name(f"{folder.name}-moved"))
    folder.symlink_to(bait.folder)


@_damage
def file_added(sweep: Path, file: Path, rng: random.Random, bait: Bait) -> None:
    """A file beside the others, or beside the sweep, that Toprung or SQLite may look for."""
    del file
    added = {
        sweep.parent / ".toprung-store": f"s3://bucket?endpoint_override=127.0.0.1:{bait.port}",
        sweep / "study.db-wal": "garbage" * 1000,
        sweep / "study.db-journal": "garbage" * 1000,
        sweep / "driver.json": '{"id": "x", "pid": 1}',
        sweep / "duplicates.csv": "a,b\n\x1b[31m,\u202e\n",
        sweep / ".env": f"AWS_ENDPOINT_URL=http://127.0.0.1:{bait.port}",
        sweep / "sitecustomize.py": "raise SystemExit('ran')",
        sweep / "best" / "model.onnx": "garbage",
    }
    path = rng.choice(list(added))
    if path.parent.is_dir() and not path.parent.is_symlink():
        path.write_text(added[path])


@_damage
def lock_is_a_link(sweep: Path, file: Path, rng: random.Random, bait: Bait) -> None:
    """A lock that leads out, which whoever locks it would make or empty there."""
    del file
    name = rng.choice([".sealed_test.json.lock", "driver.lock", "test_openings"])
    with suppress(FileExistsError):
        (sweep / name).symlink_to(bait.secret)
