"""`toprung evaluate`: a trained model on labelled images, and the seal that it keeps."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.analysis.test_sweep import Made
from tests.support.helpers import forget_openings, tiny_config
from tests.toprung.cli.test_main import Cli, cli
from toprung.analysis.evaluating.evaluation import evaluate
from toprung.analysis.models.predictions import load_predictions
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.cli import text_scores
from toprung.trainables.config import TrialConfig
from toprung.trainables.data import DataError, open_test_data, prepare
from toprung.trainables.provenance.record import read_provenance

__all__ = ["cli"]  # a fixture

LABELS = ("ape", "bee", "cow")


def write_images(folder: Path, count: int, seed: int, labels: tuple[str, ...] = LABELS) -> Path:
    """Class folders of images whose class is told by their colour."""
    rng = np.random.default_rng(seed)
    for label in labels:
        (folder / label).mkdir(parents=True, exist_ok=True)
        for n in range(count):
            pixels = rng.integers(0, 160, (8, 8, 3)).astype(np.uint8)
            pixels[..., LABELS.index(label) % 3] += 60
            Image.fromarray(pixels).save(folder / label / f"{seed}-{n}.png")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two trials on a folder of images, not tested, with its winner exported."""
    home = tmp_path_factory.mktemp("home")
    images = write_images(home / "images", 20, seed=0)
    config = tiny_config(
        data={"source": str(images), "image_size": 8, "channels": 3}, training__epochs=1
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPRUNG_CACHE_DIR", str(home / "cache"))
        _sweep(home / "sweep", config)
    return home


def _sweep(path: Path, config: TrialConfig) -> None:
    data = prepare(config.data)
    made = Made(path, config.model_copy(update={"data": data.settings}))
    data.write_splits(made.folder.splits)
    made.trial(attributes.FINISHED, seed=0)
    made.trial(attributes.FINISHED, seed=1)
    sweep = Sweep(path)
    sweep.export()
    sweep.export(trial=1 - sweep.best().number)


@pytest.fixture
def home(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that sweep beside the images that it was made of."""
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(trained / "cache"))
    (tmp_path / "images").symlink_to(trained / "images")
    shutil.copytree(trained / "sweep", tmp_path / "sweep")
    forget_openings()  # of other copies
    return tmp_path


def images_of(home: Path, split: str, count: int) -> Path:
    """Copies, under other names, of some of the sweep's images."""
    with (home / "sweep" / "splits.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == split][:count]
    for number, row in enumerate(rows):
        target = home / f"of {split}" / row["label"] / f"copy {number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(home / "images" / row["image"], target)
    return home / f"of {split}"


class TestEvaluate:
    def test_is_what_the_model_says_of_each_image(self, home: Path) -> None:
        fresh = write_images(home / "fresh", 9, seed=5)
        done = evaluate(home / "sweep", str(fresh))
        model = Sweep(home / "sweep").model()
        assert done.remarks == ()
        assert len(done.predictions.names) == 27
        for index in (0, 10, 26):
            name = done.predictions.names[index]
            assert name.split("/")[0] == LABELS[done.predictions.labels_N[index]]
            expected = dict(model.predict(fresh / name, top_k=3))
            said = dict(done.predictions.top(index))
            assert said == pytest.approx(expected, abs=1e-5)

    def test_a_sweep_and_its_exports(self, home: Path) -> None:
        fresh = str(write_images(home / "fresh", 3, seed=5))
        sweep = Sweep(home / "sweep")
        loser = sweep.folder.export_of(1 - sweep.best().number)
        of_sweep, of_best, of_loser = (
            evaluate(path, fresh).predictions.logits_NK
            for path in (sweep.folder.path, sweep.folder.best, loser)
        )
        assert np.array_equal(of_sweep, of_best)
        assert not np.array_equal(of_sweep, of_loser)

    def test_fewer_classes_and_splits_are_told(self, home: Path) -> None:
        for split, seed in (("train", 1), ("test", 2)):
            write_images(home / "fresh" / split, 4, seed, labels=("cow", "ape"))
        done = evaluate(home / "sweep", str(home / "fresh"))
        assert done.remarks == (
            "the images of all splits are used: 8 test, 8 train",
            "1 of the 3 classes have no images here: bee",
        )
        assert set(done.predictions.labels_N.tolist()) == {0, 2}

    def test_unknown_classes_are_refused(self, home: Path) -> None:
        write_images(home / "fresh", 2, seed=1)
        (home / "fresh" / "bee").rename(home / "fresh" / "beee")
        with pytest.raises(DataError, match=r"does not know 1 .*\n  - 'beee'; nearest: bee"):
            evaluate(home / "sweep", str(home / "fresh"))

    def test_damaged_images(self, home: Path) -> None:
        fresh = write_images(home / "fresh", 3, seed=1)
        (fresh / "ape" / "bad.png").write_text("no image")
        with pytest.raises(DataError, match=r"(?s)1 of the files cannot be decoded.*ape/bad\.png"):
            evaluate(home / "sweep", str(fresh))
        done = evaluate(home / "sweep", str(fresh), skip_bad_images=True)
        assert done.remarks == ("1 files that cannot be decoded are left out",)
        assert len(done.predictions.names) == 9

    def test_nothing_is_left_in_the_cache(self, home: Path, trained: Path) -> None:
        before = sorted((trained / "cache" / "stores").iterdir())
        evaluate(home / "sweep", str(write_images(home / "fresh", 2, seed=9)))
        assert sorted((trained / "cache" / "stores").iterdir()) == before


class TestTheSeal:
    @pytest.mark.parametrize("model", ["sweep", "sweep/best", "sweep/exports/trial_0000{loser}"])
    def test_images_of_the_test_set_are_refused(self, model: str, home: Path) -> None:
        loser = 1 - Sweep(home / "sweep").best().number
        of_test = images_of(home, "test", 3)
        with pytest.raises(SweepFolderError, match=r"3 of the 3 images are in the sealed test set"):
            evaluate(home / model.format(loser=loser), str(of_test))

    def test_one_among_others_is_enough(self, home: Path) -> None:
        fresh = write_images(images_of(home, "test", 1), 5, seed=4)
        with pytest.raises(SweepFolderError, match=r"1 of the 16 images .* such as .*copy 0\.png"):
            evaluate(home / "sweep", str(fresh))

    def test_after_the_opening_the_tested_model_may(self, home: Path) -> None:
        sweep = Sweep(home / "sweep")
        opening = sweep.test()
        data = open_test_data(sweep.model().config.data)
        assert data is not None
        done = evaluate(home / "sweep", str(images_of(home, "test", 99)))
        assert done.as_plain()["figures"]["accuracy"]["value"] == pytest.approx(opening.accuracy)
        assert len(done.predictions.names) == len(data.names)
        assert "which was opened for this model" in done.remarks[0]
        with pytest.raises(SweepFolderError, match="sealed test set"):
            evaluate(sweep.folder.export_of(1 - opening.trial), str(home / "of test"))

    def test_images_that_it_was_trained_with_are_told(self, home: Path) -> None:
        images_of(home, "train", 4)
        for image in images_of(home, "validation", 2).rglob("*.png"):
            shutil.copy(image, home / "of train" / image.parent.name / f"other {image.name}")
        done = evaluate(home / "sweep" / "best", str(home / "of train"))
        assert done.remarks[-1].startswith(
            "4 of the images are, or are copies of, training images of the sweep, and 2 validation "
            "images (such as "
        )
        assert done.remarks[-1].endswith("): the figures are too optimistic")

    def test_an_older_export_elsewhere_refuses_where_its_own_images_came_from(
        self, home: Path, tmp_path: Path
    ) -> None:
        sweep = Sweep(home / "sweep")
        to = sweep.export(tmp_path / "a" / "b" / "c" / "export")
        save_file(load_file(to / "model.safetensors"), to / "model.safetensors")  # no record
        config = sweep.best().config
        assert config is not None
        for own in (config.data.source, str(Path(config.data.source) / "a")):
            with pytest.raises(SweepFolderError, match="including its sealed test set"):
                evaluate(to, own)
        done = evaluate(to, str(images_of(home, "test", 2)))
        assert any(one.startswith("there is no record of the images") for one in done.remarks)

    def test_a_sweep_without_hashes(self, home: Path) -> None:
        (home / "sweep" / "splits.csv").write_text("image,label,split\na.png,ape,test\n")
        done = evaluate(home / "sweep", str(write_images(home / "fresh", 2, seed=1)))
        assert done.remarks[0].startswith("there is no record of the images")

    def test_a_sweep_with_hashes_of_files_only(self, home: Path) -> None:
        """As sweeps were begun before pixels were hashed."""
        with (home / "sweep" / "splits.csv").open(newline="") as stream:
            rows = [",".join(row[:4]) for row in csv.reader(stream)]
        (home / "sweep" / "splits.csv").write_text("\n".join(rows))
        with pytest.raises(SweepFolderError, match=r"2 of the 2 images are in the sealed test set"):
            evaluate(home / "sweep", str(images_of(home, "test", 2)))
        to = Sweep(home / "sweep").export(home / "a" / "b" / "c" / "export")
        assert read_provenance(to / "model.safetensors") is None
        assert "none: the sweep has no hashes" in (to / "README.md").read_text()


def reencoded(folder: Path) -> Path:
    """The same pictures in other files under other names: BMP, TIFF, WebP, RGBA, turned."""
    for number, file in enumerate(sorted(folder.rglob("*.png"))):
        image = Image.open(file)
        to = file.with_name(f"other {number}")
        match number % 5:
            case 0:
                image.save(to.with_suffix(".bmp"))
            case 1:
                image.save(to.with_suffix(".tif"), compression="tiff_lzw")
            case 2:
                image.save(to.with_suffix(".webp"), lossless=True)
            case 3:
                image.convert("RGBA").save(to.with_suffix(".png"), compress_level=0)
            case 4:
                exif = Image.Exif()
                exif[0x0112] = 3
                image.rotate(180).save(to.with_suffix(".png"), exif=exif)
        file.unlink()
    return folder


class TestAnExportElsewhere:
    """It knows its sweep's images, wherever it lies and wherever they are."""

    @pytest.fixture
    def export(self, home: Path, tmp_path: Path) -> Path:
        return shutil.copytree(home / "sweep" / "best", tmp_path / "taken" / "far" / "away")

    @pytest.mark.parametrize("split", ["test", "train", "validation"])
    def test_knows_copies_in_other_containers(self, split: str, home: Path, export: Path) -> None:
        images = reencoded(images_of(home, split, 10))
        count = len(list(images.rglob("*.*")))
        for model in (export, home / "sweep"):
            if split == "test":
                with pytest.raises(
                    SweepFolderError, match=r"(9 of the 9|10 of the 10) images are in the sealed"
                ):
                    evaluate(model, str(images))
                continue
            told = evaluate(model, str(images)).remarks[-1]
            count = len(list(images.rglob("*.*")))
            expected = (count, 0) if split == "train" else (0, count)
            assert f"{expected[0]} of the images are, or are copies of, training" in told
            assert f"and {expected[1]} validation images" in told

    def test_knows_a_copy_of_the_folder_it_came_from(self, home: Path, export: Path) -> None:
        copied = shutil.copytree(home / "images", home / "copied")
        with pytest.raises(SweepFolderError, match=r"12 of the 60 images are in the sealed test"):
            evaluate(export, str(copied))

    def test_knows_images_that_a_csv_file_lists(self, home: Path, export: Path) -> None:
        files = sorted(images_of(home, "test", 3).rglob("*.png"))
        lines = [f"{file},{file.parent.name}" for file in files]
        (home / "sealed.csv").write_text("\n".join(["path,label", *lines]))
        with pytest.raises(SweepFolderError, match=r"3 of the 3 images are in the sealed test set"):
            evaluate(export, str(home / "sealed.csv"))

    def test_says_nothing_of_others(self, home: Path, export: Path) -> None:
        assert evaluate(export, str(write_images(home / "fresh", 3, seed=5))).remarks == ()

    def test_after_the_opening_it_may(self, home: Path, tmp_path: Path, export: Path) -> None:
        sweep = Sweep(home / "sweep")
        opening = sweep.test()
        sealed = str(images_of(home, "test", 99))
        with pytest.raises(SweepFolderError, match="sealed test set"):
            evaluate(export, sealed)  # nobody has told it
        done = evaluate(sweep.export(tmp_path / "x" / "y" / "tested"), sealed)
        assert done.as_plain()["figures"]["accuracy"]["value"] == pytest.approx(opening.accuracy)
        assert "which was opened for this model" in done.remarks[0]

    def test_with_a_damaged_record(self, home: Path, export: Path) -> None:
        file = export / "model.safetensors"
        save_file(load_file(file), file, {"toprung_images": "{"})
        with pytest.raises(SweepFolderError, match="the record of images cannot be read"):
            evaluate(export, str(write_images(home / "fresh", 3, seed=5)))


class TestCommand:
    def test_prints_figures_classes_and_mistakes(self, home: Path, cli: Cli) -> None:
        fresh = write_images(home / "fresh", 6, seed=5)
        ran = cli("evaluate", home / "sweep", fresh)
        assert ran.code == 0
        lines = ran.out.splitlines()
        assert lines[0] == f"{home / 'sweep'} on 18 images of {fresh}"
        accuracy = next(line for line in lines if line.startswith("accuracy")).split()
        done = evaluate(home / "sweep", str(fresh)).as_plain()
        assert accuracy[1] == f"{done['figures']['accuracy']['value']:.4f}"
        assert [line.split()[:2] for line in lines if line[:3] in LABELS][:3] == [
            [label, "6"] for label in LABELS
        ]

    def test_long_names_are_cut_in_the_tables(self, home: Path) -> None:
        done = evaluate(home / "sweep", str(write_images(home / "fresh", 6, seed=5)))
        names = tuple(f"{name} {'x' * 200}" for name in LABELS)
        predictions = replace(done.predictions, class_names=names)
        tables = text_scores.evaluation(replace(done, data="d", model="m", predictions=predictions))
        assert max(map(len, tables.splitlines())) <= 120
        assert f"ape {'x' * 35}…" in tables

    def test_json_and_a_folder(self, home: Path, cli: Cli) -> None:
        fresh = write_images(home / "fresh", 6, seed=5, labels=("ape", "cow"))
        ran = cli("evaluate", home / "sweep", fresh, "--json", "--to", home / "out" / "here")
        said = json.loads(ran.out)
        assert said["num_images"] == 12
        assert said["classes"]["bee"]["recall"] is None
        assert sum(map(sum, said["confusion"])) == 12
        assert said["figures"]["accuracy"]["low"] < said["figures"]["accuracy"]["value"]
        written = home / "out" / "here"
        assert json.loads((written / "figures.json").read_text()) == said
        assert len(load_predictions(written / "predictions.npz").names) == 12
        for name in ("confusion", "rocs", "calibration", "random_images"):
            with Image.open(written / f"{name}.png") as picture:
                assert picture.width > 200
        assert cli("evaluate", home / "sweep", fresh, "--to", written).code == 0

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("nowhere fresh", "nowhere: is not an exported model"),
            ("sweep nowhere", "'nowhere' is neither a data set known by name"),
            ("sweep fresh --to fresh", "fresh: holds something else; choose an empty folder"),
        ],
    )
    def test_mistakes_are_one_message(
        self, arguments: str, message: str, home: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_images(home / "fresh", 2, seed=1)
        monkeypatch.chdir(home)
        ran = cli("evaluate", *arguments.split())
        assert ran.code == 2
        assert ran.out == ""
        assert message in ran.err
        assert ran.err.count("error: ") == 1
