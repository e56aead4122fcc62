"""What a person gets wrong gives one clear message and its exit code, and loses nothing."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.fleet import BIN, Fleet, Process, schedule

USAGE, UNREACHABLE, REFUSED = 2, 3, 4
FOUND = 1  # the exit code of a check that found something

GOOD = schedule("good", "*", "daily", ["true"])
FAULTS = {
    "an unknown key": (
        'colour = "red"\n',
        ["{file}:5: colour: no such key"],
    ),
    "a misspelt key": (
        "[[schedule]]\nname = 'x'\nworkers = '*'\non_calendar = 'daily'\ncmds = ['true']\n"
        "timout = '2h'\n",
        ['{file}:10: schedule "x": timout: no such key; did you mean "timeout"?'],
    ),
    "a wrong type": (
        schedule("x", "*", "daily", ["true"], timeout=["2h"]),
        ['{file}:11: schedule "x": timeout: expected', "found a list"],
    ),
    "a calendar with an error": (
        schedule("x", "*", "Mon *-*-* 25:00", ["true"]),
        [
            '{file}:9: schedule "x": on_calendar: hour is 0 to 23, got 25\n'
            "    Mon *-*-* 25:00\n"
            "              ^^\n"
        ],
    ),
    "one name twice": (
        GOOD + GOOD,
        ['{file}:12: schedule "good": the name is taken: it stands at {file}:5 too'],
    ),
    "a selector with an error": (
        schedule("x", "os=debian and (role=web", "daily", ["true"]),
        ['{file}:7: schedule "x": workers: ', "\n    os=debian and (role=web\n", "^"],
    ),
    "a file that is not TOML": ('[[schedule]\nname = "x"\n', ["{file}:5: "]),
}


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """A server and a worker, which go on whatever others do wrong."""
    with Fleet() as fleet:
        fleet.start_server()
        fleet.join("vader")
        fleet.start_workers()
        yield fleet
        assert fleet.server.is_running()
        assert fleet.is_connected("vader")
        assert "Traceback" not in fleet.logs()


@pytest.fixture
def another() -> Iterator[Fleet]:
    """A server that is not started."""
    with Fleet() as fleet:
        yield fleet


def refused(done: subprocess.CompletedProcess[str], code: int) -> str:
    """What a program says that ends with `code`: on standard error alone, without a traceback."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


# -- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS)
def test_a_check_says_what_is_wrong_and_where(another: Fleet, fault: str) -> None:
    text, expected = FAULTS[fault]
    another.config.write_text(f'{another.settings}timezone = "UTC"\n\n{text}')
    done = another.says("check")
    assert done.returncode == FOUND, done.stderr
    for words in expected:
        assert words.format(file=another.config) in done.stdout
    assert done.stdout.splitlines()[-1].startswith("1 error, ")
    assert not another.state.exists()  # a check makes nothing


def test_a_first_start_with_a_faulty_schedule_says_so_and_ends(another: Fleet) -> None:
    another.config.write_text(another.settings + schedule("x", "*", "*-*-* 25:00", ["true"]))
    words = refused(another.says(), USAGE)
    assert f'{another.config}:7: schedule "x": on_calendar: hour is 0 to 23, got 25' in words


def test_a_start_with_a_misspelt_setting_says_so_and_ends(another: Fleet) -> None:
    another.config.write_text(f'lisen = "0.0.0.0"\n{another.settings}')
    words = refused(another.says(), USAGE)
    assert words == f'bartos: {another.config}:1: lisen: no such key; did you mean "listen"?\n'


def test_a_worker_with_a_misspelt_setting_says_so_and_ends(fleet: Fleet) -> None:
    vader = fleet.workers["vader"]
    file = fleet.directory / "misspelt.toml"
    file.write_text(vader.config.read_text().replace("ca_cert =", "ca_crt ="))
    done = fleet.run("bartoc", "--config", str(file))
    words = refused(done, USAGE)
    assert 'ca_crt: no such key; did you mean "ca_cert"?' in words


def test_a_file_that_was_named_and_is_not_there_is_no_empty_one(fleet: Fleet) -> None:
    for program, more in (("bartos", ()), ("bartoc", ()), ("barto-cli", ("runs",))):
        done = fleet.run(program, "-c", "/no/such/file.toml", *more)
        assert "/no/such/file.toml: there is no such file" in refused(done, USAGE)


# -- the server -----------------------------------------------------------------------------------


def client(fleet: Fleet, *lines: str) -> Path:
    file = fleet.directory / "elsewhere.toml"
    file.write_text("\n".join(["[bartos]", *lines, ""]))
    return file


def test_a_server_that_cannot_be_reached(another: Fleet) -> None:
    file = client(another, f'url = "{another.url}"', 'api_key = "x"')
    words = refused(another.run("barto-cli", "-c", str(file), "runs"), UNREACHABLE)
    assert words.startswith(f"barto-cli: cannot reach the server at {another.url}: ")
    done = another.run("barto-cli", "-c", str(another.directory / "barto-cli.toml"), "runs")
    assert str(another.state / "bartos.sock") in refused(done, UNREACHABLE)


def test_a_wrong_token(fleet: Fleet) -> None:
    ca = fleet.state / "ca.pem"
    file = client(fleet, f'url = "{fleet.url}"', f'ca_cert = "{ca}"', 'api_key = "another"')
    for command in ("runs", "clients"):  # one over HTTP, one over a websocket
        words = refused(fleet.run("barto-cli", "-c", str(file), command), REFUSED)
        assert words.startswith(f"barto-cli: the server at {fleet.url} refused: the key")


def test_a_worker_with_a_wrong_token_says_so_once_and_keeps_trying(fleet: Fleet) -> None:
    home = fleet.directory / "stranger"
    home.mkdir()
    (home / "key").write_text("another\n")
    vader = fleet.workers["vader"]
    text = vader.config.read_text().replace(str(vader.state / "api.key"), str(home / "key"))
    (home / "bartoc.toml").write_text(text)
    files = ("--config", str(home / "bartoc.toml"), "--state-dir", str(home / "state"))
    command = [str(BIN / "bartoc"), *files]
    stranger = Process(command, home / "bartoc.log", fleet.environment(home))
    stranger.start()
    why = "the server does not accept this token"
    fleet.until(lambda: why in stranger.log, "the stranger reads why it is not let in")
    assert stranger.is_running()
    assert stranger.ends(signal.SIGTERM) == 0
    assert stranger.log.count(why) == 1


def test_joining_with_a_code_of_another_server_is_refused(fleet: Fleet, another: Fleet) -> None:
    another.start_server()
    code = another.cli("worker", "add", "luke").stdout.split()[-1]
    file = fleet.directory / "luke.toml"
    done = fleet.run("bartoc", "-c", str(file), "join", fleet.url, code)
    assert "is not the server that made this code" in refused(done, USAGE)
    done = fleet.run("bartoc", "-c", str(file), "join", fleet.url, code[:-3])
    refused(done, USAGE)
    another.server.kill()
    done = fleet.run("bartoc", "-c", str(file), "join", another.url, code)
    assert "cannot be reached" in refused(done, UNREACHABLE)
    assert not file.exists()


def test_a_port_that_is_in_use(fleet: Fleet, another: Fleet) -> None:
    done = another.run("bartos", "-c", str(another.config), "--port", str(fleet.port))
    words = refused(done, USAGE)
    assert words.startswith(f"bartos: port {fleet.port} on 127.0.0.1 is in use")


# -- the state ------------------------------------------------------------------------------------


def test_a_state_directory_in_use(fleet: Fleet) -> None:
    words = refused(fleet.says(), USAGE)
    assert f"{fleet.state} is in use by another bartos (process {fleet.server.pid})" in words
    vader = fleet.workers["vader"]
    words = refused(vader.says(), USAGE)
    assert f"{vader.state} is in use by another bartoc (process {vader.pid})" in words


def test_a_state_directory_that_cannot_be_written(fleet: Fleet) -> None:
    file = fleet.directory / "a-file"
    file.write_text("in the place of a directory")
    port = ("--port", "0")
    vader = ("bartoc", "-c", str(fleet.workers["vader"].config))
    server = ("bartos", "-c", str(fleet.config), *port)
    for command in (server, vader):
        words = refused(fleet.run(*command, "--state-dir", str(file)), USAGE)
        assert words.startswith(f"{command[0]}: the state directory {file} cannot be written: ")
        assert words.count("\n") == 1
    assert file.read_text() == "in the place of a directory"


def test_a_database_that_is_newer_than_the_program(another: Fleet) -> None:
    another.start_server()
    another.server.ends(signal.SIGTERM)
    file = another.state / "barto.db"
    with sqlite3.connect(file) as database:
        assert database.execute("PRAGMA auto_vacuum").fetchone() == (2,)  # retention needs it
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    before = file.read_bytes()
    for command in ((), ("migrate",), ("migrate", "--check")):
        words = refused(another.says(*command), USAGE)
        assert f"{file}: the database is newer than this bartos (it is at 9999)" in words
    assert file.read_bytes() == before
