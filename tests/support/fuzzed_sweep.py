"""A small whole sweep, made without Ray, to be damaged; and what it takes to damage its files."""

import contextlib
import hashlib
import io
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from PIL import Image

from tests.support.helpers import forget_openings, remember_configs, tiny_config
from tests.support.simulated_sweep import Simulated, simulated_sweep
from toprung.analysis.provenance.starting_weights import StartingWeights, as_bytes
from toprung.analysis.seal.ledger import BESIDE
from toprung.analysis.sweep import Sweep
from toprung.cli.main import _exit_code, toprung
from toprung.trainables.data import open_training_data, prepare
from toprung.trainables.files.plain_yaml import read_yaml
from toprung.trainables.provenance.image_set import ImageSet, SplitImages
from toprung.trainables.provenance.overlap import Overlap
from toprung.trainables.training.fit import fit

SETTINGS = {"data__source": "digits", "data__image_size": 8, "model__batch_norm": "before"}
WINNER = 1
FILES = [
    "sweep.yaml",
    "study.db",
    f"trials/trial_{WINNER:05d}/result.json",
    f"trials/trial_{WINNER:05d}/checkpoint.pt",
    "sealed_test.json",
    "splits.csv",
    "starting_weights.safetensors",
    f"test_predictions/trial_{WINNER:05d}.npz",
    "best/model.safetensors",
    "best/config.json",
    "best/trial.yaml",
    "best/metrics.json",
]


class Place(NamedTuple):
    """A sweep, images of two of its classes, and an empty folder."""

    sweep: Path
    images: Path
    out: Path

    def copied(self, to: Path) -> "Place":
        """Another one of the same content."""
        shutil.copytree(self.sweep.parent, to)
        return Place(*(to / path.name for path in self))

    def seal(self) -> None:
        """Let the test set be as if it had never been opened."""
        (self.sweep / "sealed_test.json").unlink()
        for folder in (self.sweep / "test_openings", self.sweep / "test_predictions"):
            shutil.rmtree(folder)
        shutil.rmtree(self.sweep.parent / BESIDE)
        forget_openings()

    def remember(self) -> None:
        """Let the user's records have the sweep as their own."""
        sweep_id = read_yaml((self.sweep / "sweep.yaml").read_text())["id"]
        remember_configs(sweep_id, [tiny_config(**SETTINGS)])


def whole_sweep(folder: Path) -> Place:
    """Two trials that finished; the better one has a model, is tested and exported."""
    place = Place(folder / "sweep", folder / "images", folder / "out")
    trials = [Simulated([0.5, 0.6], settings=SETTINGS), Simulated([0.5, 0.7], settings=SETTINGS)]
    results = simulated_sweep(place.sweep, trials, max_epochs=2)
    config = results.trials[WINNER].config
    assert config is not None
    prepared = prepare(config.data)
    *_, last = fit(config, open_training_data(config.data))
    sweep = results.sweep.folder
    last.save_checkpoint(sweep.trial(WINNER))
    prepared.write_splits(sweep.splits)
    seen = Overlap(num_test=10, num_validation=10, test_in_train=3, examples=("a", "b"))
    images = SplitImages(ImageSet.of(prepared.pixel_hashes))
    known = [StartingWeights(config.model.weights, images, seen)]
    sweep.starting_weights.write_bytes(as_bytes(known))
    said = read_yaml(sweep.settings.read_text())
    said["data"] |= {"test_sha256": prepared.test_digest, "class_names": prepared.class_names}
    said["data"] = {**said["data"], "class_names": list(prepared.class_names)}
    sweep.settings.write_text(yaml.safe_dump(said))
    Sweep(place.sweep).test()
    Sweep(place.sweep).export()
    for number in range(6):
        path = place.images / str(number % 2) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 40 * number, np.uint8)).save(path)
    place.out.mkdir()
    return place


def commands(place: Place) -> dict[str, list[str]]:
    """Every command that looks at a sweep or an export."""
    sweep, best = str(place.sweep), str(place.sweep / "best")
    image = str(place.images / "0" / "0.png")
    return {
        "status": ["status", sweep],
        "best": ["best", sweep],
        "compare": ["compare", sweep, "--by", "optimizer/name"],
        "test": ["test", sweep],
        "export": ["export", sweep, "--to", str(place.out / "export")],
        "export in place": ["export", sweep],
        "inspect": ["inspect", sweep, image, "--json"],
        "inspect export": ["inspect", best, image, "--json"],
        "evaluate": ["evaluate", sweep, str(place.images), "--json"],
        "evaluate export": ["evaluate", best, str(place.images), "--json"],
        "predict": ["predict", best, image],
        "describe": ["describe", best],
        "report": ["report", sweep, "--to", str(place.out / "report")],
    }


def run(arguments: list[str]) -> tuple[int, str]:
    """A command's exit code, and what it said on stderr; what it raises is raised."""
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        code = _exit_code(lambda: toprung.main(arguments, standalone_mode=False))
    return code, said.getvalue()


def run_and_read(arguments: list[str]) -> tuple[int, str]:
    """A command's exit code, and all that it said; what it raises is raised."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = _exit_code(lambda: toprung.main(arguments, standalone_mode=False))
    return code, said.getvalue()


def digests(place: Place, *, but: tuple[str, ...] = ()) -> dict[str, str]:
    """Of every file of the sweep; but those in these of its folders."""
    return {
        str(path.relative_to(place.sweep)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(place.sweep.rglob("*"))
        if path.is_file() and path.relative_to(place.sweep).parts[0] not in but
    }


def _cut(share: float) -> Callable[[Path, random.Random], None]:
    def cut(path: Path, _: random.Random) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])

    return cut


def _flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 8)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    path.write_bytes(content)


def _folder(path: Path, _: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _swap(path: Path, rng: random.Random) -> None:
    sweep = next(parent for parent in path.parents if (parent / "study.db").exists())
    other = sweep / rng.choice([name for name in FILES if sweep / name != path])
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "missing": lambda path, _: path.unlink(),
    "emptied": _cut(0),
    "half": _cut(0.5),
    "nearly whole": _cut(0.97),
    "a folder": _folder,
    "flipped": _flip,
    "swapped": _swap,
}


@contextlib.contextmanager
def unchanged(place: Place, *, but: tuple[str, ...] = ()) -> Iterator[None]:
    """Nothing that was there is another afterwards, or gone."""
    before = digests(place, but=but)
    yield
    after = digests(place, but=but)
    assert {name: after.get(name) for name in before} == before
