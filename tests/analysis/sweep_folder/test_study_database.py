"""No password goes out in clear text to another machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from tests.support.postgres import PostgresServer
from tests.support.watchers import Bait, bait, greedy_postgres
from toprung.analysis.sweep_folder.study_database import (
    connect_arguments,
    hosts,
    open_storage,
    reason,
)
from toprung.analysis.sweep_folder.study_place import StudyPlace

PASSWORD = "pass-word-of-the-test"
VARIABLES = ("PGSSLMODE", "PGREQUIREAUTH", "PGHOST", "PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE")


@pytest.fixture(autouse=True)
def _libpq(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)


@pytest.fixture
def greedy() -> Iterator[Bait]:
    """A server that asks for the password in clear text, and has no TLS."""
    with bait(greedy_postgres) as server:
        yield server


def try_to_open(url: str) -> str:
    """Why a database cannot be opened."""
    with pytest.raises(OperationalError) as caught:
        open_storage(StudyPlace(url, "sweep"))
    return reason(caught.value)


class TestAServerElsewhere:
    """Its name is another machine's, whatever it means here."""

    @pytest.fixture
    def url(self, greedy: Bait) -> str:
        return f"postgresql://someone@db.example:{greedy.port}/db?hostaddr=127.0.0.1"

    def test_without_tls_gets_nothing(self, url: str, greedy: Bait) -> None:
        why = try_to_open(url)
        assert "server does not support SSL, but SSL was required; a password is not sent" in why
        assert "set PGSSLMODE=prefer" in why
        assert greedy.heard
        assert not [said for said in greedy.heard if b"someone" in said]

    @pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
    def test_without_tls_if_asked_gets_no_clear_text(
        self, mode: str, url: str, greedy: Bait, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for asked in (url, f"{url}&sslmode={mode}"):
            if asked == url:
                monkeypatch.setenv("PGSSLMODE", mode)
            else:
                monkeypatch.delenv("PGSSLMODE")
            assert "set PGREQUIREAUTH=password" in try_to_open(asked)
        assert [said for said in greedy.heard if b"someone" in said]
        assert not [said for said in greedy.heard if PASSWORD.encode() in said]

    def test_gets_it_if_asked_for_that_too(
        self, url: str, greedy: Bait, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PGSSLMODE", "prefer")
        monkeypatch.setenv("PGREQUIREAUTH", "password")
        try_to_open(url)
        assert PASSWORD.encode() in greedy.heard[-1]

    def test_of_a_service_file_gets_no_clear_text(
        self, greedy: Bait, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        services = tmp_path / "services"
        services.write_text(f"[mine]\nhostaddr=127.0.0.1\nport={greedy.port}\nuser=someone\n")
        monkeypatch.setenv("PGSERVICEFILE", str(services))
        assert "PGREQUIREAUTH" in try_to_open("postgresql:///db?service=mine")
        assert not [said for said in greedy.heard if PASSWORD.encode() in said]


@pytest.mark.parametrize(
    "place",
    [
        "localhost",
        "127.0.0.1",
        "127.8.9.10",
        "[::1]",
        "",
        "?host=/var/run/postgresql",
    ],
)
def test_this_machine_is_left_as_libpq_has_it(place: str) -> None:
    arguments = connect_arguments(
        make_url(f"postgresql://u@{place}" if "?" in place else f"postgresql://u@{place}/db")
    )
    assert arguments == ({"host": "localhost,localhost", "hostaddr": "127.0.0.1,::1"}
                         if place == "localhost" else {})  # fmt: skip


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        ("postgresql://u@db/x", {}),
        ("postgresql://u@localhost.evil/x", {}),
        ("postgresql://u@128.0.0.1/x", {}),
        ("postgresql://u@localhost/x?hostaddr=10.0.0.1", {}),
        ("postgresql://u@localhost/x", {"PGHOSTADDR": "10.0.0.1"}),
        ("postgresql:///x", {"PGHOST": "db"}),
        ("postgresql:///x?host=/tmp,db", {}),
        ("postgresql:///x?host=127.0.0.1:5432&host=db:5432", {}),
    ],
)
def test_every_other_machine_needs_tls(
    url: str, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert connect_arguments(make_url(url)) == {"sslmode": "require"}
    assert hosts(make_url(url))


def test_what_the_user_asks_of_libpq_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert connect_arguments(make_url("postgresql://u@db/x?sslmode=verify-full")) == {}
    monkeypatch.setenv("PGSSLMODE", "verify-ca")
    assert connect_arguments(make_url("postgresql://u@db/x")) == {}


def test_a_driver_without_libpq_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pg8000.* cannot be configured to encrypt"):
        connect_arguments(make_url("postgresql+pg8000://u@db/x"))


def test_localhost_is_spoken_to_by_its_addresses(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    url = postgres.url.replace(f":{postgres.password}@127.0.0.1", "@localhost")
    storage = open_storage(StudyPlace(url, "sweep"))
    assert isinstance(storage.get_all_studies(), list)
    storage.remove_session()
    storage.engine.dispose()
