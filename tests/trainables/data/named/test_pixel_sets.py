"""CIFAR-10 and STL-10 in their real formats, but small, and their downloads.

torchvision checks every file against the checksum of the official one, so each test writes its own
checksums into torchvision's tables.
"""

import os
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torchvision.datasets import CIFAR10

from tests.support.named_data import (
    CIFAR10_CLASSES,
    STL10_CLASSES,
    md5,
    write_cifar10,
    write_pickle,
    write_stl10,
)
from toprung.trainables.data import (
    DataError,
    DataSettings,
    open_test_data,
    open_training_data,
    prepare,
)
from toprung.trainables.data.named import tiny_imagenet

pytestmark = pytest.mark.usefixtures("cache")


def settings(name: str, root: Path, **changes: Any) -> DataSettings:
    return DataSettings(source=name, root=str(root), **changes)


def check(name: str, root: Path, images_NHWC: NDArray[np.uint8], num_test: int) -> None:
    """Every image is in its official split, with its class and its pixels."""
    num_train = len(images_NHWC) - num_test
    pinned = prepare(settings(name, root, image_size=images_NHWC.shape[1])).settings
    training, test = open_training_data(pinned), open_test_data(pinned)
    assert test is not None
    np.testing.assert_array_equal(training.images_NHWC, images_NHWC[:num_train])
    np.testing.assert_array_equal(test.images_NHWC, images_NHWC[num_train:])
    np.testing.assert_array_equal(training.labels_N, np.arange(num_train) % 10)
    np.testing.assert_array_equal(test.labels_N, np.arange(num_test) % 10)
    assert len(training.validation_indices) == num_train // 5


class TestCifar10:
    def test_images(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        images_NHWC = write_cifar10(tmp_path, monkeypatch)
        check("cifar10", tmp_path, images_NHWC, 20)
        assert prepare(settings("cifar10", tmp_path)).class_names == CIFAR10_CLASSES

    def test_damage(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_cifar10(tmp_path, monkeypatch)
        file = tmp_path / "cifar-10-batches-py/data_batch_3"
        file.write_bytes(file.read_bytes()[:-1] + b"?")
        with pytest.raises(DataError, match="are damaged: their checksums are not"):
            prepare(settings("cifar10", tmp_path))

    def test_a_missing_file_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_cifar10(tmp_path, monkeypatch)
        (tmp_path / "cifar-10-batches-py/data_batch_3").unlink()
        with pytest.raises(DataError, match="cifar-10-batches-py: lacks data_batch_3\n"):
            prepare(settings("cifar10", tmp_path))

    def test_changed_files_are_noticed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_cifar10(tmp_path, monkeypatch)
        pinned = prepare(settings("cifar10", tmp_path)).settings
        file = tmp_path / "cifar-10-batches-py/data_batch_3"
        os.utime(file, ns=(0, 0))
        assert prepare(pinned).settings == pinned  # touched, but the same
        write_pickle(file, {"data": np.zeros((20, 3072), np.uint8), "labels": [*range(10)] * 2})
        sums = [[n, md5(file) if n == file.name else old] for n, old in CIFAR10.train_list]
        monkeypatch.setattr(CIFAR10, "train_list", sums)
        with pytest.raises(DataError, match="have changed since data/digest was pinned"):
            prepare(pinned)

    def test_a_warm_start_does_not_read_the_files(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_cifar10(tmp_path, monkeypatch)
        first = prepare(settings("cifar10", tmp_path))
        monkeypatch.setitem(sys.modules, "torchvision.datasets", None)  # no import
        assert prepare(settings("cifar10", tmp_path)) == first
        (tmp_path / "cifar-10-batches-py").rename(tmp_path / "elsewhere")
        assert len(open_training_data(first.settings).images_NHWC) == 100


class TestStl10:
    def test_images(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        images_NHWC = write_stl10(tmp_path, monkeypatch)
        check("stl10", tmp_path, images_NHWC, 20)
        assert prepare(settings("stl10", tmp_path)).class_names == STL10_CLASSES

    def test_damage(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_stl10(tmp_path, monkeypatch)
        (tmp_path / "stl10_binary/test_y.bin").write_bytes(b"\x01" * 20)
        with pytest.raises(DataError, match="are damaged"):
            prepare(settings("stl10", tmp_path))


class TestDownload:
    @pytest.fixture
    def served(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """A folder whose files a server on this machine gives; its address is `self.address`."""
        monkeypatch.setenv("no_proxy", "*")
        folder = tmp_path / "served"
        folder.mkdir()

        class Quiet(SimpleHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

        with HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
            self.address = f"http://127.0.0.1:{server.server_port}"
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            yield folder
            server.shutdown()
            thread.join()

    @pytest.fixture
    def archive(self, served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        write_cifar10(tmp_path / "original", monkeypatch)
        archive = served / "cifar-10-python.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(tmp_path / "original/cifar-10-batches-py", "cifar-10-batches-py")
        monkeypatch.setattr(CIFAR10, "url", f"{self.address}/{archive.name}")
        monkeypatch.setattr(CIFAR10, "tgz_md5", md5(archive))
        return archive

    def test_the_files_come_once(self, archive: Path, tmp_path: Path) -> None:
        root = tmp_path / "sets"
        prepared = prepare(settings("cifar10", root, download=True))
        assert (prepared.num_train, prepared.num_validation, prepared.num_test) == (80, 20, 20)
        assert [path.name for path in root.iterdir()] == ["cifar-10-batches-py"]
        archive.unlink()
        assert prepare(prepared.settings) == prepared

    @pytest.mark.usefixtures("archive")
    def test_nothing_is_downloaded_unasked(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="To download it there: --set data/download=true"):
            prepare(settings("cifar10", tmp_path / "sets"))
        assert not (tmp_path / "sets").exists()

    def test_another_checksum_leaves_nothing(self, archive: Path, tmp_path: Path) -> None:
        archive.write_bytes(b"?")
        with pytest.raises(DataError, match=r"cannot be downloaded .* corrupted"):
            prepare(settings("cifar10", tmp_path / "sets", download=True))
        assert list((tmp_path / "sets").iterdir()) == []

    def test_no_answer(self, archive: Path, tmp_path: Path) -> None:
        archive.unlink()
        with pytest.raises(DataError, match=r"HTTP Error 404.*by hand: https://www.cs.toronto"):
            prepare(settings("cifar10", tmp_path / "sets", download=True))

    @pytest.mark.usefixtures("archive")
    def test_a_folder_in_the_way_stays(self, tmp_path: Path) -> None:
        file = tmp_path / "sets/cifar-10-batches-py/data_batch_1"
        file.parent.mkdir(parents=True)
        file.write_text("mine")
        with pytest.raises(DataError, match="lacks some of its files: remove or rename"):
            prepare(settings("cifar10", tmp_path / "sets", download=True))
        assert file.read_text() == "mine"

    def test_tiny_imagenet(
        self, served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        archive, folder = served / "tiny-imagenet-200.zip", "tiny-imagenet-200"
        with zipfile.ZipFile(archive, "w") as stream:
            stream.writestr(f"{folder}/wnids.txt", "n01\nn02\n")
            stream.writestr(f"{folder}/words.txt", "n01\tcat\nn02\tdog\n")
            stream.writestr(f"{folder}/train/n01/images/a.JPEG", "")
            stream.writestr(f"{folder}/train/n02/images/b.JPEG", "")
            stream.writestr(f"{folder}/val/images/c.JPEG", "")
            stream.writestr(f"{folder}/val/val_annotations.txt", "c.JPEG\tn01\n")
        monkeypatch.setattr(tiny_imagenet, "URL", f"{self.address}/{archive.name}")
        monkeypatch.setattr(tiny_imagenet, "MD5", md5(archive))
        with pytest.raises(DataError, match="class 'dog' has no test images"):
            prepare(settings("tiny_imagenet", tmp_path / "sets", download=True))
        assert (tmp_path / "sets" / folder / "train/n02/images/b.JPEG").is_file()
