"""Pretrained weights: locating and downloading torchvision's, reading files, loading them.

Torch is imported only to download, read or load weights.
"""

import hashlib
import os
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toprung.trainables.files.tensor_files import load_safetensors, load_torch_file
from toprung.trainables.pretrained.catalogue import OfferedWeights
from toprung.trainables.system.typed_settings import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn

SUFFIXES = (".pth", ".pt", ".safetensors")
_HASH = re.compile(r"-([a-f0-9]{8,})\.")  # as torch.hub finds it in a file's name
_OLD_DENSENET_KEY = re.compile(r"(.*denselayer\d+\.(?:norm|conv))\.([12]\..*)")
_MAX_SHOWN = 3


def checkpoint_file(offered: OfferedWeights) -> Path:
    """The file in which torch hub keeps these weights, by `TORCH_HOME` and `XDG_CACHE_HOME`."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME") or str(Path(cache) / "torch")
    return Path(home).expanduser() / "hub" / "checkpoints" / offered.url.rpartition("/")[2]


def fetch(offered: OfferedWeights) -> Path:
    """The file of these weights, downloaded if it does not exist yet, and verified by its hash.

    Raises:
        ConfigError: if it cannot be downloaded, or differs from the published file.
    """
    file = checkpoint_file(offered)
    expected = _expected_digest(offered.url)
    if not file.exists():
        _download(offered.url, file)
    elif not _digest(file, file.stat().st_mtime_ns).startswith(expected):
        raise ConfigError(
            f"weights {file}: the file is damaged, its SHA-256 does not start with {expected}; "
            f"remove it, and it will be downloaded again from {offered.url}"
        )
    return file


def read_state(file: Path) -> "OrderedDict[str, Tensor]":
    """Read the state dict in a file, renaming the keys of torchvision's old DenseNet files.

    Raises:
        ConfigError: if the file does not exist, or no state dict can be read from it.
    """
    state = _read(file)
    for key in list(state):
        if found := _OLD_DENSENET_KEY.match(key):
            state[found[1] + found[2]] = state.pop(key)
    return state


def load_state(network: "nn.Module", state: "Mapping[str, Tensor]", whose: str) -> None:
    """Load a whole state dict into a network.

    Args:
        network: the network.
        state: the state dict.
        whose: the name of the weights, for the message.

    Raises:
        ConfigError: if the state dict belongs to another network; the message lists missing keys,
            unexpected keys and differing shapes.
    """
    own = network.state_dict()
    versioned = OrderedDict(state)
    # The root's version number: MNASNet requires it, and safetensors files do not store it.
    versioned._metadata = getattr(state, "_metadata", {"": own._metadata[""]})  # type: ignore[attr-defined]
    try:
        network.load_state_dict(versioned)
    except RuntimeError as error:
        raise ConfigError(_misfit(own, state, whose)) from error


def weights_digest(state: "Mapping[str, Tensor]") -> str:
    """A digest of tensors and their names, whatever their device and memory order."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _misfit(own: "Mapping[str, Tensor]", state: "Mapping[str, Tensor]", whose: str) -> str:
    """How a state dict differs from a network's own one."""
    differing = [k for k, tensor in state.items() if k in own and own[k].shape != tensor.shape]
    mistakes = [
        _listed("missing", [key for key in own if key not in state]),
        _listed("unexpected", [key for key in state if key not in own]),
        _listed(
            "of another shape",
            [f"{k} ({_shape(state[k])} instead of {_shape(own[k])})" for k in differing],
        ),
    ]
    return f"weights {whose}: belong to another network: {'; '.join(filter(None, mistakes))}"


def _read(file: Path) -> "OrderedDict[str, Tensor]":
    import torch

    try:
        load = load_safetensors if file.suffix == ".safetensors" else load_torch_file
        state: Any = load(file.resolve())  # the user may have named it by a link
    except FileNotFoundError:
        raise ConfigError(f"weights {file}: there is no such file") from None
    except Exception as error:  # a damaged file makes pickle and zip raise errors of any type
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"weights {file}: cannot be read ({type(error).__name__}: {reason}); "
            "it must hold a state dict"
        ) from None
    if not isinstance(state, Mapping) or not all(torch.is_tensor(v) for v in state.values()):
        raise ConfigError(
            f"weights {file}: holds {_description(state)}, not a state dict; "
            "save the network's state_dict() alone"
        )
    return state if isinstance(state, OrderedDict) else OrderedDict(state)


def _download(url: str, file: Path) -> None:
    from torch.hub import download_url_to_file

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        download_url_to_file(url, str(file), _expected_digest(url), progress=False)
    except (OSError, RuntimeError) as error:  # RuntimeError: the hash differs
        raise ConfigError(
            f"weights {url}: cannot be downloaded to {file.parent} ({error}); "
            "download that file elsewhere and give it with model/weights=FILE"
        ) from None


def _expected_digest(url: str) -> str:
    found = _HASH.search(url.rpartition("/")[2])
    assert found, f"{url} does not contain a hash"
    return found[1]


@lru_cache
def _digest(file: Path, changed_at_ns: int) -> str:
    """The file's SHA-256; a process that trains many trials reads it once, unless it changes."""
    del changed_at_ns
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _shape(tensor: "Tensor") -> str:
    return "x".join(map(str, tensor.shape)) or "one number"


def _listed(fault: str, keys: Sequence[str]) -> str:
    """A fault with its number of keys, and the first few of them."""
    if not keys:
        return ""
    more = ", ..." if len(keys) > _MAX_SHOWN else ""
    return f"{len(keys)} {fault}: {', '.join(keys[:_MAX_SHOWN])}{more}"


def _description(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a mapping with the keys {', '.join(map(str, list(value)[:_MAX_SHOWN]))}"
    return f"a {type(value).__name__}"
