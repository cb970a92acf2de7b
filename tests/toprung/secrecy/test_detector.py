"""Which texts are taken to hold a secret, and which are not."""

import time
from pathlib import Path

import pytest

from toprung.secrecy.detector import find_in_text, find_secret

LETTERS = "aB3dE5gH7jK9mN1pQ2sT4vW6yZ8bC0fG2hJ4"  # none of them is anybody's

HOLDS = [
    (".yaml", f"aws_secret_access_key: {LETTERS}/+AB"),
    (".yaml", f"s3:\n  key: AKIA{'Q7' * 8}\n"),
    (".toml", f"session = 'ASIA{'Q7' * 8}'"),
    (".yaml", f"hub: hf_{LETTERS}"),
    (".yaml", f"hub_token: {LETTERS}"),
    (".py", f"TOKEN = 'ghp_{LETTERS}'"),
    (".py", f"token = 'github_pat_{LETTERS}'"),
    (".txt", f"glpat-{LETTERS[:20]}"),
    (".py", "db = 'postgresql://me:hush1234@host/db'"),
    (".csv", "path,label\nhttps://me:hush1234@host/x.png,cat\n"),
    (".csv", "path,label\nhttps://host/x.png?X-Amz-Signature=0a1b2c3d4e5f,cat\n"),
    (".yaml", "password: hunter2"),
    (".yaml", "db:\n  passwd: 'correct horse battery'\n"),
    (".json", '{"apiKey": "hush1234"}'),
    (".py", 'PASSWORD = "hunter2!"'),
    (".py", "connect(user='me', password='hunter2!')"),
    (".json", '{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\\nMII"}'),
    (".txt", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blb"),
    (".txt", "machine api.host login me password hush"),
    (".txt", "host:5432:db:me:hush\n"),
    (".txt", "export WANDB_API_KEY=0123456789abcdef0123456789abcdef"),
    (".txt", f"xoxb-{LETTERS}"),
    (".yaml", f"url: https://hooks.slack.com/services/T0000/B0000/{LETTERS[:24]}"),
    (".py", "key = 'sk_live_" + LETTERS[:24] + "'"),
]
HOLDS_NONE = [
    (".yaml", "model:\n  filters: 32\ntraining:\n  batch_size: 16\n"),
    (
        ".yaml",
        "data:\n  digest: 3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b",
    ),
    (".yaml", "password: ${DB_PASSWORD}"),
    (".yaml", "password: <your password>"),
    (".yaml", "api_key_env: WANDB_API_KEY"),
    (".yaml", "password_file: /run/secrets/db"),
    (".yaml", "max_tokens: 4096\ntokenizer: bert-base-uncased-2019-release"),
    (".yaml", "secret: null"),
    (".py", "password = os.environ['PGPASSWORD']"),
    (".py", "key = getpass('password: ')"),
    (".py", "SECRET_TYPE = 'AWS'\nPASSWORD_FIELD = 'password'"),
    (".py", "url = f'postgresql://{user}:{password}@{host}/db'"),
    (".py", "def secret(trial):\n    return trial.suggest_float('optimizer/lr', 1e-4, 1e-1)"),
    (".py", "url = 'http://HOST:8265/x?a=b@c'"),
    (".csv", "path,label\ncats/tokens/1.png,cat\n"),
    (".json", '{"classes": ["cat", "dog"], "password_strength": "high"}'),
]


@pytest.mark.parametrize(("suffix", "text"), HOLDS)
def test_a_secret_is_found_by_its_form_or_its_name(suffix: str, text: str) -> None:
    found = find_in_text(f"# first\n{text}\n", suffix)
    assert found is not None
    assert found.line >= 2


@pytest.mark.parametrize(("suffix", "text"), HOLDS_NONE)
def test_what_is_none_is_not(suffix: str, text: str) -> None:
    assert find_in_text(text, suffix) is None


def test_a_line_that_says_that_it_holds_none_is_believed() -> None:
    line = "password: hunter2  # pragma: allowlist secret\n"
    assert find_in_text(line, ".yaml") is None
    found = find_in_text(f"{line}a: 1\npassword: hunter3\n", ".yaml")
    assert str(found) == "line 3: named secret"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_it_is_found_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "config.YAML"
    file.write_bytes("İstanbul: ß\npassword: hunter2\n".encode(encoding))
    found = find_secret(file)
    assert found is not None
    assert found.line == 2


@pytest.mark.parametrize("piece", ["secret", "password = ", "://a:b", "1:22:", "machine a login "])
@pytest.mark.parametrize("suffix", [".yaml", ".py", ".txt"])
def test_the_time_grows_no_faster_than_the_text(suffix: str, piece: str) -> None:
    began = time.process_time()
    find_in_text(piece * (5_000 // len(piece)), suffix)
    assert time.process_time() - began < 60  # hours, if it were not so
