"""What an error says, in one line that is never empty."""

import pytest

from toprung.trainables.system.error_text import innermost, last_line, one_line


@pytest.mark.parametrize("error", [TimeoutError(), ValueError(" \n"), RuntimeError("."), OSError()])
def test_an_error_without_words_is_reported_by_its_kind(error: Exception) -> None:
    assert one_line(error) == type(error).__name__


def test_a_long_one_with_a_secret_is_short_and_without_it() -> None:
    text = one_line(ValueError("postgresql://me:hush@host\n" + "x " * 1000))
    assert text.startswith("postgresql://me:[secret]@host x x")
    assert len(text) == 400


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "Request failed: Traceback:\n  File x\nValueError: no such job\n.",
            "ValueError: no such job",
        ),
        ("a\\nb\\n.", "b"),
        ("one line", "one line"),
        ("\n.\n", ""),
    ],
)
def test_the_last_line_with_a_word_in_it(text: str, line: str) -> None:
    assert last_line(text) == line


def test_the_innermost_is_what_the_system_said() -> None:
    def refused() -> None:
        try:
            raise ConnectionRefusedError(111, "Connection refused")
        except OSError as error:
            raise RuntimeError("Max retries exceeded with url: /") from error

    with pytest.raises(RuntimeError) as raised:
        refused()
    assert getattr(innermost(raised.value), "strerror", "") == "Connection refused"
    round_about = ValueError("itself")
    round_about.__cause__ = other = ValueError("other")
    other.__cause__ = round_about
    assert innermost(round_about) is other
