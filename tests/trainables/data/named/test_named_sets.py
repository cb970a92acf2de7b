"""Named data sets that are folders of image files, as they lie on the disk."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toprung.trainables.data import DataError, DataSettings, open_training_data, prepare
from toprung.trainables.data.listing.cache import Cache
from toprung.trainables.data.listing.image_list import ListedImage
from toprung.trainables.data.named import NAMED_SETS
from toprung.trainables.data.sources import NAMES, find_source

pytestmark = pytest.mark.usefixtures("cache")
WriteImage = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What `write_image` writes into."""
    return tmp_path / "images"


def settings(name: str, root: Path, **changes: Any) -> DataSettings:
    return DataSettings(source=name, root=str(root), **{"image_size": 4} | changes)


def images(name: str, root: Path) -> dict[str, ListedImage]:
    return {i.name: i for i in find_source(settings(name, root), Cache(None)).list_images()}


def counts(name: str, root: Path) -> Counter[tuple[str, str | None]]:
    return Counter((image.class_name, image.split) for image in images(name, root).values())


def error(name: str, root: Path, **changes: Any) -> str:
    with pytest.raises(DataError) as caught:
        prepare(settings(name, root, **changes))
    return str(caught.value)


def write_lines(file: Path, *lines: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([*lines, ""]))


class TestNames:
    def test_each_is_there_once(self) -> None:
        assert len(set(NAMES)) == len(NAMES) == len(NAMED_SETS) + 1

    @pytest.mark.parametrize("name", NAMED_SETS)
    def test_files_that_are_not_there(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        message = error(name, tmp_path / "sets")
        assert f"The data set {name!r} is not in {str(tmp_path / 'sets')!r}" in message
        assert "Looked for a folder with " in message
        assert NAMED_SETS[name].website in message
        advice = "--set data/download=true" in message
        assert advice == (NAMED_SETS[name].download is not None)
        assert "./" not in message

    def test_the_default_root_is_in_the_cache(self, cache: Path) -> None:
        with pytest.raises(DataError, match=str(cache / "datasets/stl10_binary")):
            prepare(DataSettings(source="stl10"))

    def test_a_folder_of_the_same_name(
        self, flat_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        flat_folder.rename(tmp_path / "cifar10")
        assert "write ./cifar10" in error("cifar10", tmp_path)
        assert prepare(DataSettings(source="./cifar10")).num_train == 12

    def test_a_root_of_nobody(self) -> None:
        assert "data/root = '~nobody-of-that-name' is not a path" in error(
            "cifar10", Path("~nobody-of-that-name")
        )


class TestCaltech101:
    def write(self, write_image: WriteImage, folder: str) -> None:
        for name in ("ant", "crab", "BACKGROUND_Google"):
            for n in range(1, 7):
                write_image(f"{folder}101_ObjectCategories/{name}/image_{n:04}.jpg")

    @pytest.mark.parametrize("folder", ["caltech101/", ""])
    def test_without_lists_there_is_no_split(
        self, folder: str, write_image: WriteImage, root: Path
    ) -> None:
        self.write(write_image, folder)
        assert counts("caltech101", root) == {("ant", None): 6, ("crab", None): 6}
        assert "ant/image_0001.jpg" in images("caltech101", root)

    @pytest.mark.parametrize(
        ("folder", "lists"), [("caltech101/", "caltech101"), ("caltech101/", ""), ("", "")]
    )
    def test_with_lists(self, folder: str, lists: str, write_image: WriteImage, root: Path) -> None:
        self.write(write_image, folder)
        lines = [f"{name}/image_000{n}.jpg" for name in ("ant", "crab") for n in range(1, 6)]
        write_lines(root / lists / "train.txt", *lines[:4], "", *lines[5:9])
        write_lines(
            root / lists / "test.txt", "BACKGROUND_Google/image_0001.jpg", lines[4], lines[9]
        )
        assert counts("caltech101", root) == {
            ("ant", "train"): 4,
            ("crab", "train"): 4,
            ("ant", "test"): 1,
            ("crab", "test"): 1,
        }
        prepared = prepare(settings("caltech101", root, validation_fraction=0.5))
        assert (prepared.num_train, prepared.num_validation, prepared.num_test) == (4, 4, 2)

    def test_wrong_lists(self, write_image: WriteImage, root: Path) -> None:
        self.write(write_image, "")
        lines = "ant/image_0001.jpg", "image_0002.jpg", "../x.jpg"
        write_lines(root / "train.txt", *lines)
        assert "does not have all lists of the official split" in error("caltech101", root)
        write_lines(root / "test.txt", "crab/image_0001.jpg", "ant/image_0001.jpg")
        message = error("caltech101", root)
        assert "train.txt, line 2: 'image_0002.jpg' is not <class>/<file>" in message
        assert "train.txt, line 3: '../x.jpg' is not" in message
        assert "test.txt, line 2: 'ant/image_0001.jpg' is listed twice" in message

    def test_listed_files_that_are_not_there(self, write_image: WriteImage, root: Path) -> None:
        self.write(write_image, "")
        names = [f"{c}/image_000{n}.jpg" for c in ("ant", "crab") for n in (1, 2, 3, 4, 9)]
        write_lines(root / "train.txt", *names)
        write_lines(root / "test.txt", "ant/image_0005.jpg", "crab/image_0005.jpg")
        assert "crab/image_0009.jpg: No such file" in error("caltech101", root)
        without = prepare(
            settings("caltech101", root, skip_bad_images=True, validation_fraction=0.5)
        )
        assert (len(without.splits), len(without.bad_images)) == (10, 2)


class TestPacs:
    def write(self, write_image: WriteImage, folder: str, domain: str = "cartoon") -> None:
        for name in ("dog", "person"):
            for n in range(1, 6):
                write_image(f"{folder}{domain}/{name}/pic_{n:03}.jpg")

    def lists(self, folder: Path) -> None:
        lines = [f"cartoon/dog/pic_00{n}.jpg 1" for n in range(1, 6)]
        lines += [f"cartoon/person/pic_00{n}.jpg 7" for n in range(1, 6)]
        write_lines(folder / "cartoon_train_kfold.txt", *lines[:4], *lines[5:9])
        write_lines(folder / "cartoon_crossval_kfold.txt", lines[4], lines[9])
        write_lines(folder / "cartoon_test_kfold.txt", *lines)  # all of them, for other studies

    @pytest.mark.parametrize("domain", ["art_painting", "cartoon", "photo", "sketch"])
    @pytest.mark.parametrize("folder", ["", "PACS/", "kfold/", "PACS/kfold/", "pacs_data/"])
    def test_without_lists_there_is_no_split(
        self, folder: str, domain: str, write_image: WriteImage, root: Path
    ) -> None:
        self.write(write_image, folder, domain)
        assert counts(f"pacs_{domain}", root) == {("dog", None): 5, ("person", None): 5}
        assert f"{domain}/dog/pic_001.jpg" in images(f"pacs_{domain}", root)

    @pytest.mark.parametrize("lists", ["", "kfold", "pacs_label", "splits"])
    def test_with_lists(self, lists: str, write_image: WriteImage, root: Path) -> None:
        self.write(write_image, "kfold/")
        self.lists(root / lists)
        found = images("pacs_cartoon", root)
        assert {name for name, image in found.items() if image.split == "test"} == {
            "cartoon/dog/pic_005.jpg",
            "cartoon/person/pic_005.jpg",
        }
        path = root / "kfold/cartoon/dog/pic_001.jpg"
        assert found["cartoon/dog/pic_001.jpg"].content == path
        assert counts("pacs_cartoon", root)["person", "train"] == 4

    def test_swapped(self, write_image: WriteImage, root: Path) -> None:
        self.write(write_image, "")
        self.lists(root)
        changes = {"swap_train_and_test": True, "validation_fraction": 0.5}
        assert "class 'dog' has 1" in error("pacs_cartoon", root, **changes)
        write_lines(
            root / "cartoon_train_kfold.txt",
            *(f"cartoon/{name}/pic_00{n}.jpg 0" for name in ("dog", "person") for n in (1, 2)),
        )
        write_lines(
            root / "cartoon_crossval_kfold.txt",
            *(f"cartoon/{name}/pic_00{n}.jpg 0" for name in ("dog", "person") for n in (3, 4, 5)),
        )
        prepared = prepare(settings("pacs_cartoon", root, **changes))
        assert (prepared.num_train, prepared.num_validation, prepared.num_test) == (2, 4, 4)


class TestINaturalist12k:
    @pytest.mark.parametrize("folder", ["inaturalist_12K/", ""])
    def test_val_is_the_test_set(self, folder: str, write_image: WriteImage, root: Path) -> None:
        for split, num_images in (("train", 5), ("val", 2)):
            for name in ("Aves", "Fungi"):
                for n in range(num_images):
                    write_image(f"{folder}{split}/{name}/{n}.jpg")
        (root / folder / "train/.DS_Store").touch()
        prepared = prepare(settings("inaturalist12k", root))
        assert (prepared.num_train, prepared.num_validation, prepared.num_test) == (8, 2, 4)
        in_test = {name for name, _, split in prepared.splits if split == "test"}
        assert all(name.startswith("val/") for name in in_test)
        assert prepared.class_names == ("Aves", "Fungi")


class TestDogsVsCats:
    @pytest.mark.parametrize("folder", ["dogs-vs-cats/", ""])
    def test_the_class_is_in_the_name(
        self, folder: str, write_image: WriteImage, root: Path
    ) -> None:
        for name in ("cat.0.jpg", "cat.1.jpg", "dog.0.jpg", "dog.12499.jpg", "dog.7.jpg"):
            write_image(f"{folder}train/{name}")
        assert counts("dogs_vs_cats", root) == {("cat", None): 2, ("dog", None): 3}
        assert images("dogs_vs_cats", root)["train/dog.12499.jpg"].class_name == "dog"

    def test_other_files(self, write_image: WriteImage, root: Path) -> None:
        for name in ("cat.0.jpg", "dog.0.jpg", "cat.jpg", "emu.0.jpg"):
            write_image(f"train/{name}")
        message = error("dogs_vs_cats", root)
        assert "\n  - cat.jpg\n  - emu.0.jpg" in message


class TestTinyImageNet:
    WNIDS = ("n03", "n01", "n02", "n04")

    @pytest.fixture(autouse=True)
    def folder(self, write_image: WriteImage, root: Path) -> Path:
        folder = root / "tiny-imagenet-200"
        for wnid in self.WNIDS:
            for n in range(3):
                write_image(f"{folder.name}/train/{wnid}/images/{wnid}_{n}.JPEG")
            write_lines(folder / f"train/{wnid}/{wnid}_boxes.txt", f"{wnid}_0.JPEG\t0\t0\t9\t9")
        for n in range(8):
            write_image(f"{folder.name}/val/images/val_{n}.JPEG")
        write_image(f"{folder.name}/test/images/test_0.JPEG")
        write_lines(folder / "wnids.txt", *self.WNIDS)
        words = "n00\tentity", "n01\tgoldfish, Carassius auratus", "n02\tcrane", "n04\tcrane, bird"
        write_lines(folder / "words.txt", *words)
        lines = [f"val_{n}.JPEG\t{self.WNIDS[n % 4]}\t0\t32\t44\t62" for n in range(8)]
        write_lines(folder / "val/val_annotations.txt", *lines)
        return folder

    def test_splits_and_class_names(self, root: Path) -> None:
        names = "n03", "goldfish", "crane (n02)", "crane (n04)"
        expected = {(name, "train"): 3 for name in names} | {(name, "test"): 2 for name in names}
        assert counts("tiny_imagenet", root) == expected
        found = images("tiny_imagenet", root)
        assert found["val/images/val_5.JPEG"].class_name == "goldfish"
        assert found["train/n02/images/n02_1.JPEG"].class_name == "crane (n02)"

    def test_its_own_folder_as_root(self, folder: Path) -> None:
        assert len(images("tiny_imagenet", folder)) == 20

    def test_the_first_classes_are_those_of_wnids(self, root: Path, folder: Path) -> None:
        two = settings("tiny_imagenet", root, num_classes=2)
        assert prepare(two).class_names == ("goldfish", "n03")
        write_lines(folder / "wnids.txt", "n04", "n02", "n01", "n03")
        assert prepare(two).class_names == ("crane (n02)", "crane (n04)")

    def test_a_pinned_store_is_opened_without_the_files(self, root: Path) -> None:
        pinned = prepare(settings("tiny_imagenet", root)).settings
        root.rename(root.with_name("elsewhere"))
        assert len(open_training_data(pinned).images_NHWC) == 12

    def test_missing_files_are_named(self, root: Path, folder: Path) -> None:
        (folder / "words.txt").unlink()
        assert f"{folder}: lacks words.txt" in error("tiny_imagenet", root)

    def test_a_missing_class_folder(self, root: Path, folder: Path) -> None:
        write_lines(folder / "wnids.txt", *self.WNIDS, "n05")
        assert f"{str(folder / 'train/n05/images')!r} cannot be read" in error(
            "tiny_imagenet", root
        )

    def test_wrong_annotations(self, root: Path, folder: Path) -> None:
        write_lines(
            folder / "val/val_annotations.txt",
            "val_0.JPEG\tn09\t0\t0\t1\t1",
            "val_1.JPEG\tn01",
            "val_1.JPEG\tn02",
            "val_2.JPEG",
        )
        message = error("tiny_imagenet", root)
        assert "line 1: 'n09' is not in wnids.txt" in message
        assert "line 3: 'val_1.JPEG' is listed twice" in message
        assert "line 4: '' is not in wnids.txt" in message
