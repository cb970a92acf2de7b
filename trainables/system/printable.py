r"""Making untrusted text safe to show: characters that control a terminal or page become visible.

Names of classes and files, labels, errors and whole records come from strangers. They may contain
terminal escapes (an OSC sequence, for example, can write the clipboard), marks that change the
direction of the text around them (Trojan Source, CVE-2021-42574), or invisible characters. All text
for a terminal, a page, a model card or a log passes through this module, which replaces such a
character by its escape: `\x1b`, `\u202e`.
"""

import re

_HIDDEN = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, without tab and line feed
    r"\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    r"\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    r"\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    r"\ud800-\udfff\ufdd0-\ufdef"  # surrogates and noncharacters
    + "".join(rf"\U{plane:04x}fffe\U{plane:04x}ffff" for plane in range(17))
)
"""Invisible characters other than spaces: Unicode's categories Cc, Cf (except visible characters,
such as the Arabic number sign), Cs, Zl, Zp, its default ignorables, and its noncharacters."""
_SEEN = rf"[^\x00-\x7f{_HIDDEN}]"
_VARIANT = r"[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]"
_ANY_HIDDEN = re.compile(f"[{_HIDDEN}]")
_FOUND = re.compile(
    # A character beyond ASCII may have a variation selector, and be joined to the next one: emoji,
    # Indic and Persian words need that. A digit with such a selector becomes a keycap.
    rf"(?P<joined>(?:{_SEEN}{_VARIANT}?(?:[\u200c\u200d](?={_SEEN}))?)+|[0-9#*]\ufe0f\u20e3)"
    rf"|[{_HIDDEN}]"
)


def printable(text: str) -> str:
    """The text with every character visible; line feeds and tabs are kept."""
    if not _ANY_HIDDEN.search(text):
        return text
    return _FOUND.sub(_shown, text.replace("\r\n", "\n"))


def printable_line(text: str) -> str:
    """The text in one line: line feeds and tabs become escapes too."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def printable_json(text: str) -> str:
    """Equivalent JSON in which every character is visible, by JSON's own escapes."""
    return _FOUND.sub(_in_json, text) if _ANY_HIDDEN.search(text) else text


def _shown(found: re.Match[str]) -> str:
    return found["joined"] or found[0].encode("unicode_escape").decode("ascii")


def _in_json(found: re.Match[str]) -> str:
    if found["joined"]:
        return found["joined"]
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
