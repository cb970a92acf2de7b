"""Finds secrets in a file by its content, before it is sent to a cluster or kept with a sweep.

The patterns are those of detect-secrets (https://github.com/Yelp/detect-secrets, Apache 2.0, used
without its verification over the network) and of `toprung.trainables.system.secrecy`. Detectors of
high entropy are left out, because digests and seeds have high entropy too. As in detect-secrets, a
line with `pragma: allowlist secret` is considered free of secrets.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import chain
from pathlib import Path

from toprung.trainables.system.secrecy import TOKENS, URL_TOKEN_NAME

ALLOWED = "pragma: allowlist secret"
_GITLAB = tuple(
    f"gl{kind}-" for kind in ["pat", "dt", "ft", "soat", "rt", "cbt", "imt", "ptt", "agent", "oas"]
)
_DETECTORS = {
    ("aws", "AWSKeyDetector"): ("akia", "asia", "abia", "acca", "a3t", "aws"),
    ("azure_storage_key", "AzureStorageKeyDetector"): ("accountkey",),
    ("basic_auth", "BasicAuthDetector"): ("://",),
    ("discord", "DiscordBotTokenDetector"): ("discord",),
    ("github_token", "GitHubTokenDetector"): ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    ("gitlab_token", "GitLabTokenDetector"): (*_GITLAB, "gr1348941"),
    ("mailchimp", "MailchimpDetector"): ("-us",),
    ("npm", "NpmDetector"): ("_authtoken",),
    ("openai", "OpenAIDetector"): ("sk-",),
    ("private_key", "PrivateKeyDetector"): ("private key", "putty-user-key"),
    ("pypi_token", "PypiTokenDetector"): ("pypi-",),
    ("sendgrid", "SendGridDetector"): ("sg.",),
    ("slack", "SlackDetector"): ("xox", "hooks.slack.com"),
    ("square_oauth", "SquareOAuthDetector"): ("sq0csp",),
    ("stripe", "StripeDetector"): ("k_live_",),
    ("telegram_token", "TelegramBotTokenDetector"): ("telegram",),
    ("twilio", "TwilioKeyDetector"): ("twilio",),
}
"""The detectors of detect-secrets that recognize a kind of secret by its form: module and class,
and lower-case strings; a detector runs only if the text contains one of its strings."""
_OF_TOKENS = {
    "AWS access key": ("akia", "asia", "abia", "acca", "a3t"),
    "GitHub token": ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    "GitLab token": _GITLAB,
    "Hugging Face token": ("hf_", "api_org_"),
    "OpenAI or Anthropic key": ("sk-",),
    "Google API key": ("aiza",),
    "Google OAuth token": ("ya29.", "gocspx-"),
    "Slack token": ("xox", "hooks.slack.com"),
    "PyPI token": ("pypi-",),
    "JSON web token": ("eyj",),
    "private key": ("private key",),
}
_OURS = {
    **{kind: (pattern, _OF_TOKENS[kind]) for kind, pattern in TOKENS.items()},
    "token in a URL": (rf"(?i){URL_TOKEN_NAME}([^\s&#'\"]{{8,}})", ("://",)),
    "netrc entry": (r"\bmachine\s+\S+\s+login\s+\S+\s+password\s+(\S+)", ("machine",)),
    "pgpass entry": (r"(?m)^[^\s:#]+:(?:\d{2,5}|\*):[^\s:]+:[^\s:]+:(\S+)$", (":",)),
    "named token": (
        r"(?i)token[\"']?\s*[:=]\s*[\"']?((?=\w*\d)(?=\w*[a-z])[\w.+/=-]{16,})",
        ("token",),
    ),
}
_NAMES = (
    *("passw", "pwd", "secret", "contrase", "db_pass", "dbpass", "database_pass", "key_pass"),
    *("api_key", "apikey", "auth_key", "authkey", "service_key", "account_key", "accountkey"),
    *("db_key", "database_key", "priv_key", "private_key", "privatekey", "client_key"),
)
"""Lower-case strings: detect-secrets' keyword detector sees only lines with one of them."""
_BEFORE, _AFTER = 40, 120
"""Characters before and after a name that are searched: a line may be as long as a file, and the
detector's time grows with the cube of the length."""
_MOST_NAMES = 500
"""The most names of secrets that are searched in a file: each takes .1 ms, at worst 15 ms."""
_NAMES_ELSE = re.compile(
    r"(file|path|name|env|var|variable|type|kind|length|len|field|column|label|strength|policy"
    r"|prefix|header|url|id|ids|count|size|manager|class|hash|format)s?[\"'\]]*\s*[:=]+\s*[\"']?$",
    re.IGNORECASE,
)
"""A name such as `password_file`, whose value is not a secret."""
_PLACEHOLDER = re.compile(
    r"[x*.…_-]+|[<{\[(%$!].*|(your|my|the|a|some)?[\W_]*(api|access|secret|db)?[\W_]*"
    r"(password|passwd|pw|pwd|pass|secret|token|key|credentials?|user|name)s?([\W_]*here)?"
    r"|change[\W_]*me|example|dummy|none|null|true|false|yes|no|required|optional|str(ing)?|bytes"
    r"|(?-i:[A-Z][A-Z0-9]*(_[A-Z0-9]+)+)",
    re.IGNORECASE,
)
"""Values that stand for a secret: a blank, a template, the name of a variable."""
_SETTINGS = {".yaml", ".yml", ".toml", ".json", ".txt"}
_LEAST_IN_SETTINGS, _LEAST_IN_CODE = 4, 6
"""The fewest characters of a value that counts as a secret because of its name."""


@dataclass(frozen=True)
class Finding:
    """The line of a suspected secret in a file, and its kind."""

    kind: str
    line: int

    def __str__(self) -> str:
        return f"line {self.line}: {self.kind}"


def find_secret(path: Path) -> Finding | None:
    """The first suspected secret in a file; None if there is none.

    The time is proportional to the file's length: about a second for 10 MiB.
    """
    return find_in_text(_text(path.read_bytes()), path.suffix.lower())


def find_in_text(text: str, suffix: str) -> Finding | None:
    """The first suspected secret in the text of a file with this suffix (`.py`, `.yaml` …)."""
    lower = text.lower()
    if len(lower) != len(text):  # some letters have two characters in lower case
        lower = "".join(letter.lower()[0] for letter in text)
    for kind, start in chain(_by_form(text, lower), _by_name(text, lower, suffix)):
        if ALLOWED not in text[slice(*_line(text, start))]:
            return Finding(kind, text.count("\n", 0, start) + 1)
    return None


def _line(text: str, place: int) -> tuple[int, int]:
    """Start and end of the line around a position, bounded: a line may be as long as a file."""
    first, last = max(0, place - _BEFORE), min(len(text), place + _AFTER)
    end = text.find("\n", place, last)
    return max(first, text.rfind("\n", first, place) + 1), end if end >= 0 else last


def _text(content: bytes) -> str:
    is_utf_16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    return content.decode("utf-16" if is_utf_16 else "utf-8", "replace")


def _by_form(text: str, lower: str) -> Iterator[tuple[str, int]]:
    """The kinds and positions of secrets that are recognized by their form."""
    for kind, pattern in _forms(lower):
        for found in pattern.finditer(text):
            value = next((group for group in reversed(found.groups()) if group), found[0])
            if not _PLACEHOLDER.fullmatch(value):
                yield kind, found.start()


def _by_name(text: str, lower: str, suffix: str) -> Iterator[tuple[str, int]]:
    """The kinds and positions of secrets that are recognized by their name: `password: …`."""
    from detect_secrets.plugins import keyword

    if suffix not in {".py", *_SETTINGS}:
        return
    is_settings = suffix in _SETTINGS
    groups = (
        keyword.CONFIG_DENYLIST_REGEX_TO_GROUP
        if is_settings
        else keyword.QUOTES_REQUIRED_DENYLIST_REGEX_TO_GROUP
    )
    looked_at, num_looks = 0, 0
    for start in sorted(place for name in _NAMES for place in _places(lower, name)):
        if start < looked_at:
            continue
        num_looks += 1
        if num_looks > _MOST_NAMES:
            yield f"over {_MOST_NAMES} lines that name a secret", start
            return
        begins, looked_at = _line(text, start)
        line = text[begins:looked_at]
        for pattern, group in groups.items():
            found = pattern.search(line)
            if found and _is_secret(line, found[group], found.start(group), is_settings):
                yield "named secret", start


def _places(text: str, word: str) -> Iterator[int]:
    start = text.find(word)
    while start >= 0:
        yield start
        start = text.find(word, start + 1)


def _is_secret(line: str, value: str, start: int, is_settings: bool) -> bool:
    from detect_secrets.filters.heuristic import is_indirect_reference, is_not_alphanumeric_string

    value = value.strip().rstrip(",;").strip("\"'")
    if _PLACEHOLDER.fullmatch(value) or _NAMES_ELSE.search(line[:start]):
        return False
    if is_not_alphanumeric_string(value) or is_indirect_reference(line):
        return False
    if is_settings:
        return len(value) >= _LEAST_IN_SETTINGS
    return (
        len(value) >= _LEAST_IN_CODE
        and re.search(r"\s", value) is None
        and re.search(r"\d|[^\w.,:/ -]", value) is not None
    )


def _forms(lower: str) -> Iterator[tuple[str, re.Pattern[str]]]:
    """The kinds of secrets that this text may contain, with their patterns."""
    for kind, (pattern, hints) in _OURS.items():
        if any(hint in lower for hint in hints):
            yield kind, re.compile(pattern)
    for (module, name), hints in _DETECTORS.items():
        if any(
            hint in lower for hint in hints
        ):  # otherwise, the half second of the import is saved too
            detector = getattr(import_module(f"detect_secrets.plugins.{module}"), name)
            yield from ((detector.secret_type, pattern) for pattern in detector.denylist)
