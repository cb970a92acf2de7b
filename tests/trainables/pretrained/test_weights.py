"""Pretrained weights come from a file or a download, whole or not at all."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from toprung.trainables.data.settings import IMAGENET_MEAN, IMAGENET_STD
from toprung.trainables.networks.build import build_network
from toprung.trainables.networks.classifier import Classifier
from toprung.trainables.networks.torchvision_settings import TorchvisionSettings
from toprung.trainables.pretrained import catalogue
from toprung.trainables.pretrained.catalogue import OfferedWeights, architectures, first
from toprung.trainables.pretrained.weights import checkpoint_file, fetch
from toprung.trainables.system.typed_settings import ConfigError

SIZE = 32


@pytest.fixture(autouse=True, scope="module")
def _one_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch"


def torchvisions(architecture: str, **options: Any) -> nn.Module:
    torch.manual_seed(1)
    network: nn.Module = models.get_model(architecture, **options)
    return network


def build(
    weights: Path | str,
    architecture: str = "squeezenet1_1",
    num_classes: int = 7,
    size: int = SIZE,
    **settings: Any,
) -> Classifier:
    torch.manual_seed(2)
    model = TorchvisionSettings(architecture=architecture, weights=str(weights), **settings)
    return build_network(model, (3, size, size), num_classes)


def saved(state: Any, file: Path) -> Path:
    if file.suffix == ".safetensors":
        save_file(state, file)
    else:
        torch.save(state, file)
    return file


def logits(network: nn.Module, size: int = SIZE) -> Tensor:
    torch.manual_seed(3)
    with torch.no_grad():
        out: Tensor = network.eval()(torch.rand(2, 3, size, size))
    return out


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.safetensors"])
@pytest.mark.parametrize("architecture", ["squeezenet1_1", "mnasnet0_5", "resnet18"])
def test_imagenets_weights_are_loaded_below_a_new_head(
    tmp_path: Path, architecture: str, name: str
) -> None:
    theirs = torchvisions(architecture)
    classifier = build(saved(theirs.state_dict(), tmp_path / name), architecture)
    head, ours = classifier.heads[0], classifier.network.state_dict()
    for key, tensor in theirs.state_dict().items():
        if not key.startswith(head):
            assert torch.equal(ours[key], tensor), key
    assert ours[f"{head}.weight"].shape[0] == 7


@pytest.mark.parametrize("settings", [{}, {"head_hidden": 5, "head_dropout": 0.1}])
def test_a_file_with_the_datas_classes_is_loaded_with_its_head(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    exported = build("none", **settings).network
    file = saved(exported.state_dict(), tmp_path / "model.safetensors")
    assert torch.equal(logits(build(file, **settings).network), logits(exported))


@pytest.mark.parametrize(
    ("architecture", "num_auxiliary", "key"),
    [
        ("googlenet", 0, "conv1.conv.weight"),
        ("inception_v3", 1, "AuxLogits.conv0.conv.weight"),
    ],
)
def test_auxiliary_classifiers_of_a_file_are_kept_where_torchvision_keeps_them(
    tmp_path: Path, architecture: str, num_auxiliary: int, key: str
) -> None:
    theirs = torchvisions(architecture, init_weights=False)
    file = saved(theirs.state_dict(), tmp_path / "a.pth")
    classifier = build(file, architecture, size=299)
    assert len(classifier.heads) == 1 + num_auxiliary
    assert classifier.network.transform_input
    assert torch.equal(classifier.network.state_dict()[key], theirs.state_dict()[key])


def test_position_embeddings_are_interpolated_to_the_images(tmp_path: Path) -> None:
    with torch.device("meta"):
        theirs = torchvisions("vit_b_32", image_size=96)
    # Expanded tensors take no room in a file.
    state = {key: torch.zeros(1).expand(t.shape) for key, t in theirs.state_dict().items()}
    state["encoder.pos_embedding"] = torch.arange(10.0)[:, None].expand(1, 10, 768)
    classifier = build(saved(state, tmp_path / "a.pth"), "vit_b_32", size=160)
    positions = classifier.network.state_dict()["encoder.pos_embedding"]
    assert positions.shape == (1, 26, 768)
    assert positions[0, [0, 1, 5, 21, 25], 0].tolist() == pytest.approx([0, 1, 3, 7, 9], abs=1e-4)


def test_the_keys_of_torchvisions_old_densenet_files_are_understood(tmp_path: Path) -> None:
    theirs = torchvisions("densenet121")
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))", r"\1.", key): tensor
        for key, tensor in theirs.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    classifier = build(saved(old, tmp_path / "a.pth"), "densenet121")
    key = "features.denseblock4.denselayer16.conv2.weight"
    assert torch.equal(classifier.network.state_dict()[key], theirs.state_dict()[key])


def test_weights_of_another_normalisation_are_given_theirs() -> None:
    settings = TorchvisionSettings(architecture="efficientnet_v2_l", weights="DEFAULT")
    with torch.device("meta"):
        network = build_network(settings, (3, SIZE, SIZE), 7, with_weights=False).network
    (hook,) = network._forward_pre_hooks.values()
    pixels = torch.rand(2, 3, 4, 4)

    def normalised(mean: Any, std: Any) -> Tensor:
        return (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]

    (images,) = hook(network, (normalised(IMAGENET_MEAN, IMAGENET_STD),))
    torch.testing.assert_close(images, normalised([0.5] * 3, [0.5] * 3))


def test_another_networks_weights_are_refused_with_what_differs(tmp_path: Path) -> None:
    state = dict(torchvisions("squeezenet1_1").state_dict())
    del state["features.3.squeeze.weight"], state["features.3.squeeze.bias"]
    state["features.0.weight"] = torch.zeros(64, 1, 3, 3)
    state |= {f"extra.{n}": torch.zeros(1) for n in range(5)}
    with pytest.raises(ConfigError) as raised:
        build(saved(state, tmp_path / "a.pth"))
    assert str(raised.value) == (
        f"weights {tmp_path / 'a.pth'}: belong to another network: "
        "2 missing: features.3.squeeze.weight, features.3.squeeze.bias; "
        "5 unexpected: extra.0, extra.1, extra.2, ...; "
        "1 of another shape: features.0.weight (64x1x3x3 instead of 64x3x3x3)"
    )


def test_a_head_for_other_classes_is_refused(tmp_path: Path) -> None:
    file = saved(torchvisions("squeezenet1_1", num_classes=5).state_dict(), tmp_path / "a.pth")
    with pytest.raises(ConfigError, match=r"classifier.1.weight \(5x512x1x1 instead of 7x512x1x1"):
        build(file)


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights", b"\x80\x04corrupt"])
def test_a_damaged_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=f"{name}: cannot be read"):
        build(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "held"),
    [({"model": {}, "epoch": 3}, "a mapping with the keys model, epoch"), ([1], "a list")],
)
def test_a_file_with_something_else_is_refused(tmp_path: Path, content: Any, held: str) -> None:
    with pytest.raises(ConfigError, match=f"holds {held}, not a state dict"):
        build(saved(content, tmp_path / "a.pth"))


def test_a_file_with_code_in_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        build(saved(torchvisions("squeezenet1_1"), tmp_path / "a.pth"))


def test_a_file_that_is_not_there_is_reported_by_the_check(tmp_path: Path) -> None:
    settings = TorchvisionSettings(architecture="resnet18", weights=str(tmp_path / "a.pth"))
    with pytest.raises(ConfigError, match=r"a\.pth: there is no such file"):
        settings.check((3, SIZE, SIZE))


@pytest.mark.parametrize(
    "variables", [{"TORCH_HOME": "/a"}, {"XDG_CACHE_HOME": "/b"}, {}, {"TORCH_HOME": "~/c"}]
)
def test_files_are_kept_where_torch_hub_keeps_them(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    weights = first("resnet18")
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    assert checkpoint_file(weights) == folder / "resnet18-f37072fd.pth"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OfferedWeights]:
    """Weights of SqueezeNet, published by a server of our own."""
    folder = tmp_path / "published"
    folder.mkdir()
    file = saved(torchvisions("squeezenet1_1").state_dict(), folder / "new.pth")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    name = f"squeezenet1_1-{digest[:8]}.pth"
    file.rename(folder / name)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = partial(_Quiet, directory=str(folder))
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/{name}"
        yield replace(first("squeezenet1_1"), url=url)
        server.shutdown()
        thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


def test_weights_are_downloaded_once_and_loaded_by_name(
    published: OfferedWeights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    architectures()
    _offer(published, tmp_path / "offer", monkeypatch)
    settings = TorchvisionSettings(architecture="squeezenet1_1", weights="DEFAULT")
    file = settings.fetch_weights()
    assert file == checkpoint_file(published)
    assert file.is_file()
    (tmp_path / "published" / file.name).unlink()
    key = "features.0.weight"
    network = build_network(settings, (3, SIZE, SIZE), 7).network
    assert torch.equal(network.state_dict()[key], torchvisions("squeezenet1_1").state_dict()[key])


def _offer(weights: OfferedWeights, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue that offers these weights of SqueezeNet."""
    values = json.loads(catalogue._file().read_text())
    values["squeezenet1_1"]["IMAGENET1K_V1"] = asdict(weights)
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(folder))
    folder.mkdir()
    catalogue._file().write_text(json.dumps(values))


def test_a_damaged_download_is_refused_and_not_kept(
    published: OfferedWeights, tmp_path: Path
) -> None:
    (file,) = (tmp_path / "published").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ConfigError, match=r"cannot be downloaded.*hash"):
        fetch(published)
    assert list(checkpoint_file(published).parent.iterdir()) == []


def test_a_download_that_was_damaged_later_is_refused(published: OfferedWeights) -> None:
    file = fetch(published)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ConfigError, match="the file is damaged"):
        fetch(published)


def test_where_to_get_the_file_is_reported_in_one_line_without_a_network(
    published: OfferedWeights,
) -> None:
    unreachable = replace(published, url=re.sub(r":\d+/", ":1/", published.url))
    with pytest.raises(ConfigError) as raised:
        fetch(unreachable)
    message = str(raised.value)
    assert message.startswith(f"weights {unreachable.url}: cannot be downloaded")
    assert message.endswith("download that file elsewhere and give it with model/weights=FILE")
    assert "\n" not in message
