"""A test set of which no image was opened before: `--fresh-test`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from toprung.analysis.seal.intent import new_intent
from toprung.analysis.seal.ledger import History, history_of
from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.errors import ToprungError
from toprung.planning.fresh_test import fresh_test, opened_before
from toprung.trainables.data import DataSettings, drawn_test_sets, prepare
from toprung.trainables.provenance.image_set import ImageSet

DIGITS = DataSettings(source="digits", image_size=8, channels=1)


def images_of(settings: DataSettings) -> ImageSet:
    data = prepare(settings)
    rows = zip(data.splits, data.pixel_hashes, strict=True)
    return ImageSet.of(pixel_hash for row, pixel_hash in rows if row[2] == "test")


def opened(history: History, images: ImageSet, split_seed: int = 0, model: str = "a") -> None:
    history.add(
        new_intent(
            trial=0,
            weights_sha256=model * 64,
            test_data_sha256="d" * 32,
            images=None,
            forced=False,
            sweep="earlier",
            sweep_id=None,
            split_seed=split_seed,
        ),
        images,
    )


@pytest.fixture
def history(tmp_path: Path) -> History:
    return history_of(SweepFolder(tmp_path / "sweep"))


def drawn(settings: DataSettings, history: History) -> tuple[DataSettings, dict[str, Any]]:
    found, told = fresh_test(settings, {}, history)
    changes = {path.removeprefix("data/"): value for path, value in found.items()}
    assert "of which none were opened before" in told
    return settings.model_copy(update=changes), found


def test_without_an_opening_it_is_the_test_set_as_ever(history: History) -> None:
    assert drawn(DIGITS, history)[1] == {"data/digest": None, "data/test_draw": 0}
    assert opened_before(prepare(DIGITS), history) == ""


def test_the_first_draw_that_has_no_opened_image(history: History) -> None:
    first = images_of(DIGITS)
    opened(history, first)
    assert opened_before(prepare(DIGITS), history).startswith(
        f"{len(first)} of the {len(first)} test images were opened 1 time, for 1 other model "
        "(by sweep earlier) before: its test figures will be those of one of 2 models."
    )
    second, found = drawn(DIGITS, history)
    assert found == {"data/digest": None, "data/test_draw": 1}
    assert not images_of(second).num_in([first])
    opened(history, images_of(second), model="b")
    third, found = drawn(DIGITS, history)
    assert found["data/test_draw"] == 2
    assert not images_of(third).num_in([first, images_of(second)])


def test_images_of_another_size_and_classes_are_the_same(history: History) -> None:
    opened(history, images_of(DIGITS.model_copy(update={"image_size": 12})))
    fewer = DIGITS.model_copy(update={"num_classes": 5})
    assert opened_before(prepare(DIGITS), history)
    assert opened_before(prepare(fewer), history).partition(" of the ")[0] not in ("", "0")


def test_of_another_seed_the_draws_of_the_seed_that_was_opened(history: History) -> None:
    opened(history, images_of(DIGITS))
    settings, found = drawn(DIGITS.model_copy(update={"split_seed": 7}), history)
    assert found == {"data/digest": None, "data/split_seed": 0, "data/test_draw": 1}
    assert not images_of(settings).num_in([images_of(DIGITS)])


def test_there_are_not_enough_images(history: History) -> None:
    opened(history, images_of(DIGITS))
    large = DIGITS.model_copy(update={"test_fraction": 0.6})
    with pytest.raises(ToprungError, match=r"fresh_test: 3\d\d of the 1797 images were opened"):
        fresh_test(large, {}, history)


@pytest.mark.parametrize("path", ["data/test_draw", "data/digest"])
def test_what_the_test_set_is_can_be_fixed_only_once(path: str, history: History) -> None:
    with pytest.raises(ToprungError, match=f"fresh_test: {path} is fixed"):
        fresh_test(DIGITS, {path: 1}, history)


def test_no_test_set(history: History) -> None:
    with pytest.raises(ToprungError, match="fresh_test: the data have no test set"):
        fresh_test(DIGITS.model_copy(update={"test_fraction": 0.0}), {}, history)


def test_the_same_picture_twice_does_not_stop_it(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn_later = [sorted(names)[0] for draw, names in drawn_test_sets(DIGITS) if draw]

    def with_copies(settings: DataSettings, **_: object) -> Any:
        data = prepare(settings)
        hashes = list(data.pixel_hashes)
        names = [row[0] for row in data.splits]
        test = next(n for n, row in enumerate(data.splits) if row[2] == "test")
        for name in drawn_later:  # an image of each draw is a copy of one that was opened
            hashes[names.index(name)] = hashes[test]
        return replace(data, pixel_hashes=tuple(hashes))

    monkeypatch.setattr("toprung.planning.fresh_test.prepare", with_copies)
    opened(history, images_of(DIGITS))
    found, told = fresh_test(DIGITS, {}, history)
    assert found["data/test_draw"] == 1
    assert "of which 1 (the same pictures) were opened before" in told
