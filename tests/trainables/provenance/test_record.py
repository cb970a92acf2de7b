"""The record of images: what it holds, how long it is, and how it travels in a file of weights."""

import base64
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from toprung.trainables.provenance.image_set import ImageSet, ProvenanceError, SplitImages, union
from toprung.trainables.provenance.record import METADATA_KEY, Provenance, read_provenance


def hashes(*numbers: int) -> list[str]:
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in numbers]


def images(*numbers: int) -> ImageSet:
    return ImageSet.of(hashes(*numbers))


def record() -> Provenance:
    own = SplitImages(images(1, 2, 3), images(4), images(5, 6))
    return Provenance(own, SplitImages(train=images(5, 9)))


class TestImageSet:
    def test_holds_what_it_is_of(self) -> None:
        rng = np.random.default_rng(0)
        inside, asked = (rng.integers(0, 300, 200).tolist() for _ in range(2))
        found = images(*inside).holds(hashes(*asked))
        assert found.tolist() == [number in inside for number in asked]
        assert 0 < found.sum() < 200

    def test_is_sorted_and_has_each_image_once(self) -> None:
        once = images(3, 1, 2, 3, 1)
        assert len(once) == 3
        assert once.as_text() == images(1, 2, 3).as_text()
        assert np.all(once.keys_N[1:] > once.keys_N[:-1])

    def test_together(self) -> None:
        both = images(1, 2) | images(2, 3)
        assert both.as_text() == images(1, 2, 3).as_text()

    @pytest.mark.parametrize("asked", [1, 20])
    def test_of_one_image(self, asked: int) -> None:
        for one in (images(4), ImageSet.from_bytes(images(4).as_bytes())):
            expected = [number == 4 for number in range(asked)]
            assert one.holds(hashes(*range(asked))).tolist() == expected
            assert images(*range(asked)).num_in([one]) == sum(expected)

    def test_none(self) -> None:
        assert len(ImageSet()) == 0
        assert not ImageSet().holds(hashes(1, 2)).any()
        assert ImageSet.from_text(ImageSet().as_text()).holds([]).tolist() == []

    def test_takes_eight_bytes_for_an_image(self) -> None:
        text = images(*range(1000)).as_text()
        assert len(base64.b64decode(text)) == 8000
        assert len(ImageSet.from_text(text) | images(7)) == 1000

    @pytest.mark.parametrize("text", ["AAAA", "not base64!", "AAAAAAAAAAA"])
    def test_damaged_text(self, text: str) -> None:
        with pytest.raises(ProvenanceError, match="a set of images is damaged"):
            ImageSet.from_text(text)

    @pytest.mark.parametrize("bad", ["", "12", "g" * 64, " " * 64])
    def test_what_is_no_hash(self, bad: str) -> None:
        with pytest.raises(ProvenanceError, match="a hash of an image"):
            ImageSet.of([*hashes(1), bad])


class TestProvenance:
    def test_is_read_as_it_was_written(self) -> None:
        again = Provenance.from_text(record().as_text())
        assert again.as_text() == record().as_text()
        assert again.own.test.holds(hashes(5, 6, 7)).tolist() == [True, True, False]
        assert again.inherited.train.holds(hashes(9, 1)).tolist() == [True, False]

    def test_a_chain_inherits_from_all_that_came_before(self) -> None:
        inherited = union([record().all, SplitImages(images(20))])
        assert inherited.train.holds(hashes(1, 9, 20, 4)).tolist() == [True, True, True, False]
        assert inherited.test.holds(hashes(5, 6, 9)).tolist() == [True, True, False]
        assert len(union([])) == 0
        assert record().own.ids != record().all.ids == record().all.ids

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"version": 2}, "version"),
            ({"hash": "RGB 2"}, "other hashes"),
            ({"own": {"train": ""}}, "own/validation"),
            ({"inherited": None}, "inherited"),
        ],
    )
    def test_another_record(self, change: dict[str, object], reason: str) -> None:
        text = json.dumps(json.loads(record().as_text()) | change)
        with pytest.raises(ProvenanceError, match=reason):
            Provenance.from_text(text)

    def test_what_is_not_json(self) -> None:
        with pytest.raises(ProvenanceError, match="cannot be read"):
            Provenance.from_text("{half")


class TestFile:
    def weights(self, folder: Path, metadata: dict[str, str] | None) -> Path:
        save_file({"a": torch.zeros(3)}, folder / "w.safetensors", metadata)
        return folder / "w.safetensors"

    def test_is_read_from_a_copy_alone(self, tmp_path: Path) -> None:
        found = read_provenance(self.weights(tmp_path, {METADATA_KEY: record().as_text()}))
        assert found is not None
        assert found.as_text() == record().as_text()

    @pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
    def test_without_a_record(self, metadata: dict[str, str] | None, tmp_path: Path) -> None:
        assert read_provenance(self.weights(tmp_path, metadata)) is None

    def test_of_another_kind(self, tmp_path: Path) -> None:
        (tmp_path / "w.pth").write_bytes(b"whatever")
        assert read_provenance(tmp_path / "w.pth") is None

    def test_damaged(self, tmp_path: Path) -> None:
        file = self.weights(tmp_path, {METADATA_KEY: "nonsense"})
        with pytest.raises(ProvenanceError, match="the record of images cannot be read"):
            read_provenance(file)
        file.write_bytes(file.read_bytes()[:20])
        with pytest.raises(ProvenanceError, match=r"w\.safetensors: cannot be read"):
            read_provenance(file)
        with pytest.raises(ProvenanceError, match="cannot be read"):
            read_provenance(tmp_path / "absent.safetensors")
