"""The tests' PostgreSQL keeps rows, asks for the password, and leaves nothing behind."""

from __future__ import annotations

import psycopg2
import pytest

from tests.servers.postgres import PostgreSQL
from tests.servers.process import is_open


def test_rows_come_back(postgres):
    connection = psycopg2.connect(postgres.url(postgres.new_database(), driver="postgresql"))
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE t AS SELECT n AS id, n / 2.0 AS half FROM generate_series(1, 100) n")
    cursor.execute("SELECT count(*), sum(half) FROM t")
    assert cursor.fetchone() == (100, 2525)
    connection.close()


def test_wrong_password_is_refused(postgres):
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(host=postgres.host, port=postgres.port, user=postgres.login, password="x", dbname="postgres")


def test_stop_leaves_nothing(tmp_path):
    with PostgreSQL(tmp_path) as server:
        data = server._data
        assert is_open(server.port)
    assert not is_open(server.port)
    assert not data.exists()
