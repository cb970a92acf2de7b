"""What torchvision offers is known without importing it."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from torchvision import models

from toprung.trainables.data.settings import IMAGENET_MEAN, IMAGENET_STD, DataSettings
from toprung.trainables.networks.torchvision_settings import TorchvisionSettings
from toprung.trainables.pretrained.catalogue import (
    architectures,
    checked_architecture,
    default_name,
    first,
    offered,
)

OTHER_NORMALISATION = {("efficientnet_v2_l", "IMAGENET1K_V1")}
CHECK_A_CONFIG = """
import sys
from toprung.trainables.networks.torchvision_settings import TorchvisionSettings
TorchvisionSettings(architecture="resnet18", weights="DEFAULT").check((3, 224, 224))
print(sorted({"torch", "torchvision"} & set(sys.modules)))
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_every_classifier_of_torchvision_is_there(cache: Path) -> None:
    assert architectures() == models.list_models(module=models)


def test_default_is_what_torchvision_means_by_it(cache: Path) -> None:
    for name in architectures():
        assert default_name(name) == models.get_model_weights(name).DEFAULT.name


def test_weights_without_a_classifier_are_not_offered(cache: Path) -> None:
    assert list(offered("vgg16")) == ["IMAGENET1K_V1"]


def test_a_second_process_needs_neither_torch_nor_torchvision(cache: Path) -> None:
    architectures()
    run = [sys.executable, "-c", CHECK_A_CONFIG]
    done = subprocess.run(run, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_the_file_is_what_is_read(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    architectures()
    (file,) = cache.iterdir()
    changed = cache.parent / "changed"
    changed.mkdir()
    (changed / file.name).write_text(file.read_text().replace("resnet18", "resnet19"))
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(changed))
    assert "resnet19" in architectures()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"resnet18": {"V1": {"url": "u"}}}'])
def test_a_damaged_file_is_written_anew(
    cache: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    architectures()
    (file,) = cache.iterdir()
    damaged = cache.parent / "damaged" / file.name
    damaged.parent.mkdir()
    damaged.write_text(text)
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(damaged.parent))
    assert len(architectures()) == 80
    assert damaged.read_text() == file.read_text()
    assert list(damaged.parent.iterdir()) == [damaged]


def test_a_full_disk_is_no_matter(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("toprung.trainables.files.atomic_files.os.fsync", full)
    assert "resnet18" in architectures()
    assert list(cache.iterdir()) == []


def test_a_wrong_name_is_reported_with_the_nearest() -> None:
    assert checked_architecture("resnet18") == "resnet18"
    with pytest.raises(ValueError, match=r"^there is no such architecture; nearest: resnet18"):
        checked_architecture("resnet-18")
    with pytest.raises(ValueError, match=r"nearest: cnn$"):
        checked_architecture("cnnn", ["cnn", "svm"])
    with pytest.raises(ValueError, match=r"choose from cnn, svm, alexnet, convnext_base, "):
        checked_architecture("?", ["cnn", "svm"])


def test_a_folder_that_cannot_be_written_is_no_matter(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    assert "resnet18" in architectures()


def test_the_data_settings_of_all_weights_are_possible_and_fit_the_network(cache: Path) -> None:
    for name in architectures():
        for weights, described in offered(name).items():
            settings = TorchvisionSettings(architecture=name, weights=weights)
            data = DataSettings(source="digits", **settings.data_settings())
            settings.check((data.channels, *data.height_width))
            is_imagenets = (described.mean, described.std) == (IMAGENET_MEAN, IMAGENET_STD)
            assert is_imagenets != ((name, weights) in OTHER_NORMALISATION)


def test_the_data_settings_are_the_weights_own_preprocessing(cache: Path) -> None:
    assert TorchvisionSettings(architecture="swin_v2_t", weights="DEFAULT").data_settings() == {
        "image_size": 256,
        "resize": "centre_crop",
        "crop_fraction": 256 / 260,
        "interpolation": "bicubic",
        "normalisation": "imagenet",
    }


def test_the_data_settings_of_a_file_are_those_of_the_first_weights(cache: Path) -> None:
    v1 = TorchvisionSettings(architecture="resnet50", weights="IMAGENET1K_V1").data_settings()
    assert v1["crop_fraction"] == 224 / 256
    mine = TorchvisionSettings(architecture="resnet50", weights="mine.pth")
    assert mine.data_settings() == v1
    assert mine.offered_weights == first("resnet50")


def test_random_weights_want_nothing_of_the_data(cache: Path) -> None:
    assert TorchvisionSettings(architecture="resnet50").data_settings() == {}
