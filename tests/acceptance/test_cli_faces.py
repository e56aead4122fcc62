"""The command line as people use it: status, timers, logs of many hosts, and what is live."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import pytest

from barto_cli import app
from libbarto.message.v2.record import Verdict
from tests.faces import ERR, NOON, OUT, SECOND, Barto
from tests.served import on_unix_socket

MINUTE = 60 * SECOND
PROGRAM = [sys.executable, "-m", "barto_cli.app"]


class Cli:
    """barto-cli against one server, which all tests here share."""

    def __init__(self, barto: Barto, directory: Path) -> None:
        self.barto = barto
        self.config = directory / "barto-cli.toml"
        self.capture: pytest.CaptureFixture[str] | None = None

    def __call__(self, *arguments: str) -> tuple[int, list[str], str]:
        """The exit code, the lines that went to stdout, and what went to stderr."""
        assert self.capture is not None
        self.capture.readouterr()
        code = app.main(["-c", str(self.config), "--utc", *arguments])
        out, err = self.capture.readouterr()
        return code, out.splitlines(), err

    def ran(self, *args: object, **more: object) -> str:
        """Let something have run."""
        return asyncio.run(self.barto.run(*args, **more))  # type: ignore[arg-type]  # as given

    def process(self, *arguments: str) -> list[str]:
        """How it is started as a process."""
        return [*PROGRAM, "-c", str(self.config), "--utc", *arguments]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    directory = tmp_path_factory.mktemp("faces")
    barto = Barto()
    path = directory / "bartos.sock"
    found = Cli(barto, directory)
    found.config.write_text(f'[bartos]\nsocket = "{path}"\n')
    with on_unix_socket(barto, path):
        yield found


@pytest.fixture
def cli(shared: Cli, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("TERM", "dumb")
    shared.capture = capsys
    return shared


# -- what is, and what comes ----------------------------------------------------------------------


def test_the_status_is_one_screen_and_json_for_programs(cli: Cli) -> None:
    asyncio.run(cli.barto.takes_on("web1", "tick"))
    code, lines, _ = cli("status")
    assert code == 0
    assert "times in UTC" in lines[0]
    code, lines, _ = cli("status", "-o", "json")
    assert (code, json.loads("\n".join(lines))["workers"]) == (0, 1)


def test_timers_say_when_or_why_not(cli: Cli) -> None:
    code, lines, err = cli("timers", "--all")
    assert code == 0
    assert lines == [] or lines[0].startswith("NEXT (UTC)")
    code, lines, err = cli("timers", "tik")
    assert (code, lines) == (5, [])
    assert 'no schedule is called "tik"; did you mean tick?' in err
    code, lines, _ = cli("timers", "-o", "csv")
    assert lines[0].startswith("next,left_seconds,last,passed_seconds,state,schedule,worker")


# -- logs -----------------------------------------------------------------------------------------


def test_lines_of_many_hosts_come_by_time_with_their_host(cli: Cli) -> None:
    for number, worker in enumerate(("web1", "web22", "db")):
        printed = [(OUT, b"begin\n"), (ERR, f"warn {number}\n".encode()), (OUT, b"end")]
        cli.ran(worker, "many", NOON + number * 400, printed)
    cli.ran("db", "many", NOON - MINUTE, [(OUT, b"of the run before\n")])
    code, lines, _ = cli("logs", "many")
    assert code == 0
    assert lines[1:4] == ["web22 | begin", "db    | begin", "web1  ! warn 0"]
    assert len(lines) == 9
    assert cli("logs", "many", "-n", "2")[1] == ["web22 | end", "db    | end"]
    assert cli("logs", "many", "--worker", "db", "--stderr-only")[1] == ["warn 2"]
    assert cli("logs", "many", "--grep", "w.rn [02]")[1] == ["web1  ! warn 0", "db    ! warn 2"]
    _, lines, _ = cli("logs", "many", "--since", "2026-11-24 11:58", "-t")
    assert lines[0] == "db    | Tue 24 Nov 11:59:00.001  of the run before"
    _, lines, _ = cli("logs", "many", "-o", "jsonl")
    assert [json.loads(line)["worker"] for line in lines[:2]] == ["web1", "web22"]


def test_what_cannot_be_found_is_told(cli: Cli) -> None:
    cli.ran("web1", "known", NOON, [(OUT, b"x\n")])
    code, lines, err = cli("logs", "unknown")
    assert (code, lines) == (5, [])
    assert 'neither a run nor a schedule is called "unknown"' in err
    code, _, err = cli("logs", "known", "--grep", "a(b")
    assert (code, err.splitlines()[1:]) == (2, ["    a(b", "     ^"])
    code, _, err = cli("logs", "known", "-b", "-f")
    assert (code, "-b compares" in err) == (2, True)


def test_hosts_that_printed_the_same_are_folded(cli: Cli) -> None:
    for number in range(7):
        cli.ran(f"host{number}", "same", NOON, [(OUT, b"one\ntwo\n")])
    cli.ran("odd", "same", NOON, [(OUT, b"one\n2\n")])
    cli.ran("bad", "same", NOON, [(OUT, b"one\ntwo\n")], verdict=Verdict.FAILED, codes=(3,))
    code, lines, _ = cli("logs", "same", "-b")
    assert code == 0
    assert lines[0] == "7 hosts the same, 2 differ"
    assert lines[2:5] == [
        "== host0, host1, host2, host3, host4 and 2 more (7 hosts): ok",
        "one",
        "two",
    ]
    told = "\n".join(lines)
    assert "== bad: failed, exit 3\n(it printed the same)" in told
    assert "\n-two\n+2" in told
    _, lines, _ = cli("logs", "same", "-b", "-o", "jsonl")
    assert [json.loads(line)["hosts"] for line in lines] == [7, 1, 1]
    _, lines, _ = cli("logs", "same", "-b", "--worker", "odd")
    assert lines[0] == "1 host"


def until(stream: IO[bytes], words: bytes) -> list[bytes]:
    """Lines up to the one with `words`."""
    lines = []
    for line in stream:
        lines.append(line.rstrip())
        if words in line:
            return lines
    raise AssertionError(lines)


def test_a_run_that_starts_while_one_follows_joins_in(cli: Cli) -> None:
    for before in (2, 1, 0):
        cli.ran("web1", "joined", NOON - before * MINUTE, [(OUT, b"first\n")])
    with subprocess.Popen(
        cli.process("logs", "joined", "-f"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        assert until(program.stdout, b"first") == [b"web1 | first"]
        cli.ran("web2", "joined", NOON + MINUTE, [(OUT, b"second\n")])
        assert until(program.stdout, b"second") == [b"web2 | second"]
        said = until(program.stderr, b"web2: ok after 2s")
        assert said[0].startswith(b"web2: started")
        program.send_signal(signal.SIGINT)
        assert program.wait(10) == 130
        assert b"Traceback" not in program.stderr.read()


# -- live -----------------------------------------------------------------------------------------


@contextmanager
def telling(events: bytes, directory: Path) -> Iterator[Path]:
    """A server that tells `events` to the first who asks, and then goes away."""
    path = directory / "teller.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            link, _ = server.accept()
            with link:
                link.recv(4096)
                head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
                link.sendall(head + events)
            path.unlink()

        thread = threading.Thread(target=serve)
        thread.start()
        config = directory / "teller.toml"
        config.write_text(f'[bartos]\nsocket = "{path}"\n')
        yield config
        thread.join(10)


def test_in_a_pipe_watch_has_a_line_for_each_event_and_outlives_the_server(tmp_path: Path) -> None:
    pauses = b'event: pauses\ndata: {"schedules": ["backup"]}\n\n'
    with telling(b"id: 1\n: hi\n\n" + pauses, tmp_path) as config:
        command = [*PROGRAM, "-c", str(config), "watch", "-o", "jsonl"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
            assert program.stdout is not None
            assert program.stderr is not None
            told = until(program.stdout, b"pauses")
            assert json.loads(told[0]) == {"event": "pauses", "data": {"schedules": ["backup"]}}
            assert b"trying again" in until(program.stderr, b"trying again")[-1]
            program.send_signal(signal.SIGINT)
            assert program.wait(10) == 130


@pytest.mark.parametrize(("key", "code"), [(b"q", 0), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_on_a_terminal_watch_is_a_screen_that_gives_it_back(
    cli: Cli, key: bytes | signal.Signals, code: int
) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 70, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "LANG": "C.UTF-8"}
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        environment.pop(name, None)
    with subprocess.Popen(
        cli.process("watch"),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
    ) as program:
        os.close(slave)
        written = bytearray()
        while b"q ends" not in written:
            written += os.read(master, 4096)
        if isinstance(key, bytes):
            os.write(master, key)
        else:
            program.send_signal(key)
        with suppress(OSError):  # Linux tells so that the other end is closed
            while piece := os.read(master, 4096):
                written += piece
        assert program.wait(10) == code
    os.close(master)
    assert written.startswith(b"\x1b[?1049h")
    assert b"\x1b[?1049l" in written
    assert b"Traceback" not in written


# -- help -----------------------------------------------------------------------------------------


def test_help_explains_words_and_commands(cli: Cli) -> None:
    code, lines, _ = cli("help", "verdicts")
    assert code == 0
    assert any(line.startswith("missed") and "look" in line for line in lines)
    code, lines, _ = cli("help", "worker", "add")
    assert lines[0].endswith("worker add [OPTIONS] NAME")
    assert cli("help")[0] == 0
    code, _, err = cli("help", "verdict")
    assert (code, "did you mean verdicts?" in err) == (2, True)
