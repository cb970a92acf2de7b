r"""Text that others wrote, as it may be shown: what would steer a terminal or page is made visible.

Names of classes and files, labels, errors and whole records come from strangers. They may hold
terminal escapes (an OSC sequence writes the clipboard, for one), marks that turn the direction of
the text around them (Trojan Source, CVE-2021-42574), or characters that nobody sees. Every door to
a terminal, a page, a card or a log passes its text through this module, which shows such a
character as its escape: `\x1b`, `\u202e`.
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
"""What is neither seen nor a space: Unicode's categories Cc, Cf (but for signs that are seen, such
as the Arabic number sign), Cs, Zl, Zp, its default ignorable characters, and its noncharacters."""
_SEEN = rf"[^\x00-\x7f{_HIDDEN}]"
_VARIANT = r"[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]"
_ANY_HIDDEN = re.compile(f"[{_HIDDEN}]")
_FOUND = re.compile(
    # A sign beyond ASCII may have one variation selector, and be joined to the next: emoji, Indic
    # and Persian words are written so. A digit becomes a key by such a selector.
    rf"(?P<joined>(?:{_SEEN}{_VARIANT}?(?:[\u200c\u200d](?={_SEEN}))?)+|[0-9#*]\ufe0f\u20e3)"
    rf"|[{_HIDDEN}]"
)


def printable(text: str) -> str:
    """The text with every character visible; line feeds and tabs stay."""
    if not _ANY_HIDDEN.search(text):
        return text
    return _FOUND.sub(_shown, text.replace("\r\n", "\n"))


def printable_line(text: str) -> str:
    """The text as one line: line feeds and tabs are shown as escapes too."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def printable_json(text: str) -> str:
    """JSON in which every character is visible, and which says the same: JSON has escapes too."""
    return _FOUND.sub(_in_json, text) if _ANY_HIDDEN.search(text) else text


def _shown(found: re.Match[str]) -> str:
    return found["joined"] or found[0].encode("unicode_escape").decode("ascii")


def _in_json(found: re.Match[str]) -> str:
    if found["joined"]:
        return found["joined"]
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
