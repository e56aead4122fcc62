"""The MariaDB of the tests: it starts empty, keeps what was committed, and is itself again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mariadb import MariaDB, MariaDBUnavailable, program


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    with MariaDB(tmp_path_factory.mktemp("mariadb")) as server:
        yield server


def test_it_starts_with_an_empty_database(db: MariaDB) -> None:
    assert db.sql("SHOW TABLES") == []
    assert db.sql("SELECT DATABASE(), @@character_set_database") == [["barto", "utf8mb4"]]


def test_it_listens_on_loopback_alone(db: MariaDB) -> None:
    assert db.sql("SELECT @@bind_address, @@port") == [["127.0.0.1", str(db.port)]]


def test_its_user_may_do_everything_in_its_databases_and_nothing_else(db: MariaDB) -> None:
    grants = [row[0] for row in db.sql(f"SHOW GRANTS FOR '{db.user}'@'%'")]
    assert grants[0].startswith("GRANT USAGE ON *.*")
    assert grants[1:] == ["GRANT ALL PRIVILEGES ON `barto%`.* TO `barto`@`%`"]


def test_what_was_committed_is_there_after_a_kill(db: MariaDB) -> None:
    port = db.port
    db.sql("CREATE TABLE kept (n INT PRIMARY KEY); INSERT INTO kept VALUES (42)")
    db.kill()
    assert not db.is_running()
    db.start()
    assert db.port == port
    assert db.sql("SELECT n FROM kept") == [["42"]]


def test_it_stops_and_starts_again(db: MariaDB) -> None:
    db.stop()
    assert not db.is_running()
    db.start()
    assert db.sql("SELECT 1") == [["1"]]


def test_a_missing_program_says_what_to_install() -> None:
    with pytest.raises(MariaDBUnavailable, match=r"apt-get install .*mariadb-server"):
        program("mariadbd-of-another-planet")


def test_the_data_is_gone_afterwards(tmp_path: Path) -> None:
    with MariaDB(tmp_path) as server:
        assert (tmp_path / "data").is_dir()
        assert server.is_running()
    assert not server.is_running()
    assert not (tmp_path / "data").exists()
