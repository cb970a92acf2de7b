"""What counts as a secret, and how it is taken out of an environment, a text, a command line."""

import time

import pytest

from tests.support.canaries import CANARY, VARIABLES, canaries_set
from toprung.trainables.system import secrecy
from toprung.trainables.system.secrecy import (
    HIDDEN,
    names_secret,
    redacted,
    redacted_command,
    store_credentials,
    without_secrets,
)

HARMLESS = {
    "PATH": "/usr/bin:/bin",
    "PWD": "/home/me",
    "OLDPWD": "/",
    "AWS_REGION": "eu-central-1",
    "AWS_ENDPOINT_URL": "https://minio:9000",
    "TOKENIZERS_PARALLELISM": "false",
    "CUDA_VISIBLE_DEVICES": "0,1",
    "KEYBOARD": "us",
    "DATA": "s3://bucket/x?region=eu-central-1",
    "HTTP_PROXY": "http://proxy:3128",
    "RAY_AUTH_TOKEN": "which all of Ray's processes need",
}


def test_an_environment_keeps_what_is_no_secret() -> None:
    assert without_secrets({**HARMLESS, **VARIABLES}) == HARMLESS


@pytest.mark.parametrize("name", ["APIKEY", "SSH_PRIVATE_KEY", "sentry_dsn", "DB_PASS", "TOKEN2"])
def test_a_name_says_so(name: str) -> None:
    assert names_secret(name)


def test_a_store_gets_its_own_credentials_and_no_others() -> None:
    environment = {**HARMLESS, **VARIABLES}
    aws = {name: value for name, value in VARIABLES.items() if name.startswith("AWS_")}
    assert store_credentials("s3://bucket/x", environment) == aws
    assert store_credentials("abfs://c@a/x", environment).keys() == {"AZURE_STORAGE_KEY"}
    assert store_credentials("/shared", environment) == {}


class TestText:
    @pytest.mark.parametrize("name", VARIABLES)
    def test_has_no_value_of_a_secret_variable(self, name: str) -> None:
        with canaries_set():
            assert CANARY not in redacted(f"refused: {VARIABLES[name]!r} (see the manual)")

    def test_nor_the_password_of_a_url_alone_or_quoted(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATABASE_URL", "postgresql://me:pass%20word%21@host/db")
        assert redacted("as me with pass word! at host") == f"as me with {HIDDEN} at host"
        assert redacted("sent pass%20word%21") == f"sent {HIDDEN}"

    def test_keeps_what_a_variable_only_leads_to(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/home/me/key.json")
        monkeypatch.setenv("MY_TOKEN", "short")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "/wJalrXUtnFEMIK7MDENG/bPxRfiCYCANARYKEY0")
        assert redacted("signed by /wJalrXUtnFEMIK7MDENG/bPxRfiCYCANARYKEY0") == (
            f"signed by {HIDDEN}"
        )
        assert redacted("no file /home/me/key.json in short") == (
            "no file /home/me/key.json in short"
        )

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("postgresql://me:p@ss@host/db", f"postgresql://me:{HIDDEN}@host/db"),
            ("https://h/x?token=abc&page=2", f"https://h/x?token={HIDDEN}&page=2"),
            ("https://h/x?X-Amz-Signature=ab12", f"https://h/x?X-Amz-Signature={HIDDEN}"),
            ("AKIAIOSFODNN7EXAMPLE is unknown", f"{HIDDEN} is unknown"),
            ("Authorization: Bearer abcdefghij0123456789", f"Authorization: Bearer {HIDDEN}"),
            ("hf_" + "aB3" * 12, HIDDEN),
            ("ghp_" + "aB3" * 12, HIDDEN),
            ('password = "hunter2!"', f'password = "{HIDDEN}"'),
            ("https://s3cr3t@host/x.git", f"https://{HIDDEN}@host/x.git"),
            ("git+https://s3cr3t:x-oauth@host/x", f"git+https://{HIDDEN}@host/x"),
            ('password = "two words"', f'password = "{HIDDEN}"'),
            ("{'db_password': 'two \\' words', 'b': 1}", f"{{'db_password': '{HIDDEN}', 'b': 1}}"),
            ("a\nPASSWORD: two words\nb", f"a\nPASSWORD: {HIDDEN}\nb"),
            ("HF_TOKEN = two, words", f"HF_TOKEN = {HIDDEN}"),
            ("client_secret=abc host=h", f"client_secret={HIDDEN} host=h"),
            ("-----BEGIN RSA PRIVATE KEY-----\nMIIE", HIDDEN),
        ],
    )
    def test_of_a_known_form_is_hidden_wherever_it_comes_from(self, text: str, shown: str) -> None:
        assert redacted(text) == shown

    @pytest.mark.parametrize(
        "text",
        [
            "http://head:8265: the cluster cannot be reached: Connection refused",
            "s3://bucket/x?region=eu: cannot write it",
            "storage = 'postgresql://me@host/db': leave the password out, because it is kept",
            "abfss://container@account.dfs.core.windows.net/x",
            "ssh://git@host/x",
            "give a token: ray get-auth-token",
            "trial 3 at epoch 8: validation accuracy 0.9965",
        ],
    )
    def test_of_ours_stays_as_it_is(self, text: str) -> None:
        assert redacted(text) == text

    @pytest.mark.parametrize(
        "piece",
        [
            "a",
            "://a:",
            "?token",
            "password = ",
            "password='",
            "a://a",
            "token",
            "-----BEGIN PRIVATE KEY ",
            "eyJ",
            "?a-",
        ],
    )
    def test_takes_time_in_proportion_to_its_length(self, piece: str) -> None:
        began = time.process_time()
        secrecy.redacted_text(piece * (200_000 // len(piece)))
        assert time.process_time() - began < 10  # hours, if it were not so


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--api-key", "x", "--trials", "3"], ["--api-key", HIDDEN, "--trials", "3"]),
        (["--api-key=x", "--password=", "b"], [f"--api-key={HIDDEN}", f"--password={HIDDEN}", "b"]),
        (["--set=labels/token=a=b"], [f"--set=labels/token={HIDDEN}"]),
        (["--set", "labels/api_key=a"], ["--set", f"labels/api_key={HIDDEN}"]),
        (["--keep-checkpoints=3", "--set=optimizer/lr=.1"], None),
        (["--token", "--trials", "3"], None),
        (["--storage", "postgresql://me:pw@h/d"], ["--storage", f"postgresql://me:{HIDDEN}@h/d"]),
    ],
)
def test_a_command_line_without_secrets(arguments: list[str], shown: list[str] | None) -> None:
    assert redacted_command(arguments) == (shown or arguments)
