"""The token that keeps others out of a cluster: where it is from, and who may read it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from toprung.cluster import token
from toprung.cluster.token import have_own_token, use_token
from toprung.errors import ToprungError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of our own, without a token, and nothing said in the environment."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(token, "_tell_ray", lambda: None)  # the suite's Ray keeps what it has
    for name in (token.MODE, token.TOKEN, token.TOKEN_PATH):
        monkeypatch.setenv(name, "")  # so that it is as before afterwards, whoever sets it
        monkeypatch.delenv(name)
    return tmp_path


def _file(folder: Path, text: str = "secret\n", mode: int = 0o600) -> Path:
    file = folder / ".ray" / "auth_token"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return file


def _message(check: Callable[[], None] = use_token) -> str:
    with pytest.raises(ToprungError) as error:
        check()
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_token_is_asked_for_unless_the_user_says_otherwise(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _file(home)
    use_token()
    assert os.environ[token.MODE] == "token"
    monkeypatch.setenv(token.MODE, "disabled")
    _file(home, mode=0o644)
    use_token()
    assert os.environ[token.MODE] == "disabled"


def test_a_mode_that_ray_would_take_for_open_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(token.MODE, "tokens")
    assert "must be token or disabled" in _message()


def test_a_missing_or_empty_token_is_told_with_what_to_do(home: Path) -> None:
    assert "ray get-auth-token" in _message()
    _file(home, " \n")
    assert "is empty" in _message()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o622])
def test_a_token_that_others_can_read_is_refused(home: Path, mode: int) -> None:
    file = _file(home, mode=mode)
    assert f"chmod 600 {file}" in _message()


def test_a_token_may_be_in_the_environment_or_in_another_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(token.TOKEN_PATH, str(home / "elsewhere"))
    assert str(home / "elsewhere") in _message()
    assert str(home / "elsewhere") in _message(have_own_token)
    (home / "elsewhere").touch(0o600)
    (home / "elsewhere").write_text("secret")
    use_token()
    monkeypatch.setenv(token.TOKEN_PATH, "")
    monkeypatch.setenv(token.TOKEN, "secret")
    use_token()


def test_our_own_ray_has_a_token_that_only_its_user_can_read(home: Path) -> None:
    have_own_token()
    file = home / ".ray" / "auth_token"
    assert file.stat().st_mode & 0o777 == 0o600
    made = file.read_text()
    assert len(made) == 64
    file.chmod(0o644)  # as Ray makes it
    have_own_token()
    assert (file.stat().st_mode & 0o777, file.read_text()) == (0o600, made)
    assert [each.name for each in file.parent.iterdir()] == ["auth_token"]


def test_where_no_file_can_be_kept_the_token_is_this_process_s_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").touch()
    monkeypatch.setenv("HOME", str(home / "file" / "home"))
    have_own_token()
    made = os.environ[token.TOKEN]
    assert len(made) == 64
    have_own_token()
    assert os.environ[token.TOKEN] == made
