"""Folders of older and newer versions of Toprung."""

from pathlib import Path

import pytest

from tests.support.fuzzed_sweep import Place
from tests.support.helpers import printed
from toprung.analysis.study.sweep_record import SweepRecord
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.analysis.sweep_folder.folder_format import FORMAT, format_of


def with_first_lines(place: Place, *lines: str) -> Path:
    settings = place.sweep / "sweep.yaml"
    settings.write_text("\n".join([*lines, settings.read_text()]))
    return settings


def test_a_folder_without_a_number_has_format_1(place: Place) -> None:
    assert format_of(SweepRecord(place.sweep).description) == 1
    assert "best" in printed("status", str(place.sweep))


@pytest.mark.parametrize("number", range(1, FORMAT + 1))
def test_each_known_format_is_read(number: int, place: Place) -> None:
    with_first_lines(place, f"format: {number}")
    assert format_of(SweepRecord(place.sweep).description) == number


def test_a_newer_one_is_refused_though_all_else_has_changed(place: Place) -> None:
    settings = place.sweep / "sweep.yaml"
    settings.write_text("format: 99\nversions:\n  toprung: 7.1\nsettings: of another shape\n")
    rule = rf"sweep\.yaml: has format 99, and this Toprung reads formats up to {FORMAT}; use the "
    with pytest.raises(SweepFolderError, match=f"{rule}version .* \\(Toprung 7.1\\), or a newer"):
        SweepRecord(place.sweep)


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "true", "'2'", "[2]", "null"])
def test_what_is_not_a_number_is_refused_in_one_line(number: str, place: Place) -> None:
    settings = with_first_lines(place, f"format: {number}")
    with pytest.raises(SweepFolderError, match="cannot be read") as refused:
        SweepRecord(place.sweep)
    assert str(settings) in str(refused.value)
    assert "\n" not in str(refused.value)
