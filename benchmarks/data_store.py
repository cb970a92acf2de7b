"""Getting a folder of images into trials: Toprung's store against decoding in each process.

Command:  uv run python -m benchmarks.data_store --images FOLDER [--image-size 112] [--pairs 3]

FOLDER has a folder for each class. Counted, in new processes that need to import nothing:

* first: from the files to images in memory. Toprung hashes, splits and decodes them and writes its
  store, in an empty cache folder of the benchmark's own; the peer decodes.
* again: the same on a machine that did it before. Toprung opens its store; the peer has none.
* memory: by how much the processes' memory grows with n trials side by side, each of which has
  looked at every image. Memory that processes share is counted once (proportional set size).

All times end when every page of the images has been read. The files are in the system's cache from
the start. The peer is `benchmarks/peers/torch_dataset.py`.

Shape letters: N images, H height, W width, C channels.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torchvision.datasets import ImageFolder

from benchmarks.peers.torch_dataset import load_images
from benchmarks.tables import print_table, ratios
from toprung.trainables.data import DataSettings, open_training_data, prepare
from toprung.trainables.system.machine import num_cpus

Images = NDArray[np.uint8]
PAGE = 4096  # bytes
TRIALS = (1, 2, 4)
MEMORY = Path("/proc/self/smaps_rollup")


@dataclass(frozen=True)
class Loaded:
    """What it took processes, side by side, to get the images.

    Attributes:
        seconds: of the slowest.
        mebibytes: by which the memory of all of them grew.
    """

    seconds: float
    mebibytes: float


def load_in_processes(load: Callable[[], Images], count: int) -> Loaded:
    """Call `load` in so many new processes at the same time."""
    fork = multiprocessing.get_context("fork")  # what is imported here need not be imported again
    pipes = [fork.Pipe() for _ in range(count)]
    processes = [fork.Process(target=_trial, args=(load, theirs)) for _, theirs in pipes]
    for process in processes:
        process.start()
    for _, theirs in pipes:
        theirs.close()  # so that a process that dies is an EOFError here, and not a wait for ever
    trials = [ours for ours, _ in pipes]
    _hear(trials)  # all have started, and share what there is to share
    before = sum(_ask(trials))
    seconds = _ask(trials)
    after = sum(_ask(trials))
    _tell(trials)
    for process in processes:
        process.join()
    return Loaded(max(seconds), (after - before) / 2**20)


def _trial(load: Callable[[], Images], driver: Connection) -> None:
    """What each of the processes does; it goes on when it is told to."""
    driver.send(None)
    driver.recv()
    driver.send(_own_memory())
    driver.recv()
    started = time.monotonic()
    images = load()
    touch(images)
    driver.send(time.monotonic() - started)
    driver.recv()
    driver.send(_own_memory())
    driver.recv()


def _tell(trials: list[Any]) -> None:
    for trial in trials:
        trial.send(None)


def _hear(trials: list[Any]) -> list[float]:
    return [trial.recv() for trial in trials]


def _ask(trials: list[Any]) -> list[float]:
    _tell(trials)
    return _hear(trials)


def _own_memory() -> int:
    """This process's proportional set size, in bytes (Linux)."""
    line = next(line for line in MEMORY.read_text().splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) * 1024


def touch(images: Images) -> int:
    """Read every page of the images."""
    return int(images.reshape(-1)[::PAGE].sum())


def peer_images(folder: Path, image_size: int) -> Images:
    """images_NCHW, as the peer loads them."""
    images: Images = load_images(folder, image_size, num_cpus())[0].numpy()
    return images


def first_images(settings: DataSettings, cache_dir: Path) -> Images:
    """images_NHWC, as Toprung's driver prepares them."""
    prepare(settings, cache_dir=cache_dir)
    return stored_images(settings, cache_dir)


def stored_images(settings: DataSettings, cache_dir: Path) -> Images:
    """images_NHWC, as Toprung's trials open them."""
    return open_training_data(settings, cache_dir=cache_dir).images_NHWC


def measure(folder: Path, image_size: int) -> dict[str, float]:
    """One pair: a figure for each row of the table, the peer and Toprung in turn."""
    figures: dict[str, float] = {}
    settings = DataSettings(source=str(folder.absolute()), image_size=image_size, test_fraction=0)
    peer = partial(peer_images, folder, image_size)
    with tempfile.TemporaryDirectory() as temporary:
        cache_dir = Path(temporary)
        figures["first: plain PyTorch, s"] = load_in_processes(peer, 1).seconds
        first = load_in_processes(partial(first_images, settings, cache_dir), 1)
        figures["first: Toprung, s"] = first.seconds
        pinned = prepare(settings, cache_dir=cache_dir).settings
        stored = partial(stored_images, pinned, cache_dir)
        for count in TRIALS:
            theirs, ours = load_in_processes(peer, count), load_in_processes(stored, count)
            if count == 1:
                figures["again: plain PyTorch, ms"] = theirs.seconds * 1000
                figures["again: Toprung, ms"] = ours.seconds * 1000
            trials = f"{count} trial{'s' if count > 1 else ''}"
            figures[f"memory of {trials}: plain PyTorch, MiB"] = theirs.mebibytes
            figures[f"memory of {trials}: Toprung, MiB"] = ours.mebibytes
    return figures


def table_rows(pairs: list[dict[str, float]], num_images: int) -> dict[str, list[float]]:
    """The rows of the table: what `measure` gave, each peer and Toprung with their ratio."""
    rows: dict[str, list[float]] = {}
    peer: list[float] = []
    for name in pairs[0]:
        rows[name] = [pair[name] for pair in pairs]
        what = name.partition(":")[0]
        if "Toprung" not in name:
            peer = rows[name]
            continue
        rows[f"{what}: ratio"] = ratios(rows[name], peer)
        if what == "first":
            rows["first: plain PyTorch, images/s"] = [num_images / s for s in peer]
            rows["first: Toprung, images/s"] = [num_images / s for s in rows[name]]
    return rows


def main() -> None:
    """Measure the pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="a folder of class folders")
    parser.add_argument("--image-size", type=int, default=112, help="pixels of a side")
    parser.add_argument("--pairs", type=int, default=3, help="measurements of each, in turn")
    given = parser.parse_args()
    images: Path = given.images
    num_images = len(ImageFolder(images))
    load_in_processes(partial(peer_images, images, given.image_size), 1)  # reads all files once
    pairs = [measure(images, given.image_size) for _ in range(given.pairs)]
    print_table(
        f"data store, {num_images} images at {given.image_size} pixels",
        table_rows(pairs, num_images),
    )


if __name__ == "__main__":
    main()
