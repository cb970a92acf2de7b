"""The tests' own PostgreSQL: it keeps a study exactly, and comes back as it was."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
import psycopg
import pytest
from optuna.storages import RDBStorage
from sqlalchemy import make_url

from tests.support.postgres import PostgresServer

EXTREMES = [1e-300, -1.7976931348623157e308, 0.1 + 0.2, 5e-324, math.nan, math.inf, -math.inf]


@contextmanager
def opened(server: PostgresServer) -> Iterator[RDBStorage]:
    storage = RDBStorage(server.url)
    yield storage
    storage.remove_session()
    storage.engine.dispose()


def test_a_study_is_kept_exactly(postgres: PostgresServer) -> None:
    with opened(postgres) as storage:
        study = optuna.create_study(study_name="extremes", storage=storage)
        trial = study.ask()
        trial.suggest_float("tiny", 1e-300, 1, log=True)
        for step, value in enumerate(EXTREMES):
            trial.report(value, step)
        study.tell(trial, 0.1 + 0.2)
        params = study.trials[0].params
    with opened(postgres) as storage:
        (read,) = optuna.load_study(study_name="extremes", storage=storage).trials
    values = [read.intermediate_values[step] for step in range(len(EXTREMES))]
    assert list(map(repr, values)) == list(map(repr, EXTREMES))
    assert (read.value, read.params) == (0.1 + 0.2, params)


def test_it_can_be_lost_and_come_back(postgres: PostgresServer) -> None:
    url = make_url(postgres.url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as before:
        before.execute("CREATE TABLE kept AS SELECT 7 AS number")
        postgres.stop()
        with pytest.raises(psycopg.OperationalError):
            before.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError, match="refused"):
            psycopg.connect(url)
        postgres.start()
    with psycopg.connect(url) as after:
        assert after.execute("SELECT number FROM kept").fetchone() == (7,)


def test_nobody_enters_without_the_password(postgres: PostgresServer) -> None:
    wrong = make_url(postgres.url).set(drivername="postgresql", password="wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong.render_as_string(hide_password=False))
