"""A sweep with damaged files: one clear line, or a right answer; and nothing is changed."""

import os
import random
import sys
from pathlib import Path

import pytest

from tests.support.fuzzed_sweep import (
    DAMAGES,
    FILES,
    Place,
    commands,
    run,
    unchanged,
)
from toprung.analysis.exporting.export import export_model
from toprung.analysis.models.model import load_model
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder.files import write_atomically
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.cli.main import main

READ_BY = {
    "sweep.yaml": ["status"],
    "study.db": ["status"],
    "trials/trial_00001/result.json": ["compare"],
    "trials/trial_00001/checkpoint.pt": ["export"],
    "sealed_test.json": ["status"],
    "splits.csv": ["evaluate"],
    "starting_weights.safetensors": ["compare"],
    "test_predictions/trial_00001.npz": ["export"],
    "best/model.safetensors": ["predict"],
    "best/config.json": ["predict"],
    "best/trial.yaml": ["predict"],
    "best/metrics.json": ["export in place"],
}
"""Commands that read a file; all of them were tried by hand."""
FAILS = {
    ("sweep.yaml", "status"),
    ("study.db", "status"),
    ("trials/trial_00001/checkpoint.pt", "export"),
    ("best/model.safetensors", "predict"),
    ("best/config.json", "predict"),
    ("best/trial.yaml", "predict"),
}
"""Without these files a command cannot do its work."""
MAY_WRITE = {"test": ("best",), "export in place": ("best",)}


def test_a_whole_one(place: Place) -> None:
    assert set(READ_BY) == set(FILES)
    for name, arguments in commands(place).items():
        if name != "report":
            assert run(arguments)[0] == 0, name


@pytest.mark.parametrize("damage", ["missing", "emptied", "half", "a folder", "flipped"])
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file(file: str, damage: str, place: Place) -> None:
    DAMAGES[damage](place.sweep / file, random.Random(f"{file} {damage}"))
    for name in READ_BY[file]:
        with unchanged(place, but=MAY_WRITE.get(name, ())):
            code, said = run(commands(place)[name])
        assert code in (0, 2)
        if (file, name) in FAILS and damage in ("missing", "emptied", "half", "a folder"):
            assert code == 2
        if code:
            assert said.startswith("error: ")
            assert len(said.splitlines()) == 1


def test_a_link_that_leads_to_itself(place: Place) -> None:
    loop = place.out / "loop"
    loop.symlink_to(loop)
    image = str(place.images / "0" / "0.png")
    for arguments in (
        ["status", str(loop)],
        ["evaluate", str(loop), str(place.images)],
        ["evaluate", str(place.sweep), str(loop)],
        ["evaluate", str(place.sweep / "best"), str(loop)],
        ["predict", str(loop), image],
        ["predict", str(place.sweep / "best"), str(loop)],
        ["inspect", str(place.sweep), str(loop), "--json"],
        ["export", str(place.sweep), "--to", str(loop)],
        ["describe", str(loop)],
    ):
        code, said = run(arguments)
        assert (code, said.startswith("error: ")) == (2, True), arguments


def test_an_image_of_a_name_that_is_no_unicode(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = (place.images / "0" / "0.png").rename(place.images / os.fsdecode(b"\xff.png"))
    monkeypatch.setattr(sys, "argv", ["toprung", "predict", str(place.sweep / "best"), str(image)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert capsys.readouterr().out.splitlines()[0].endswith(r"/images/\udcff.png")


@pytest.mark.parametrize("file", range(5))
def test_an_export_that_is_cut_short_is_no_mixture_of_two(
    file: int, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = Sweep(place.sweep)
    other = sweep.model()
    for weights in other.weights.values():
        weights += 1
    written: list[Path] = []

    def killed_later(path: Path, content: str | bytes) -> None:
        if len(written) == file:
            raise KeyboardInterrupt
        written.append(path)
        write_atomically(path, content)

    monkeypatch.setattr("toprung.analysis.models.model.read_checkpoint", lambda *_: None)
    monkeypatch.setattr("toprung.analysis.exporting.export.write_atomically", killed_later)
    with pytest.raises(KeyboardInterrupt):
        _export(sweep, place.sweep / "best", other)
    with pytest.raises(SweepFolderError, match="is not an exported model: it has no config"):
        load_model(place.sweep / "best")
    monkeypatch.setattr("toprung.analysis.exporting.export.write_atomically", write_atomically)
    _export(sweep, place.sweep / "best", other)
    assert load_model(place.sweep / "best").digest == other.digest


def _export(sweep: Sweep, to: Path, model: "object") -> None:
    from toprung.analysis.exporting.card_facts import Exported

    exported = Exported(sweep, sweep.best(), model, None)  # type: ignore[arg-type]
    export_model(to, exported, (), replace=True)
