"""Sets of images, identified by the first bytes of their pixel hashes."""

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from functools import cached_property, reduce
from operator import or_

import numpy as np
from numpy.typing import NDArray

BYTES_PER_IMAGE = 8
"""100,000 images take 0.8 MB (1.07 MB as text). If m other images are looked up among n, the
probability of a false match is about n·m / 2^64: 5e-10 for 100,000 among 100,000."""
_HEX_DIGITS = 2 * BYTES_PER_IMAGE
_KEY = np.dtype(">u8")


class ProvenanceError(ValueError):
    """A record of images that cannot be read; the message says why."""


def _no_keys() -> NDArray[np.unsignedinteger]:
    return np.empty(0, np.uint64)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A set of images, each identified by the first `BYTES_PER_IMAGE` bytes of its `pixel_hash`.

    Attributes:
        keys_N: these bytes as numbers, sorted, without repetitions.
    """

    keys_N: NDArray[np.unsignedinteger] = field(default_factory=_no_keys)

    @classmethod
    def of(cls, pixel_hashes: Iterable[str]) -> "ImageSet":
        """The set of images with these hashes.

        Raises:
            ProvenanceError: if one is not a hash.
        """
        return cls(np.unique(_keys(pixel_hashes)))

    def __len__(self) -> int:
        return len(self.keys_N)

    def __or__(self, other: "ImageSet") -> "ImageSet":
        return ImageSet(np.union1d(self.keys_N, other.keys_N))

    def holds(self, pixel_hashes: Iterable[str]) -> NDArray[np.bool_]:
        """Whether each of some images is in the set.

        Raises:
            ProvenanceError: if one is not a hash.
        """
        return np.isin(_keys(pixel_hashes), self.keys_N)

    def num_in(self, others: Iterable["ImageSet"]) -> int:
        """How many of the images are in at least one of the other sets."""
        known = [other.keys_N for other in others]
        return int(np.isin(self.keys_N, np.concatenate(known)).sum()) if known else 0

    @cached_property
    def id(self) -> str:
        """A hexadecimal digest of the set; it does not depend on the order of the images."""
        return hashlib.sha256(self.as_bytes()).hexdigest()[:32]

    def as_bytes(self) -> bytes:
        """The sorted keys, big-endian."""
        return self.keys_N.astype(_KEY).tobytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> "ImageSet":
        """The set from the bytes that `as_bytes` returned.

        Raises:
            ProvenanceError: if they are anything else.
        """
        try:
            return cls(np.unique(np.frombuffer(content, _KEY).astype(np.uint64)))
        except ValueError as error:
            raise ProvenanceError(f"a set of images is damaged: {error}") from None

    def as_text(self) -> str:
        """The sorted keys in Base64."""
        return base64.b64encode(self.as_bytes()).decode("ascii")

    @classmethod
    def from_text(cls, text: str) -> "ImageSet":
        """The set from the text that `as_text` returned.

        Raises:
            ProvenanceError: if it is anything else.
        """
        try:
            content = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ProvenanceError(f"a set of images is damaged: {error}") from None
        return cls.from_bytes(content)


@dataclass(frozen=True, eq=False)
class SplitImages:
    """The sets of images of each split."""

    train: ImageSet = field(default_factory=ImageSet)
    validation: ImageSet = field(default_factory=ImageSet)
    test: ImageSet = field(default_factory=ImageSet)

    def __or__(self, other: "SplitImages") -> "SplitImages":
        pairs = {f.name: getattr(self, f.name) | getattr(other, f.name) for f in fields(self)}
        return SplitImages(**pairs)

    def __len__(self) -> int:
        return len(self.train) + len(self.validation) + len(self.test)

    @property
    def ids(self) -> tuple[str, str, str]:
        """The `id` of each split's set."""
        return self.train.id, self.validation.id, self.test.id


def union(several: Iterable[SplitImages]) -> SplitImages:
    """The union of all these sets, split by split."""
    return reduce(or_, several, SplitImages())


def _keys(pixel_hashes: Iterable[str]) -> NDArray[np.unsignedinteger]:
    digits = [pixel_hash[:_HEX_DIGITS] for pixel_hash in pixel_hashes]
    if any(len(some) != _HEX_DIGITS for some in digits):
        raise ProvenanceError("a hash of an image is too short")
    try:
        keys = np.frombuffer(binascii.unhexlify("".join(digits)), _KEY)
    except ValueError:
        raise ProvenanceError("a hash of an image is not a hexadecimal number") from None
    return keys.astype(np.uint64)  # in another byte order, np.isin fails on a set of one image
