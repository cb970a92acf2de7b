"""The main job as a user does it: the demonstration, and one's own folder of images."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import toprung
from tests.support.helpers import printed


def test_the_demonstration_reaches_97_per_cent(tmp_path: Path) -> None:
    toprung_command = [sys.executable, "-c", "from toprung.cli.main import main; main()"]
    done = subprocess.run(
        [*toprung_command, "run", "digits_cnn", "--name", "demo"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    sweep = toprung.open(tmp_path / "sweeps" / "demo")
    assert sum(sweep.counts().values()) == 24
    openings = json.loads(sweep.folder.sealed_test.read_text())
    assert len(openings) == 1
    assert openings[0]["accuracy"] >= 0.97
    assert f"test accuracy {openings[0]['accuracy']:.4f}" in done.stdout
    assert {path.name for path in sweep.folder.best.iterdir()} == {
        "README.md",
        "config.json",
        "metrics.json",
        "model.safetensors",
        "trial.yaml",
    }
    report = sweep.folder.report / "report.html"
    assert str(report) in done.stdout
    assert f"{openings[0]['accuracy']:.4f}" in report.read_text("utf-8")
    assert "could not be drawn" not in done.stderr
    assert "24 trials" in printed("status", str(sweep.folder.path))
    assert "optimizer:" in printed("best", str(sweep.folder.path))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of PNGs that a small network can tell apart: bright above, bright below."""
    rng = np.random.default_rng(0)
    for label in ("above", "below"):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for n in range(30):
            pixels = rng.integers(0, 90, (20, 24, 3)).astype(np.uint8)
            half = slice(0, 10) if label == "above" else slice(10, 20)
            pixels[half] += 120
            Image.fromarray(pixels).save(tmp_path / "pictures" / label / f"{n}.png")
    return tmp_path / "pictures"


def test_a_folder_of_pngs(local_ray: None, pictures: Path, tmp_path: Path) -> None:
    sweep = toprung.run(
        "images_cnn",
        data=pictures,
        trials=3,
        max_epochs=4,
        concurrency=1,
        overrides={"data/image_size": 16, "model/num_blocks": 2, "training/batch_size": 8},
        name="pictures",
        out=tmp_path / "sweeps",
    )
    assert sweep.description["data"]["class_names"] == ["above", "below"]
    assert sweep.test().accuracy == 1.0
    exported = sweep.export()
    image = pictures / "above" / "3.png"
    assert toprung.load_model(exported).predict(image)[0][0] == "above"
    assert printed("predict", str(exported), str(image), "--top", "1").endswith("above\n")
    assert "2 classes" in printed("describe", str(exported))
