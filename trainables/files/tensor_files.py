"""Reading files of tensors from untrusted sources: no code is run, and memory is bounded.

Torch is imported only to read a file.
"""

import struct
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from toprung.trainables.files.archives import ArchiveError, check_archive
from toprung.trainables.files.pickles import check_pickle
from toprung.trainables.files.untrusted_files import (
    MAX_CHECKPOINT_BYTES,
    MAX_TEXT_BYTES,
    MAX_WEIGHTS_BYTES,
    open_file,
)

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER_BYTES = 100_000_000
"""The header of a safetensors file, by the format's own rule: the names and shapes of its tensors,
and metadata, such as the record of the images that they were made with."""
MAX_TENSORS = 20_000
"""The largest network that can be configured, with 1000 convolutions, has 7000 tensors."""
_NUM_OLD_PICKLES = 5
"""torch's older format: a magic number, a version, the system, the object, its storages' names."""
_MARKS_PER_TENSOR = 25
"""Quotation marks and commas that describe a tensor, with a margin."""


def load_safetensors(path: Path) -> "dict[str, Tensor]":
    """The tensors of a safetensors file, which are read from the disk when first used.

    Raises:
        ValueError: if the file's header is too large.
        SafetensorError: if it is not a safetensors file.
        OSError: if it cannot be read.
    """
    from safetensors.torch import load_file

    check_header(path)
    return load_file(path)


def check_header(path: Path) -> None:
    """Check that the header of a safetensors file is not too large to be parsed.

    Raises:
        ValueError: if it is too large.
        OSError: if the file cannot be read.
    """
    with open_file(path, MAX_WEIGHTS_BYTES) as file:
        (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
        if length > MAX_HEADER_BYTES:
            raise ValueError(
                f"its header would have {length:,} bytes; at most {MAX_HEADER_BYTES:,} are read"
            )
        header = file.read(length)
        if header.count(b'"') + header.count(b",") > _MARKS_PER_TENSOR * MAX_TENSORS:
            raise ValueError(f"it has more than {MAX_TENSORS:,} tensors")


def load_torch_file(path: Path) -> Any:
    """Load a file that `torch.save` wrote onto the CPU, without running code from it.

    Torch does not compress, so the content takes no more memory than the file's size.

    Raises:
        ArchiveError, PickleError: if the file would unpack to more.
        Exception: any error that torch, zip and pickle raise for a damaged file.
        OSError: if it cannot be read.
    """
    import torch

    with open_file(path, MAX_CHECKPOINT_BYTES) as file:
        _check_pickles(file)
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)


def _check_pickles(file: BinaryIO) -> None:
    """Check the pickles of torch's archive, or of its older format, which begins with five."""
    if not zipfile.is_zipfile(file):
        file.seek(0)
        for _ in range(_NUM_OLD_PICKLES):
            check_pickle(file)
        return
    check_archive(file)
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if not entry.filename.endswith("/data.pkl"):
                continue
            if entry.file_size > MAX_TEXT_BYTES:
                raise ArchiveError(
                    f"has a description of its tensors of {entry.file_size:,} bytes; at most "
                    f"{MAX_TEXT_BYTES:,} are read"
                )
            check_pickle(BytesIO(archive.read(entry)))


def check_tensors(tensors: "Mapping[str, Tensor]") -> None:
    """Check that tensors are dense, and that none claims more values than the file stores.

    Raises:
        ValueError: if a tensor is not dense, or claims more values (as one of stride 0 does).
    """
    import torch

    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise ValueError(f"{name} is not a dense tensor")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError(f"{name} claims more values than the file stores for it")
