"""Small data in the real on-disk formats of the named data sets.

torchvision checks every file of CIFAR-10 and STL-10 against the checksum of the official one, so
their writers put their own checksums into torchvision's tables.
"""

import hashlib
import io
import pickle
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from torchvision.datasets import CIFAR10, STL10

CIFAR10_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
STL10_CLASSES = (
    *("airplane", "bird", "car", "cat", "deer"),
    *("dog", "horse", "monkey", "ship", "truck"),
)
PACS_CLASSES = ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")


def md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()


class OldPickler(pickle.Pickler):
    """Writes arrays as the NumPy did that wrote the official files: its dtypes have numbers."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, np.dtype):
            reduced: Any = value.__reduce__()
            _, (code, align, copy), *state = reduced
            return (np.dtype, (code, int(align), int(copy)), *state)
        return NotImplemented


def write_pickle(file: Path, value: object) -> None:
    stream = io.BytesIO()
    OldPickler(stream, protocol=2).dump(value)
    file.write_bytes(stream.getvalue().replace(b"numpy._core.", b"numpy.core."))


def write_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> NDArray[np.uint8]:
    """Writes 20 images into each batch; gives all of them, the test batch last, NHWC."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    images_NCHW = np.random.default_rng(0).integers(0, 256, (120, 3, 32, 32), np.uint8)
    names = [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]
    for n, name in enumerate(names):
        rows = images_NCHW[20 * n : 20 * (n + 1)].reshape(20, -1)
        write_pickle(folder / name, {"data": rows, "labels": [i % 10 for i in range(20)]})
    write_pickle(folder / "batches.meta", {"label_names": list(CIFAR10_CLASSES)})
    sums = [[name, md5(folder / name)] for name in names]
    monkeypatch.setattr(CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(CIFAR10, "test_list", sums[5:])
    meta = CIFAR10.meta | {"md5": md5(folder / "batches.meta")}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    return images_NCHW.transpose(0, 2, 3, 1)


def write_stl10(root: Path, monkeypatch: pytest.MonkeyPatch) -> NDArray[np.uint8]:
    """Writes 50 training and 20 test images; gives all of them, the test images last, NHWC."""
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    images_NHWC = np.random.default_rng(0).integers(0, 256, (70, 96, 96, 3), np.uint8)
    for split, start, stop in (("train", 0, 50), ("test", 50, 70)):
        # Its pixels lie column by column, its labels start with 1.
        images_NHWC[start:stop].transpose(0, 3, 2, 1).tofile(folder / f"{split}_X.bin")
        (np.arange(stop - start) % 10 + 1).astype(np.uint8).tofile(folder / f"{split}_y.bin")
    files = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")
    sums = [[name, md5(folder / name)] for name in files]
    unlabelled = ["unlabeled_X.bin", "5242ba1fed5e4be9e1e742405eb56ca4"]
    monkeypatch.setattr(STL10, "train_list", [*sums[:2], unlabelled])
    monkeypatch.setattr(STL10, "test_list", sums[2:])
    return images_NHWC


def write_pictures(folder: Path, names: list[str], *, size: int = 40) -> None:
    """Files of noise."""
    rng = np.random.default_rng(len(names))
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)).save(path)


def write_pacs(root: Path) -> None:
    """Ten cartoons of each class; the official lists give seven for training, three for tests."""
    lists: dict[str, list[str]] = {"train": [], "crossval": []}
    for (label, name), n in product(enumerate(PACS_CLASSES, start=1), range(10)):
        file = f"cartoon/{name}/pic_{n:03}.jpg"
        lists["train" if n < 7 else "crossval"].append(f"{file} {label}")
        write_pictures(root / "PACS", [file])
    for split, lines in lists.items():
        (root / "PACS" / f"cartoon_{split}_kfold.txt").write_text("\n".join(lines) + "\n")


def write_caltech101(root: Path) -> None:
    """Three classes and the background, with the official lists."""
    folder = root / "caltech101"
    for name, n in product(("BACKGROUND_Google", "accordion", "anchor", "ant"), range(1, 9)):
        write_pictures(folder / "101_ObjectCategories", [f"{name}/image_{n:04}.jpg"])
    for split, numbers in (("train", range(1, 7)), ("test", range(7, 9))):
        lines = [f"{c}/image_{n:04}.jpg" for c in ("accordion", "anchor", "ant") for n in numbers]
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n")


def write_inaturalist12k(root: Path) -> None:
    """Two classes."""
    for split, name, n in product(("train", "val"), ("Amphibia", "Aves"), range(6)):
        write_pictures(root / "inaturalist_12K", [f"{split}/{name}/{n}.jpg"])


def write_tiny_imagenet(root: Path) -> None:
    """Fifty-two classes of three training images and one to test with."""
    folder, wnids = root / "tiny-imagenet-200", [f"n{n:08}" for n in range(52)]
    for wnid in wnids:
        files = [f"train/{wnid}/images/{wnid}_{n}.JPEG" for n in range(3)]
        write_pictures(folder, files, size=16)
    write_pictures(folder / "val/images", [f"val_{n}.JPEG" for n in range(52)], size=16)
    annotations = [f"val_{n}.JPEG\t{wnid}\t0\t0\t9\t9\n" for n, wnid in enumerate(wnids)]
    (folder / "val/val_annotations.txt").write_text("".join(annotations))
    (folder / "wnids.txt").write_text("\n".join(wnids) + "\n")
    (folder / "words.txt").write_text("".join(f"{wnid}\tthing {wnid}\n" for wnid in wnids))


def write_dogs_vs_cats(root: Path) -> None:
    """Ten of each."""
    for name, n in product(("cat", "dog"), range(10)):
        write_pictures(root / "dogs-vs-cats/train", [f"{name}.{n}.jpg"])
