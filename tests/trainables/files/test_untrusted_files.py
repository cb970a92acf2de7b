"""Someone else's export, config, sweep folder or weights: looking at them runs none of their code.

Whatever is opened here would make the file `it-ran` if its code ran, or write beside its folder.
"""

import hashlib
import json
import os
import pickle
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tests.support.fuzzed_sweep import WINNER, Place, commands, run
from toprung.analysis.models.model import load_model
from toprung.analysis.models.predictions import load_predictions
from toprung.analysis.report.sections import SECTIONS
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.trainables.config import TrialConfig, load_config
from toprung.trainables.networks.build import build_network
from toprung.trainables.system.typed_settings import ConfigError, parse

CHECKPOINT = f"trials/trial_{WINNER:05d}/checkpoint.pt"
PREDICTIONS = f"test_predictions/trial_{WINNER:05d}.npz"


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self.marker}'",)


@pytest.fixture
def payload(tmp_path: Path) -> Payload:
    return Payload(tmp_path / "it-ran")


def _pickled(payload: Payload) -> bytes:
    return pickle.dumps({"model": payload, "config": payload})


def _in_torchs_zip(payload: Payload) -> bytes:
    path = payload.marker.with_name("made.pt")
    torch.save({"model": payload, "best_weights": None}, path)
    return path.read_bytes()


def _in_torchs_old_form(payload: Payload) -> bytes:
    path = payload.marker.with_name("made.pt")
    torch.save({"model": payload}, path, _use_new_zipfile_serialization=False)
    return path.read_bytes()


def _in_an_npz(payload: Payload) -> bytes:
    path = payload.marker.with_name("made.npz")
    np.savez(path, texts=np.array([payload], object), logits=np.array([payload], object))
    return path.read_bytes()


FORMS = [_pickled, _in_torchs_zip, _in_torchs_old_form, _in_an_npz]


def test_the_payload_is_a_real_one(payload: Payload) -> None:
    pickle.loads(_pickled(payload))
    assert payload.marker.exists()


@pytest.mark.parametrize("form", FORMS)
class TestPickles:
    def test_as_a_checkpoint(
        self, form: Callable[[Payload], bytes], place: Place, payload: Payload
    ) -> None:
        (place.sweep / CHECKPOINT).write_bytes(form(payload))
        with pytest.raises(SweepFolderError, match="cannot be read"):
            Sweep(place.sweep).model()
        assert not payload.marker.exists()

    def test_as_an_export(
        self, form: Callable[[Payload], bytes], place: Place, payload: Payload
    ) -> None:
        (place.sweep / "best" / "model.safetensors").write_bytes(form(payload))
        with pytest.raises(SweepFolderError, match="is not an exported model"):
            load_model(place.sweep / "best")
        assert not payload.marker.exists()

    def test_as_predictions(
        self, form: Callable[[Payload], bytes], place: Place, payload: Payload
    ) -> None:
        (place.sweep / PREDICTIONS).write_bytes(form(payload))
        with pytest.raises(SweepFolderError, match="is not a file of predictions"):
            load_predictions(place.sweep / PREDICTIONS)
        assert not payload.marker.exists()

    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_as_weights(
        self, form: Callable[[Payload], bytes], suffix: str, tmp_path: Path, payload: Payload
    ) -> None:
        file = tmp_path / f"weights{suffix}"
        file.write_bytes(form(payload))
        values = {"data": {"source": "digits"}, "model": {"weights": str(file)}}
        config = parse(TrialConfig, values, "config")
        with pytest.raises(ConfigError, match="cannot be read"):
            build_network(config.model, (3, 8, 8), 10)
        assert not payload.marker.exists()


class TestYaml:
    @pytest.fixture
    def text(self, payload: Payload) -> str:
        return f"!!python/object/apply:os.system ['touch {payload.marker}']"

    @pytest.mark.parametrize("nested", ["{}", "data: {}", "data: {{source: {}}}", "{}: 1"])
    def test_in_a_config(self, nested: str, text: str, tmp_path: Path, payload: Payload) -> None:
        (tmp_path / "trial.yaml").write_text(nested.format(text))
        with pytest.raises(ConfigError, match="is not YAML"):
            load_config(tmp_path / "trial.yaml")
        assert not payload.marker.exists()

    def test_in_a_sweep(self, text: str, place: Place, payload: Payload) -> None:
        with (place.sweep / "sweep.yaml").open("a") as file:
            file.write(f"more: {text}\n")
        code, said = run(commands(place)["status"])
        assert (code, "cannot be read" in said) == (2, True)
        assert not payload.marker.exists()

    def test_a_search_space_is_not_run(self, place: Place, payload: Payload) -> None:
        code = f"import pathlib\npathlib.Path({str(payload.marker)!r}).touch()\n"
        (place.sweep / "search_space.py").write_text(code)
        for name in ("status", "best", "compare", "export", "test"):
            assert run(commands(place)[name])[0] == 0
        assert not payload.marker.exists()


class TestPlaces:
    """Nothing is written but in the folder that was chosen."""

    @pytest.fixture(autouse=True)
    def _two_sections(self, monkeypatch: pytest.MonkeyPatch) -> None:
        two = tuple(s for s in SECTIONS if s.anchor in ("answer", "how"))
        monkeypatch.setattr("toprung.analysis.report.page.SECTIONS", two)

    @pytest.fixture
    def victim(self, tmp_path: Path) -> Path:
        path = tmp_path / "victim.png"
        path.write_text("mine")
        return path

    def test_names_of_classes(self, place: Place, tmp_path: Path) -> None:
        checkpoint = torch.load(place.sweep / CHECKPOINT, weights_only=True)
        evil = ["../../evil", "/evil", "..", "a/../../evil", "\0evil", "\n", "~", "$HOME", "", "x"]
        torch.save(checkpoint | {"class_names": evil}, place.sweep / CHECKPOINT)
        (place.sweep / "splits.csv").unlink()  # which has other classes
        before = _everything(tmp_path)
        names = commands(place)
        image = str(place.images / "0" / "0.png")
        for arguments in (
            names["export"],
            names["report"],
            ["inspect", str(place.sweep), image, "--to", str(place.out / "inspect")],
        ):
            assert run(arguments)[0] == 0
        assert load_model(place.out / "export").class_names == tuple(evil)
        after = _everything(tmp_path)
        assert {path: after.get(path) for path in before} == before
        assert all(path.is_relative_to(place.out) for path in after.keys() - before.keys())

    @pytest.mark.parametrize("trial", ["../../evil", "../../../evil", -1, 10**30, None])
    def test_the_number_of_an_opened_trial(
        self, trial: object, place: Place, tmp_path: Path
    ) -> None:
        file = place.sweep / "sealed_test.json"
        (opening,) = json.loads(file.read_text())
        file.write_text(json.dumps([opening | {"trial": trial}]))
        before = _everything(tmp_path)
        for name in ("status", "test", "export"):
            run(commands(place)[name])
        after = _everything(tmp_path)
        for path in after.keys() | before.keys():
            own = (place.out, place.sweep / "best")  # which the test writes anew
            assert after.get(path) == before.get(path) or any(map(path.is_relative_to, own))

    @pytest.mark.parametrize(
        "picture", ["../../victim.png", "{victim}", "..", "", ".", "x/../../../victim.png"]
    )
    def test_pictures_of_an_earlier_report(self, picture: str, place: Place, victim: Path) -> None:
        report = place.out / "report"
        report.mkdir()
        (report / "report.html").touch()
        parts = [{"picture": picture.format(victim=victim)}]
        (report / "figures.json").write_text(json.dumps({"parts": parts}))
        assert run(commands(place)["report"])[0] == 0
        assert victim.read_text() == "mine"

    def test_links_in_the_place_of_files(self, place: Place, victim: Path) -> None:
        report, best = place.out / "report", place.sweep / "best"
        report.mkdir()
        for path in (
            report / "report.html",
            report / "figures.json",
            best / "README.md",
            best / "metrics.json",
            best / "model.onnx",
            place.sweep / "sealed_test.json",
            place.sweep / ".sealed_test.json.lock",
        ):
            path.unlink(missing_ok=True)
            path.symlink_to(victim)
        (place.sweep / "sealed_test.json").unlink()
        for name in ("test", "export in place", "report"):
            run(commands(place)[name])
        assert victim.read_text() == "mine"

    def test_hostile_sql(self, place: Place, payload: Payload) -> None:
        with sqlite3.connect(place.sweep / "study.db") as study:
            study.execute(
                "CREATE TRIGGER evil AFTER UPDATE ON studies BEGIN "
                "SELECT load_extension('evil'); END"
            )
            study.execute("CREATE VIEW evil_view AS SELECT writefile('it-ran', 'x')")
        study.close()
        assert run(commands(place)["status"])[0] == 0
        assert not payload.marker.exists()


class TestStudy:
    """What a study tells is held against the types that it should have."""

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("config", "[" * 100_000),
            ("config", "!!python/object/apply:os.system ['true']"),
            ("config", ["a"]),
            ("config", ""),
            ("best", {"": 1}),
            ("best", [1]),
            ("best", {"validation": "../.."}),
            ("ended", ["finished"]),
            ("ended", 5),
            ("reason", {"a": 1}),
            ("confirms", "../../evil"),
        ],
        ids=lambda value: str(value)[:20],
    )
    def test_an_attribute_of_a_trial(self, key: str, value: object, place: Place) -> None:
        _tell(place, "trial", key, json.dumps(value))
        for name in ("status", "best", "export"):
            code, said = run(commands(place)[name])
            assert (code, len(said.splitlines())) == (2, 1), said
            assert said.startswith(("error: trial 1", "error: config of trial 1"))

    @pytest.mark.parametrize("value", ["{", "null", '{"candidates": [99]}', "[]", '"x"', "7"])
    @pytest.mark.parametrize("key", ["confirmation", "sweep_ended", "owner"])
    def test_an_attribute_of_the_sweep(self, key: str, value: str, place: Place) -> None:
        _tell(place, "study", key, value)
        code, said = run(commands(place)["status"])
        assert code == 0 or (code, len(said.splitlines())) == (2, 1)

    @pytest.mark.parametrize(
        "url",
        [
            *("sqlite:///{}", "{}", "mysql://localhost/x", "evil:///{}"),
            *("postgresql://u@127.0.0.1:/x", "postgresql://u@[::1/x", "postgresql://u@h:1x/y"),
        ],
    )
    def test_a_database_elsewhere(self, url: str, place: Place) -> None:
        said = yaml.safe_load((place.sweep / "sweep.yaml").read_text())
        made = place.out / "made.db"
        said["storage"] = {"url": url.format(made), "name": "sweep"}
        (place.sweep / "sweep.yaml").write_text(yaml.safe_dump(said))
        code, told = run(commands(place)["status"])
        assert (code, "postgresql://USER@HOST" in told) == (2, True)
        assert not made.exists()


def _tell(place: Place, whose: str, key: str, text: str) -> None:
    """Put an attribute into the study, whatever its text is."""
    table = f"{whose}_user_attributes"
    row = WINNER + 1 if whose == "trial" else 1
    with sqlite3.connect(place.sweep / "study.db") as study:
        study.execute(f"DELETE FROM {table} WHERE {whose}_id = {row} AND key = ?", (key,))
        study.execute(
            f"INSERT INTO {table} ({whose}_id, key, value_json) VALUES ({row}, ?, ?)", (key, text)
        )
    study.close()


def _everything(folder: Path) -> dict[Path, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and ".lock" not in path.name)
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
