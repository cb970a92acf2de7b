"""The ledgers: openings by the images they were of."""

import json
import os
import threading
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from toprung.analysis.seal import intent as intent_module
from toprung.analysis.seal import ledger as ledger_module
from toprung.analysis.seal.intent import Intent, new_intent
from toprung.analysis.seal.ledger import BESIDE, Earlier, Ledger, history_of
from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.analysis.sweep_folder.user_state import state_dir
from toprung.trainables.provenance.image_set import ImageSet, ProvenanceError


def hashes(*numbers: int) -> list[str]:
    return [sha256(str(number).encode()).hexdigest() for number in numbers]


def images(*numbers: int) -> ImageSet:
    return ImageSet.of(hashes(*numbers))


def nothing_of(num_images: int) -> Earlier:
    return Earlier(openings=0, models=0, images=0, of_images=num_images, sweeps=[])


def an_intent(model: str = "a", sweep: str = "one") -> Intent:
    return new_intent(
        trial=3,
        weights_sha256=model * 64,
        test_data_sha256="d" * 32,
        images=None,
        forced=False,
        sweep=sweep,
        sweep_id=None,
        split_seed=0,
    )


class TestImageSet:
    def test_is_the_same_in_any_order(self) -> None:
        assert images(1, 2, 3).id == images(3, 1, 2, 2).id
        assert images(1, 2).id != images(1, 2, 3).id

    def test_overlap(self) -> None:
        assert images(1, 2, 3).num_in([images(3, 4), images(2)]) == 2
        assert images(1, 2).num_in([]) == 0

    def test_as_a_file(self) -> None:
        many = images(*range(1000))
        assert len(many.as_bytes()) == 8000
        assert ImageSet.from_bytes(many.as_bytes()).id == many.id
        with pytest.raises(ProvenanceError, match="is damaged"):
            ImageSet.from_bytes(b"1234567")


class TestLedger:
    def test_what_was_opened_before(self, tmp_path: Path) -> None:
        first, second = an_intent("a", "one"), an_intent("b", "two")
        second = replace(second, begun_at=f"{second.begun_at} and later")
        history = history_of(SweepFolder(tmp_path / "sweep"))
        assert history.earlier(images(1, 2, 3), "a" * 64) == nothing_of(3)
        history.add(first, images(1, 2, 3, 4))
        history.add(second, images(4, 5))
        history.add(second, images(4, 5))
        again = history_of(SweepFolder(tmp_path / "another"))
        assert again.earlier(images(3, 4, 9), "c" * 64) == Earlier(2, 2, 2, 3, ["one", "two"])
        assert again.earlier(images(3, 4, 9), "a" * 64) == Earlier(2, 1, 2, 3, ["one", "two"])
        assert again.earlier(images(5), "c" * 64, but=second.id) == nothing_of(1)
        assert again.earlier(images(9), "c" * 64) == nothing_of(1)

    @pytest.mark.parametrize("left", ["beside", "the user's"])
    def test_one_of_the_two_is_enough(self, left: str, tmp_path: Path) -> None:
        folder = SweepFolder(tmp_path / "sweep")
        history_of(folder).add(an_intent(), images(1))
        lost = state_dir() / "openings" if left == "beside" else tmp_path / BESIDE
        for file in lost.iterdir():
            file.unlink()
        assert history_of(folder).earlier(images(1), "b" * 64).openings == 1
        history_of(folder).add(an_intent("c"), images(1))
        assert len(list(lost.glob("*.json"))) == 1

    def test_what_strangers_put_there_is_skipped_with_a_remark(self, tmp_path: Path) -> None:
        folder = SweepFolder(tmp_path / "sweep")
        history_of(folder).add(an_intent(), images(1, 2))
        place = tmp_path / BESIDE
        known = json.loads(next(place.glob("*.json")).read_text())
        (place / f"{1:016x}.json").write_text("[" * 100_000)
        (place / f"{2:016x}.json").write_text(json.dumps(known))  # another's id
        (place / f"{3:016x}.json").write_text(json.dumps(known | {"id": f"{3:016x}", "trial": -1}))
        (place / f"{4:016x}.json").write_bytes(b"\xff" * 2**20)
        (place / f"{5:016x}.json").symlink_to(next(place.glob("*.json")))
        os.mkfifo(place / f"{6:016x}.json")
        (place / f"{7:016x}.json").mkdir()
        evil = {"id": f"{8:016x}", "images": "../" * 10}
        (place / f"{8:016x}.json").write_text(json.dumps(known | evil))
        (place / "notes.txt").write_text("mine")
        history = history_of(folder)
        assert history.earlier(images(2), "b" * 64).openings == 1
        assert len(history.remarks) == 8
        assert all("is not the record of an opening" in remark for remark in history.remarks)

    def test_damaged_images_are_said_and_written_anew(self, tmp_path: Path) -> None:
        ledger = Ledger(tmp_path)
        ledger.add(an_intent(), images(1, 2))
        (file,) = tmp_path.glob("*.images")
        file.write_bytes(b"1234567")
        again = Ledger(tmp_path)
        assert "is not the list of a test set's images" in again.remarks[0]
        again.add(an_intent("b"), images(1, 2))
        assert not Ledger(tmp_path).remarks

    def test_what_has_its_digest_and_is_not_a_list_of_images(self, tmp_path: Path) -> None:
        for content in (b"1234567", bytes(16)):  # no whole pictures, and one twice
            digest = sha256(content).hexdigest()[:32]
            (tmp_path / f"{digest}.images").write_bytes(content)
            intent = replace(an_intent(), images=digest)
            (tmp_path / intent.file_name).write_text(intent.as_json())
        ledger = Ledger(tmp_path)
        assert not ledger.sets
        assert len(ledger.remarks) == 2

    def test_of_too_many_images_the_rest_is_left_out(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ledger = Ledger(tmp_path)
        ledger.add(an_intent("a"), images(1, 2))
        ledger.add(an_intent("b"), images(3))
        monkeypatch.setattr(ledger_module, "_MAX_BYTES_OF_ALL", 16)
        found = Ledger(tmp_path)
        assert len(found.sets) == 1
        assert "were not read" in found.remarks[0]

    def test_too_many(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        ledger = Ledger(tmp_path)
        for model in "abc":
            ledger.add(an_intent(model), images(1))
        monkeypatch.setattr(intent_module, "MAX_FILES", 2)
        found = Ledger(tmp_path)
        assert len(found.intents) == 2
        assert "holds 3 openings; only 2 were read" in found.remarks[0]

    def test_a_place_that_cannot_be_written_is_a_remark(self, tmp_path: Path) -> None:
        (tmp_path / BESIDE).write_text("a file")
        history = history_of(SweepFolder(tmp_path / "sweep"))
        history.add(an_intent(), images(1))
        assert "this opening cannot be kept there" in history.remarks[-1]
        assert history.earlier(images(1), "b" * 64).openings == 1  # from the user's own

    def test_a_link_in_its_place_is_neither_read_nor_written(self, tmp_path: Path) -> None:
        history_of(SweepFolder(tmp_path / "other" / "sweep")).add(an_intent(), images(1))
        elsewhere = tmp_path / "other" / BESIDE
        before = sorted(elsewhere.iterdir())
        (tmp_path / BESIDE).symlink_to(elsewhere)
        history = history_of(SweepFolder(tmp_path / "sweep"))
        assert "is a link" in history.remarks[0]
        history.add(an_intent("b"), images(2))
        assert sorted(elsewhere.iterdir()) == before

    def test_several_at_once_lose_nothing(self, tmp_path: Path) -> None:
        intents = [replace(an_intent(), id=f"{number:016x}") for number in range(24)]

        def add(own: list[Intent]) -> None:
            for one in own:
                Ledger(tmp_path).add(one, images(1, 2))

        threads = [threading.Thread(target=add, args=(intents[n::4],)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {one.id for one in Ledger(tmp_path).intents} == {one.id for one in intents}
