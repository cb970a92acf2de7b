"""The model card: what it says is so, its code runs, and hostile names stay text."""

import contextlib
import io
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token
from PIL import Image

from tests.analysis.test_sweep import Made
from tests.support.helpers import tiny_config
from tests.support.hostile_sweep import CLASSES, NAME, hostile_sweep
from toprung.analysis.exporting.card_facts import CardFacts, Exported
from toprung.analysis.exporting.model_card import as_text
from toprung.analysis.exporting.model_code import image_code
from toprung.analysis.models.intervals import share_interval
from toprung.analysis.models.model import load_model
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder import attributes
from toprung.trainables.data import DataSettings, decode_image, prepare
from toprung.trainables.system.printable import printable


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, _cache: None) -> Sweep:
    sweep = hostile_sweep(tmp_path_factory.mktemp("hostile"))
    prepare(sweep.model().config.data).write_splits(sweep.folder.splits)
    sweep.export()
    return sweep


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory: pytest.TempPathFactory, _cache: None) -> Path:
    """The export of a network of torchvision's, with ONNX, after one epoch on a few pictures."""
    folder = tmp_path_factory.mktemp("squeezenet")
    rng = np.random.default_rng(1)
    for label in ("dark", "light"):
        (folder / "images" / label).mkdir(parents=True)
        for number in range(10):
            pixels_HWC = rng.integers(0, 120, (50, 40, 3)) + 130 * (label == "light")
            image = Image.fromarray(pixels_HWC.astype(np.uint8))
            image.save(folder / "images" / label / f"{number}.png")
    data = {"source": str(folder / "images"), "image_size": 33, "resize": "letterbox"}
    config = tiny_config(data=data, model={"architecture": "squeezenet1_1"}, training__epochs=1)
    config = config.model_copy(update={"data": prepare(config.data).settings})
    made = Made(folder / "sweep", config)
    made.trial(attributes.FINISHED)
    return Sweep(made.folder.path).export(formats=["onnx"])


def card(folder: Path) -> tuple[dict[str, Any], str]:
    """Front matter and text."""
    _, front_matter, text = (folder / "README.md").read_text("utf-8").split("---\n", 2)
    return yaml.safe_load(front_matter), text


def tokens(text: str) -> list[Token]:
    return MarkdownIt("gfm-like", {"linkify": False}).parse(text)


def cells(text: str) -> list[list[str]]:
    """The rows of every table, as a reader sees them."""
    rows: list[list[str]] = []
    for before, token in pairwise(tokens(text)):
        if token.type == "tr_open":
            rows.append([])
        elif before.type in ("th_open", "td_open"):
            rows[-1].append("".join(child.content for child in token.children or ()))
    return rows


class TestFacts:
    def test_the_figures_are_the_sweep_s(self, hostile: Sweep) -> None:
        front_matter, text = card(hostile.folder.best)
        best, opening = hostile.best().best, hostile.test()
        assert best is not None
        low, high = share_interval(round(opening.accuracy * 16), 16)
        rows = {row[0]: row[1:] for row in cells(text) if len(row) == 6}
        assert rows["training"][2] == ""
        assert rows["test"][:3] == ["16", f"{opening.accuracy:.4f}", f"{low:.4f} to {high:.4f}"]
        assert rows["validation"][1] == f"{best.val_accuracy:.4f}"
        (_, result) = front_matter["model-index"][0]["results"]
        values = {metric["type"]: metric["value"] for metric in result["metrics"]}
        assert result["dataset"]["split"] == "test"
        assert (values["accuracy"], values["loss"]) == (opening.accuracy, opening.loss)
        assert "license" not in front_matter

    def test_limits_are_told_from_what_is_so(self, hostile: Sweep) -> None:
        model = hostile.model()
        exported = Exported(hostile, hostile.best(), model, hostile.test())
        told = "\n".join(CardFacts(exported).limits())
        assert "The test set is small (16 images)" in told
        assert "cannot be read as images were left out of the data: 1" in told
        assert "imbalanced" not in told
        assert "occur with more than one label" not in told
        hostile.description["data"]["duplicates"] = {"with_other_labels": 2}
        told = "\n".join(CardFacts(exported).limits())
        del hostile.description["data"]["duplicates"]
        assert "occur with more than one label, of which only one can be right: 2." in told
        sizes = [row[1:] for row in cells(card(hostile.folder.best)[1]) if len(row) == 4]
        assert sizes[1:] == [["13", "3", "4"]] * 4
        unopened = Exported(hostile, hostile.best(), model, None)
        assert "no figure for images that played no part" in "\n".join(CardFacts(unopened).limits())
        assert "has not been opened for this model" in "\n".join(CardFacts(unopened).notes())

    def test_no_place_of_this_machine_is_told(self, hostile: Sweep, squeezenet: Path) -> None:
        for folder in (hostile.folder.best, squeezenet):
            assert str(hostile.folder.path.parent.parent) not in (folder / "README.md").read_text()


class TestHostileNames:
    def test_are_text(self, hostile: Sweep) -> None:
        _, text = card(hostile.folder.best)
        inside = [child for token in tokens(text) for child in token.children or ()]
        kinds = {token.type for token in tokens(text)} | {token.type for token in inside}
        assert not kinds & {"html_block", "html_inline", "link_open", "image", "em_open"}
        shown = [row[0] for row in cells(text) if row]
        for name in CLASSES:
            expected = " ".join(name.strip().split())
            assert any(expected.startswith(cell.removesuffix("…")) and cell for cell in shown), (
                shown
            )
        assert all(len(row) in (2, 4, 6) for row in cells(text))
        assert NAME in text.replace("\\", "")

    @pytest.mark.parametrize(
        "name",
        [
            *("a|b", "`x`", "<b>", "a\nb\r\n# c", "![x](y)", "*a* __b__ ~~c~~", "&lt;", "\\|"),
            *("$x$", "https://example.org", "www.example.org", "a@example.org"),
            *("a\u202eb", "\udcff", "a\\"),
        ],
    )
    def test_whatever_it_is(self, name: str) -> None:
        table = f"| a | b |\n|---|---|\n| {as_text(name)} | c |\n"
        rendered = MarkdownIt("gfm-like", {"linkify": False}).parse(table)
        (row,) = [r for r in cells(table) if r and r[0] != "a"]
        assert row == [" ".join(printable(name).split()), "c"]
        inside = {child.type for token in rendered for child in token.children or ()}
        assert inside <= {"text", "text_special"}
        assert not re.search(r"https?:|www\.", as_text(name))


def _blocks(folder: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text("utf-8"), re.S)


def _run(code: str, folder: Path, image: Path) -> list[tuple[float, str]]:
    """What a block of code prints: probabilities and classes."""
    code = code.replace("FOLDER", str(folder)).replace("image.jpg", str(image))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    lines = [line.split(" ", 1) for line in printed.getvalue().splitlines()]
    return [(float(probability), name) for probability, name in lines]


class TestCode:
    @pytest.mark.parametrize("name", ["image.png", "image.jpeg"])
    def test_each_block_predicts_the_same(
        self, name: str, squeezenet: Path, tmp_path: Path
    ) -> None:
        pixels_HWC = np.random.default_rng(2).integers(0, 256, (227, 190, 3)).astype(np.uint8)
        Image.fromarray(pixels_HWC).save(tmp_path / name)
        expected = load_model(squeezenet).predict(tmp_path / name, top_k=3)
        blocks = _blocks(squeezenet)
        assert [("toprung" in b, "torchvision" in b, "onnxruntime" in b) for b in blocks] == [
            (True, False, False),
            (False, True, False),
            (False, False, True),
        ]
        for block in blocks:
            told = _run(block, squeezenet, tmp_path / name)
            assert [name for _, name in told] == [name for name, _ in expected]
            assert [p for p, _ in told] == pytest.approx([p for _, p in expected], abs=1e-4)

    @pytest.mark.parametrize("resize", ["squash", "centre_crop", "letterbox"])
    @pytest.mark.parametrize("kind", ["PNG", "JPEG"])
    @pytest.mark.parametrize("size", [(37, 24), (24, 37), (11, 90), (227, 301)])
    def test_an_image_is_read_as_in_training(
        self,
        resize: str,
        size: tuple[int, int],
        kind: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        pixels_HWC = np.random.default_rng(2).integers(0, 256, (*size, 3)).astype(np.uint8)
        Image.fromarray(pixels_HWC).save(tmp_path / "image.jpg", format=kind)
        values = {"source": "x", "image_size": (17, 20), "resize": resize, "channels": 1}
        if resize == "centre_crop":
            values["crop_fraction"] = 0.8
        settings = DataSettings.model_validate(values | {"interpolation": "bicubic"})
        monkeypatch.chdir(tmp_path)
        names: dict[str, Any] = {}
        exec(f"from PIL import Image, ImageOps\n{image_code(settings)}", names)
        expected_HWC = decode_image(tmp_path / "image.jpg", settings)
        np.testing.assert_array_equal(np.asarray(names["image"])[..., None], expected_HWC)


def test_the_hub_s_config_stays_what_it_was(squeezenet: Path) -> None:
    values = json.loads((squeezenet / "config.json").read_text())
    assert values["architecture"] == "squeezenet1_1"
    assert values["pretrained_cfg"]["input_size"] == [3, 33, 33]
