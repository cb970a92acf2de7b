"""The command `toprung inspect`: what it prints, writes and refuses."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from tests.analysis.test_sweep import CONFIG, Made
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder import attributes
from toprung.cli.main import main
from toprung.trainables.data import prepare


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Inspect = Callable[..., Ran]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweep]:
    """One trial on the digits, exported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        config = CONFIG.model_copy(update={"data": prepare(CONFIG.data).settings})
        made = Made(tmp_path_factory.mktemp("sweeps") / "my sweep", config)
        made.trial(attributes.FINISHED)
        opened = Sweep(made.folder.path)
        opened.export()
        yield opened


@pytest.fixture
def inspect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Inspect:
    """The command, in a folder with the image `digit.png`."""
    pixels_HW = np.random.default_rng(0).integers(0, 256, (8, 8)).astype(np.uint8)
    Image.fromarray(pixels_HW).save(tmp_path / "digit.png")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["toprung", "inspect", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        assert isinstance(exit_.value.code, int)
        return Ran(exit_.value.code, *capsys.readouterr())

    return run


def pictures_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_sweep_s_winner(inspect: Inspect, sweep: Sweep, tmp_path: Path) -> None:
    ran = inspect(sweep.folder.path, "digit.png", "--top", 3)
    assert (ran.code, ran.err) == (0, "")
    lines = [line.split() for line in ran.out.splitlines()]
    expected = sweep.model().predict(Path("digit.png"), 3)
    assert lines[0] == ["class", "probability"]
    assert lines[1:4] == [[name, f"{share:.1%}"] for name, share in expected]
    assert pictures_in(tmp_path / "inspect-digit") == [
        "activations_blocks.0.0.png",
        "filters.png",
        "guided_backprop_blocks.0.0.png",
    ]
    for name in pictures_in(tmp_path / "inspect-digit"):
        assert str(Path("inspect-digit") / name) in ran.out
        with Image.open(tmp_path / "inspect-digit" / name) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 100


def test_an_export_as_json(inspect: Inspect, sweep: Sweep, tmp_path: Path) -> None:
    ran = inspect(
        sweep.folder.best, "digit.png", "--layer", "blocks.0.0", "--layer", "blocks.0.2",
        "--neurons", "0,3", "--to", "a/b", "--json",
    )  # fmt: skip
    told = json.loads(ran.out)
    assert (ran.code, told["remarks"]) == (0, [])
    expected = sweep.model().predict(Path("digit.png"), 5)
    assert [(c["class"], c["probability"]) for c in told["classes"]] == expected
    assert list(told["pictures"]) == [
        "filters",
        "activations_blocks.0.0",
        "activations_blocks.0.2",
        "guided_backprop_blocks.0.2",
    ]
    assert all((tmp_path / path).is_file() for path in told["pictures"].values())


def test_json_without_a_folder_writes_nothing(
    inspect: Inspect, sweep: Sweep, tmp_path: Path
) -> None:
    (tmp_path / "inspect-digit").mkdir()
    (tmp_path / "inspect-digit" / "filters.png").write_text("mine")
    ran = inspect(sweep.folder.best, "digit.png", "--json", "--top", 2)
    told = json.loads(ran.out)
    expected = sweep.model().predict(Path("digit.png"), 2)
    assert [(c["class"], c["probability"]) for c in told["classes"]] == expected
    assert (told["pictures"], told["remarks"]) == ({}, [])
    assert pictures_in(tmp_path) == ["digit.png", "inspect-digit"]
    assert pictures_in(tmp_path / "inspect-digit") == ["filters.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--layer blocks.0.9", "layer 'blocks.0.9': the network has none of this name; nearest: "),
        (
            "--layer dense",
            "layer 'dense': its output for an image has the shape 8; maps are channels",
        ),
        ("--neurons 4", "neuron 4: layer 'blocks.0.0' has 4 neurons, from 0 to 3"),
        ("--neurons -1", "'-1' must be numbers from 0, such as 0,3,7"),
        ("--neurons 1,", "'1,' must be numbers from 0, such as 0,3,7"),
        ("--json --neurons 0", "--layer and --neurons apply to the pictures"),
        ("--top 0", "0 is not in the range"),
    ],
)
def test_what_is_refused_leaves_nothing(
    arguments: str, message: str, inspect: Inspect, sweep: Sweep, tmp_path: Path
) -> None:
    ran = inspect(sweep.folder.best, "digit.png", *arguments.split())
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert pictures_in(tmp_path) == ["digit.png"]


def test_no_model_and_no_image(inspect: Inspect, sweep: Sweep, tmp_path: Path) -> None:
    assert "nowhere: is not an exported model" in inspect("nowhere", "digit.png").err
    assert "'none.png' cannot be decoded" in inspect(sweep.folder.best, "none.png").err
    assert pictures_in(tmp_path) == ["digit.png"]


@pytest.mark.parametrize("options", [[], ["--to", "mine"]])
def test_nothing_is_overwritten(
    options: list[str], inspect: Inspect, sweep: Sweep, tmp_path: Path
) -> None:
    folder = tmp_path / (options[-1] if options else "inspect-digit")
    folder.mkdir()
    (folder / "filters.png").write_text("mine")
    ran = inspect(sweep.folder.best, "digit.png", *options)
    assert (ran.code, ran.out) == (2, "")
    assert f"{folder.name}: exists already; choose another folder (--to FOLDER)" in ran.err
    assert (folder / "filters.png").read_text() == "mine"
    assert pictures_in(folder) == ["filters.png"]


def test_a_network_without_relu(inspect: Inspect, sweep: Sweep, tmp_path: Path) -> None:
    """The same weights with another activation."""
    export = shutil.copytree(sweep.folder.best, tmp_path / "gelu")
    config = (export / "trial.yaml").read_text()
    (export / "trial.yaml").write_text(config.replace("activation: relu", "activation: gelu"))
    ran = inspect(export, "digit.png")
    assert ran.code == 0
    assert "note: no guided backpropagation: model/architecture = 'cnn'" in ran.out
    assert pictures_in(tmp_path / "inspect-digit") == ["activations_blocks.0.0.png", "filters.png"]
    ran = inspect(export, "digit.png", "--neurons", "0", "--to", "other")
    assert (ran.code, ran.out) == (2, "")
    assert "this network has no ReLU" in ran.err
    assert not (tmp_path / "other").exists()
