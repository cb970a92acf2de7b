"""The rule for secrets, in one place: what counts as a secret, and where it must not appear.

A secret is the value of an environment variable whose name says so (`PGPASSWORD`, `HF_TOKEN`,
`AWS_SECRET_ACCESS_KEY`), a password or a token in a URL, and any text in the form of a known token.
It must not appear in a log, a sweep's records, a listing, or the environment of a process that does
not need it. Text from elsewhere (an error, a traceback, a command line) passes through `redacted`
before it is stored or shown; processes are started with `without_secrets`.
"""

import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

HIDDEN = "[secret]"
"""The text that replaces a secret."""
LENT_CREDENTIALS = "toprung:store-credentials"
"""The key, in Ray's internal store, of the credentials that a driver lends its trials."""

_NAME = re.compile(
    r"password|passwd|passphrase|secret|credential|authorization"
    r"|(^|[/_-]|api|access|private|ssh|encryption|master|account)keys?([_-]|\d|$)"
    r"|tokens?([_-]|\d|$)|[_-](pwd|pw|pass)$|(^|[_-])(pass|auth|cookies?|dsn|pat|jwt|sas|webhook)([_-]|$)",
    re.IGNORECASE,
)
_MUST_STAY = re.compile("RAY_")
"""Ray's own variables, such as its token, without which its processes cannot communicate."""
_OF_STORES = {"s3": "AWS_", "gs": "GOOGLE_", "gcs": "GOOGLE_", "abfs": "AZURE_", "abfss": "AZURE_"}
_MIN_CHARACTERS = 8
"""Shorter values are not searched for: they would be found within ordinary words."""

TOKENS = {
    "AWS access key": r"\b(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[0-9A-Z]{16}\b",
    "GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9_]{36,}|github_pat_[A-Za-z0-9_]{22,})",
    "GitLab token": r"\bgl(?:pat|dt|rt|ft|soat|cbt|ptt)-[A-Za-z0-9_-]{20,}",
    "Hugging Face token": r"\b(?:hf|api_org)_[A-Za-z0-9]{30,}",
    "OpenAI or Anthropic key": r"\bsk-[A-Za-z0-9_-]{20,}",
    "Google API key": r"\bAIza[0-9A-Za-z_-]{35}",
    "Google OAuth token": r"\bya29\.[0-9A-Za-z_-]{20,}|\bGOCSPX-[0-9A-Za-z_-]{20,}",
    "Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}|hooks\.slack\.com/services/[A-Za-z0-9/_-]+",
    "PyPI token": r"\bpypi-[A-Za-z0-9_-]{50,}",
    "JSON web token": r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
    "private key": r"-----BEGIN [A-Z ]*PRIVATE KEY[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
}
"""The kinds of tokens that are recognised by their form, each with its pattern."""
_URL_PASSWORD = r"(://[^\s:/?#@]*:)[^\s/]+(?=@)"
"""A URL's password, after a group with the text before it. The patterns below have such a group."""
URL_TOKEN_NAME = (
    r"([?&;][\w.-]*(?:token|secret|passw|pwd|signature|\bsig|key|credential|auth)[\w-]*=)"
)
"""The text before a token in a URL's query."""
_URL_TOKEN = URL_TOKEN_NAME + r"[^\s&#'\"]+"
_HEADER = r"(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{16,}"
_URL_USER = (
    r"((?<![\w+.-])(?!(?:postgres(?:ql)?|mysql|mariadb|abfss?|sftp|(?:git\+)?ssh)(?:\+\w+)?:)"
    r"[a-z][\w+.-]*://)[^\s/?#]+(?=@)"
)
"""The text before the host in a URL, which may be a token. Schemes that have a user or a container
there are excluded: in these, only a password after it is hidden."""
_SECRET_NAME = (
    r"(?:passw(?:or)?d|passphrase|(?<![a-z])pwd|secret|credential|token"
    r"|(?:api|access|secret|private|account|encryption|master|ssh)[_-]?key)s?\d*[\"']?[ \t]*"
)
_ASSIGNED = "|".join(
    (
        rf"({_SECRET_NAME}[=:][ \t]*\")(?:[^\"\\\n]|\\.)+",
        rf"({_SECRET_NAME}[=:][ \t]*')(?:[^'\\\n]|\\.)+",
        rf"({_SECRET_NAME}[=:])[^\s\"',;&]+",
        rf"({_SECRET_NAME}=[ \t]+)[^\s\"'][^\n\"']*",
        # Not within a sentence, such as "give a token: …", where it is not the name of a value.
        rf"(?<![\w.-])(?<![a-z] )([\w.-]{{0,40}}{_SECRET_NAME}:[ \t]+)[^\s\"'][^\n\"']*",
        r"((?:passw(?:or)?d|access_?key|api_?key|_token)[\"']?\s*:\s*)[^\s\"',;&]{6,}",
    )
)
"""A value after a secret's name: all within quotation marks, a word, or the rest of the line."""
_AFTER_ITS_NAME = re.compile(
    "|".join((_URL_USER, _URL_PASSWORD, _URL_TOKEN, _HEADER, _ASSIGNED)), re.IGNORECASE
)
_BARE = re.compile("|".join(TOKENS.values()))
_BASE64 = re.compile(r"/[A-Za-z0-9+/]{30,}={0,2}")
"""A text that may be a key in Base64 or a path."""


def is_secret(name: str, value: str) -> bool:
    """Whether an environment variable, or an option, with this name and value holds a secret."""
    return bool(value) and (names_secret(name) or redacted_text(value) != value)


def names_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret, as `HF_TOKEN` and `MYSQL_PWD` do."""
    return _NAME.search(name) is not None


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process that needs no credentials except Ray's own."""
    return {
        name: value
        for name, value in environment.items()
        if _MUST_STAY.match(name) or not is_secret(name, value)
    }


def store_credentials(url: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The secret variables that a process may need to write to the store at this URL."""
    prefix = _OF_STORES.get(urlsplit(url).scheme, "")
    return {
        name: value
        for name, value in environment.items()
        if prefix and name.startswith(prefix) and is_secret(name, value)
    }


def redacted(text: str) -> str:
    """The text without this process's secrets, and without text in the form of a secret."""
    for value in _known_secrets(tuple(os.environ.items())):
        text = text.replace(value, HIDDEN)
    return redacted_text(text)


def redacted_text(text: str) -> str:
    """The text without anything in the form of a secret: passwords in URLs, known tokens."""
    text = _BARE.sub(HIDDEN, text)
    return _AFTER_ITS_NAME.sub(lambda found: f"{next(filter(None, found.groups()))}{HIDDEN}", text)


def redacted_command(arguments: Sequence[str]) -> list[str]:
    """A command line without the values of options such as `--api-key`, and other secrets."""
    shown, hides_next = [], False
    for argument in arguments:
        is_option = argument.startswith("-")
        shown.append(HIDDEN if hides_next and not is_option else _without_value(argument))
        hides_next = is_option and "=" not in argument and names_secret(argument)
    return shown


def _without_value(argument: str) -> str:
    """`--api-key=…` and `--set=labels/token=…` without the value."""
    name, equals, value = argument.partition("=")
    inner, inner_equals, _ = value.partition("=")
    if equals and names_secret(name):
        return f"{name}={HIDDEN}"
    if inner_equals and names_secret(inner):
        return f"{name}={inner}={HIDDEN}"
    return redacted(argument)


@lru_cache(maxsize=1)
def _known_secrets(environment: tuple[tuple[str, str], ...]) -> list[str]:
    """The values of the secret variables in all forms in which they may occur, longest first."""
    found = set()
    for name, value in environment:
        if is_secret(name, value) and not _is_path(value):
            parts = {value, _password(value)}
            found |= parts | {quote(part, safe="") for part in parts}
    return sorted(
        (value for value in found if len(value) >= _MIN_CHARACTERS), key=len, reverse=True
    )


def _is_path(value: str) -> bool:
    """Whether a value is a path to a secret, as in `GOOGLE_APPLICATION_CREDENTIALS`."""
    if _BASE64.fullmatch(value):  # one in 64 secret keys of AWS begins with a slash
        return Path(value).exists()
    return value.startswith(("/", "~", "./"))


def _password(url: str) -> str:
    try:
        return unquote(urlsplit(url).password or "")
    except ValueError:  # not a URL
        return ""
