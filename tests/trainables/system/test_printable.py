"""The one function that every door uses: hidden characters become visible, all others stay."""

import io
import json
import re
import sys
import unicodedata
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from toprung.trainables.files.plain_yaml import read_yaml, write_yaml
from toprung.trainables.system.console import PrintableConsole
from toprung.trainables.system.printable import printable, printable_json, printable_line
from toprung.trainables.system.terminal import PrintableStream, print_only_printable

VISIBLE_FORMAT = {0x110BD, 0x110CD, 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, *range(0x600, 0x606)}
"""Format characters with a glyph of their own, such as the Arabic number sign."""


def hidden_characters() -> list[str]:
    kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return [
        character
        for code in set(range(sys.maxunicode + 1)) - VISIBLE_FORMAT - {0x9, 0xA}
        if unicodedata.category(character := chr(code)) in kinds
    ]


def test_every_hidden_character_is_shown() -> None:
    hidden = hidden_characters()
    text = printable("a".join(hidden))
    assert text == "a".join(c.encode("unicode_escape").decode() for c in hidden)
    assert not set(hidden) & set(printable("".join(hidden)))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("\x9b31m\x90q\x9c", r"\x9b31m\x90q\x9c"),
        ("ab\u202edc\u2066\u200f", r"ab\u202edc\u2066\u200f"),
        ("a\r\nb\rc\td", "a\nb\\rc\td"),
        ("pay\u200cpal", r"pay\u200cpal"),
        ("a\ufe0fb\ufeff\xad", r"a\ufe0fb\ufeff\xad"),
        ("\u3164\u115f\uffa0\U000e0041", r"\u3164\u115f\uffa0\U000e0041"),
        ("é\ufe0f\ufe0f\U000e0100", "é\ufe0f" + r"\ufe0f\U000e0100"),
        ("\ud83d!\udcff\ufffe", r"\ud83d!\udcff\ufffe"),
    ],
)
def test_shown(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown
    assert json.loads(printable_json(json.dumps(text, ensure_ascii=False))) == text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "plain \\x1b",
            "שלום עולם",
            "مرحبا ٣",
            "بی\u200cشک",
            "क्\u200dष",
            "漢字",
            "葛\U000e0100",
        ),
        *(
            "👩\u200d👩\u200d👧",
            "❤\ufe0f\u200d🔥",
            "1\ufe0f\u20e3",
            "🇩🇪",
            "e\u0301",
            "n\xa0m",
            "\u0600",
        ),
    ],
)
def test_what_people_write_stays(text: str) -> None:
    assert printable(text) == printable_line(text) == printable_json(text) == text


def test_a_line_is_one_line() -> None:
    assert printable_line("a\nerror: b\t\u2028c") == r"a\nerror: b\t\u2028c"


@pytest.mark.parametrize(
    "value",
    [
        *("a\u202eb", "\x1b[1m", "\x9b", "שלום", "שלום\u200f", "x: \ufeff", "\udcff", "tab\there"),
        *({"a\u202e": ["\u2066"]}, {"b": 1, "a": None}),
    ],
)
def test_yaml_says_the_same(value: object) -> None:
    text = write_yaml(value)
    assert printable(text) == text
    if value != "\udcff":  # which YAML cannot say
        assert read_yaml(text) == value
    assert ("שלום" in text) == (value == "שלום")


class TestTheTerminal:
    def test_whatever_writes(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sys.stdout", sys.stdout)
        monkeypatch.setattr("sys.stderr", sys.stderr)
        print_only_printable()
        print_only_printable()
        print("\x1b[1m")
        sys.stdout.writelines(["\x1b]", "\n"])
        sys.excepthook(ValueError, ValueError("\x1bP"), None)
        out, err = capsys.readouterr()
        assert out == "\\x1b[1m\n\\x1b]\n"
        assert "ValueError: \\x1bP\n" in err

    def test_there_is_no_way_for_bytes(self) -> None:
        stream = PrintableStream(io.TextIOWrapper(io.BytesIO()))
        assert not hasattr(stream, "buffer")
        with pytest.raises(TypeError):
            stream.write(b"\x1b")  # type: ignore[arg-type]
        assert stream.encoding

    def test_a_console_keeps_its_own_escapes(self) -> None:
        screen = io.StringIO()
        stream: Any = PrintableStream(screen)
        table = Table("a wide column", title="\x1b]0;t\x07")
        table.add_row("[bold]\x1b[5m\u202e[/bold]")
        console = PrintableConsole(file=stream, force_terminal=True, width=80)
        console.print(table, "\x1b]8;;http://evil\x07link")
        shown = screen.getvalue()
        assert "\x1b[1m\\x1b[5m\\u202e\x1b[0m" in shown
        assert "\\x1b]0;t" in shown
        assert not re.search("\x1b(]|\\[5m)|\x07|\u202e", shown)

    def test_the_console_is_rich_s_elsewhere(self) -> None:
        ours, richs = io.StringIO(), io.StringIO()
        PrintableConsole(file=ours, force_terminal=True, width=40).print("[red]a[/red] שלום")
        Console(file=richs, force_terminal=True, width=40).print("[red]a[/red] שלום")
        assert ours.getvalue() == richs.getvalue()
