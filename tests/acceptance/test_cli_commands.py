"""barto-cli over real sockets against the server's faces: what it prints, and how it ends."""

from __future__ import annotations

import asyncio
import csv
import fcntl
import json
import os
import pty
import socket
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from barto_cli import app
from bartos.store.port import QueryResult
from libbarto import tls
from libbarto.clock import SystemClock
from libbarto.message.v2.record import Verdict
from tests.faces import ERR, KEY, MARKER, NOON, OUT, SECOND, Barto
from tests.served import on_loopback, on_unix_socket

MINUTE = 60 * SECOND
DAY = 86_400 * SECOND


class Cli:
    """barto-cli in this process, with a configuration of its own."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[bytes]) -> None:
        self.config = directory / "barto-cli.toml"
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, bytes, str]:
        """The exit code, what went to stdout, and what went to stderr."""
        self._capsys.readouterr()
        code = app.main(["-c", str(self.config), "--utc", *arguments])
        out, err = self._capsys.readouterr()
        return code, out, err.decode()

    def table(self, *arguments: str) -> list[list[str]]:
        """The words of each line of a table."""
        code, out, err = self(*arguments)
        assert code == 0, err
        return [line.split() for line in out.decode().splitlines()]


@pytest.fixture
def barto() -> Barto:
    return Barto()


@pytest.fixture
def cli(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> Cli:
    for name in list(os.environ):
        if name.startswith("BARTO"):
            monkeypatch.delenv(name)
    return Cli(tmp_path, capsysbinary)


@pytest.fixture
def local(barto: Barto, cli: Cli, tmp_path: Path) -> Iterator[Cli]:
    """barto-cli on the server's host."""
    path = tmp_path / "bartos.sock"
    cli.config.write_text(f'[bartos]\nsocket = "{path}"\n')
    with on_unix_socket(barto, path):
        yield cli


def ran(barto: Barto, *args: object, **more: object) -> str:
    return asyncio.run(barto.run(*args, **more))  # type: ignore[arg-type]  # as `run` has them


# -- the history ----------------------------------------------------------------------------------


def test_runs_tells_when_where_what_how_and_how_long(barto: Barto, local: Cli) -> None:
    run = ran(barto, "web1", "backup", NOON, seconds=90.5)
    ran(barto, "web2", "sync", NOON + MINUTE, verdict=Verdict.FAILED, codes=(77,))
    ran(barto, "web2", "kill", NOON + 2 * MINUTE, verdict=Verdict.TIMED_OUT, codes=("9",))
    ran(barto, "web2", "slow", NOON + 3 * MINUTE, verdict=None)
    asyncio.run(
        barto.did_not_run("nas", "backup", NOON - 3 * MINUTE, NOON - MINUTE, 3, "worker was away")
    )
    code, out, _ = local("runs")
    lines = out.decode().splitlines()
    assert code == 0
    assert lines[0].split()[:6] == ["WHEN", "(UTC)", "WORKER", "SCHEDULE", "VERDICT", "TOOK"]
    assert "web2    slow      running" in lines[1]
    assert "timed out, SIGKILL" in lines[2]
    assert "failed, exit 77" in lines[3]
    assert lines[4].startswith("Tue 24 Nov 12:00:00")
    assert "1m30s" in lines[4]
    assert run.startswith(lines[4].split()[-1].replace("-", ""))
    assert lines[5].startswith("Tue 24 Nov 11:59:00")
    assert "missed 3 times since Tue 24 Nov 11:57:00: worker was away" in lines[5]


def test_runs_can_be_filtered(barto: Barto, local: Cli) -> None:
    ran(barto, "web1", "backup", NOON)
    ran(barto, "web1", "sync", NOON + MINUTE, verdict=Verdict.FAILED, codes=(1,))
    ran(barto, "web2", "sync", NOON + 2 * MINUTE)
    asyncio.run(barto.did_not_run("web3", "sync", NOON, NOON, 1, ""))

    def workers(*filters: str) -> list[str]:
        _, out, _ = local("runs", "-o", "jsonl", *filters)
        return [json.loads(line)["worker"] for line in out.splitlines()]

    assert workers() == ["web2", "web1", "web1", "web3"]
    assert workers("--worker", "web1", "--schedule", "sync") == ["web1"]
    assert workers("--verdict", "failed", "--verdict", "missed") == ["web1", "web3"]
    assert workers("--since", "2026-11-24 12:01:30") == ["web2"]
    assert workers("--until", "2026-11-24T12:00:30Z") == ["web1", "web3"]
    assert workers("--running") == []
    assert workers("-n", "2") == ["web2", "web1"]


def test_more_runs_than_a_page_are_fetched(barto: Barto, local: Cli) -> None:
    async def many() -> None:
        for number in range(1100):
            await barto.run("web1", "tick", NOON + number * SECOND)

    asyncio.run(many())
    _, out, _ = local("runs", "-n", "1050", "-o", "csv")
    rows = list(csv.DictReader(out.decode().splitlines()))
    assert len({row["id"] for row in rows}) == 1050


def test_show_tells_every_step(barto: Barto, local: Cli) -> None:
    run = ran(barto, "web1", "two", NOON, verdict=Verdict.FAILED, codes=(0, "15"), reason="why")
    _, out, _ = local("show", run[:18])
    text = out.decode()
    assert "failed, SIGTERM: why" in text
    assert "exit 0" in text
    assert "step 1" in text
    _, out, _ = local("show", "@last", "-o", "json")
    assert json.loads(out)[0]["steps"][1]["signal"] == 15


def test_logs_are_the_very_bytes_in_a_pipe(barto: Barto, local: Cli) -> None:
    printed = [(OUT, bytes(range(256))), (ERR, b"\x1b[31mbad\n"), (OUT, b"no newline")]
    ran(barto, "web1", "odd", NOON, printed)
    whole = b"".join(data for _, data in printed)
    assert local("logs", "@last") == (0, whole, "")
    assert local("logs", "@last", "--stderr-only")[1] == b"\x1b[31mbad\n"
    assert local("logs", "@last", "--stdout-only")[1] == bytes(range(256)) + b"no newline"
    assert local("logs", "@last", "--stdout-only", "--stderr-only")[0] == 2


def test_logs_say_beside_the_output_what_is_missing(barto: Barto, local: Cli) -> None:
    going = ran(barto, "web1", "going", NOON, [(OUT, b"a\n")], verdict=None)
    cut = ran(barto, "web1", "cut", NOON, [(OUT, b"a\n"), (MARKER, b"[..]\n")], cut_bytes=5000)
    behind = ran(barto, "web1", "behind", NOON, [(OUT, b"a\n")], whole=False)
    code, out, err = local("logs", going)
    assert (code, out) == (0, b"a\n")
    assert "it still runs" in err
    code, out, err = local("logs", cut)
    assert (code, out) == (0, b"a\n[..]\n")
    assert "5000 bytes" in err
    assert "not all that it printed is here" in local("logs", behind)[2]
    assert local("-q", "logs", behind)[2] == ""


def test_logs_as_json_tell_stream_and_time(barto: Barto, local: Cli) -> None:
    ran(barto, "web1", "mixed", NOON, [(OUT, b"one\n"), (ERR, b"two\n")] * 20)
    _, out, _ = local("logs", "@last", "-o", "jsonl", "--stderr-only")
    told = [json.loads(line) for line in out.splitlines()]
    assert [one["text"] for one in told] == ["two\n"] * 20
    assert told[0]["at"] == "2026-11-24T12:00:00.002000Z"


def test_a_beginning_that_fits_several_runs_lists_them(barto: Barto, local: Cli) -> None:
    ran(barto, "web1", "a", NOON)
    ran(barto, "web2", "a", NOON)
    code, out, err = local("logs", "01")
    assert (code, out) == (2, b"")
    assert "a on web1" in err
    assert "a on web2" in err


@pytest.mark.parametrize("name", ["ffff", "@last", "no/such?run", "@nonsense"])
def test_a_run_that_is_not_there_ends_with_5(local: Cli, name: str) -> None:
    for command in ("logs", "show"):
        code, out, err = local(command, name)
        assert (code, out) == (5, b"")
        assert err.count("\n") == 1


# -- the commands of barto 1.x --------------------------------------------------------------------


def test_list_separates_runs_and_tells_how_each_ended(barto: Barto, local: Cli) -> None:
    ran(barto, "web1", "backup", NOON, [(OUT, b"fine\n"), (ERR, b"hm\x1b[0m\n")])
    ran(barto, "web1", "backup", NOON + MINUTE, verdict=Verdict.FAILED, codes=("9",))
    _, out, _ = local("list", "-n", "web1", "-c", "backup")
    lines = out.decode().splitlines()
    assert lines[0] == "times in UTC"
    assert lines[2].startswith("-- Tue 24 Nov 12:00:00  ok  2s  01")
    assert lines[3:5] == ["  fine", "! hm\\x1b[0m"]
    assert lines[6].startswith("-- Tue 24 Nov 12:01:00  failed, SIGKILL  2s  01")
    assert local.table("list", "-n", "web1") == [["SCHEDULE"], ["backup"]]


def test_cmd_goes_worker_by_worker(barto: Barto, local: Cli) -> None:
    ran(barto, "web2", "sync", NOON, [(OUT, b"two\n")])
    ran(barto, "web1", "sync", NOON, [(OUT, b"one\n")])
    _, out, _ = local("cmd", "sync")
    text = out.decode()
    assert text.index("== web1 ==") < text.index("  one") < text.index("== web2 ==")


def test_failed_has_a_line_a_run_with_its_code(barto: Barto, local: Cli) -> None:
    ran(barto, "web1", "bad", NOON, [(OUT, b"x\n" * 50)], verdict=Verdict.FAILED, codes=(3,))
    lines = local.table("failed")
    assert len(lines) == 2
    assert "3" in lines[1]
    ran(barto, "web1", "good", NOON)
    assert len(local.table("failed")) == 2


def test_clients_and_their_versions(barto: Barto, local: Cli) -> None:
    assert "worker add" in local("clients")[2]
    asyncio.run(barto.worker("web1"))
    asyncio.run(barto.worker("web2", connected=False))
    assert [line[:2] for line in local.table("clients")] == [
        ["WORKER", "STATE"],
        ["web1", "connected"],
        ["web2", "away"],
    ]
    assert local.table("clients", "--versions") == [
        ["WORKER", "VERSION"],
        ["web1", "2.0.1"],
        ["web2", "2.0.0"],
    ]
    assert [line[:2] for line in local.table("worker", "list")[1:]] == [
        ["web1", "connected"],
        ["web2", "away"],
    ]
    _, out, _ = local("worker", "list", "-o", "json")
    assert json.loads(out)[0]["clock_offset_seconds"] == 0.0015


def test_worker_add_prints_the_line_to_type_and_nothing_else(local: Cli) -> None:
    code, out, _ = local("worker", "add", "web1", "--label", "role=db")
    assert (code, out) == (0, b"bartoc join https://barto.test:21526 code-web1-role.db\n")
    assert local("worker", "add", "web1", "--label", "role")[0] == 2
    assert local("worker", "add", "web 1")[0] == 2


def test_info_tells_both_sides(local: Cli) -> None:
    _, out, _ = local("info")
    assert "Store (server): sqlite barto.db" in out.decode()
    told = json.loads(local("info", "-j")[1])
    assert told["build_version"] == told["client_build_version"]
    assert told["client_configuration"] == str(local.config)
    assert KEY not in out.decode()


def test_info_tells_the_client_where_there_is_no_server(cli: Cli, tmp_path: Path) -> None:
    cli.config.write_text(f'[bartos]\nsocket = "{tmp_path / "nothing"}"\n')
    code, out, err = cli("info")
    assert code == 3
    assert b"Version (client build)" in out
    assert "no server runs on this host" in err


def test_query_shows_every_column(barto: Barto, local: Cli) -> None:
    rows = ((1, None, "x\x1b[31m", b"\xff"), (-2, 2.5, "ä", b"b"))
    barto.store.results["SELECT 1"] = QueryResult(("id", "id", "t", "b"), rows, truncated=False)
    assert local.table("query", "-q", "SELECT 1") == [
        ["id", "id_2", "t", "b"],
        ["1", "NULL", "x\\x1b[31m", "\\xff"],
        ["-2", "2.5", "ä", "b"],
    ]
    _, out, _ = local("query", "-q", "SELECT 1", "-o", "json")
    assert json.loads(out)[0] == {"id": 1, "id_2": None, "t": "x\x1b[31m", "b": {"base64": "/w=="}}
    code, out, err = local("query", "-q", "DROP")
    assert (code, out, "no such query" in err) == (2, b"", True)


def test_a_large_answer_comes_whole(barto: Barto, local: Cli) -> None:
    rows = (*((number, "x" * 1000) for number in range(5000)), (-1, "y" * 1_000_000))
    barto.store.results["ALL"] = QueryResult(("n", "t"), rows, truncated=False)
    code, out, _ = local("query", "-q", "ALL", "-o", "jsonl")
    told = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(one["n"], one["t"]) for one in told] == list(rows)


def test_cleanup_alone_asks_nobody(barto: Barto, local: Cli) -> None:
    code, out, _ = local("cleanup")
    assert (code, out.startswith(b"1 run, 5 chunks of output (1000 B)")) == (0, True)
    assert [dry for _, dry in barto.store.pruned] == [False]


def test_cleanup_by_age_needs_a_yes_where_nobody_can_be_asked(
    barto: Barto, local: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115, PTH123 (pytest puts it back)
    code, out, err = local("cleanup", "--older-than", "7d")
    assert (code, out, "--yes" in err) == (2, b"", True)
    assert [dry for _, dry in barto.store.pruned] == [True]
    code, out, _ = local("cleanup", "--older-than", "7d", "--yes")
    assert (code, b"were dropped" in out) == (0, True)
    assert local("cleanup", "--older-than", "7d", "--dry-run", "-o", "json")[0] == 0
    assert [dry for _, dry in barto.store.pruned] == [True, False, True]
    assert local("cleanup", "--older-than", "a while")[0] == 2


def test_updates_lists_what_the_newest_check_named(barto: Barto, local: Cli) -> None:
    recorded = Path(__file__).parent.parent / "vectors" / "updates" / "garuda.txt"
    ran(barto, "web1", "updates", NOON, [(OUT, recorded.read_bytes())])
    code, out, err = local("updates", "-n", "web1", "-u", "garuda")
    lines = out.decode().splitlines()
    assert code == 0
    assert lines[1].split() == [
        "brave-bin",
        "chaotic-aur",
        "1:1.71.118-1",
        "1:1.71.121-1",
        "71.7",
        "KiB",
        "117.3",
        "MiB",
    ]
    assert "6 packages" in err
    assert "-3.3 MiB net" in err
    assert local("updates", "-n", "web1", "-u", "brew")[0] == 2
    assert local("updates", "-n", "web1", "-u", "apt")[0] == 5


# -- other ways, and ways that fail ---------------------------------------------------------------


@pytest.fixture
def certified(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A CA, and a certificate with its key for 127.0.0.1."""
    now = SystemClock().now()
    ca = tls.create_ca("test", now=now, serial=1)
    host = tls.issue_server_certificate(ca, ["localhost"], ["127.0.0.1"], now=now, serial=2)
    files = tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem"
    for file, content in zip(files, (ca.pem, host.pem, host.key), strict=True):
        file.write_bytes(content)
    return files


def test_from_another_host_it_goes_over_tls_with_the_key(
    barto: Barto, cli: Cli, certified: tuple[Path, Path, Path]
) -> None:
    ca, cert, key = certified
    ran(barto, "web1", "backup", NOON)
    with on_loopback(barto, cert, key) as port:
        address = f'[bartos]\nurl = "https://127.0.0.1:{port}"\nca_cert = "{ca}"\n'
        cli.config.write_text(f'{address}api_key = "{KEY}"\n')
        assert len(cli.table("runs")) == 2
        assert len(cli.table("clients")) == 2

        cli.config.write_text(f'{address}api_key = "wrong"\n')
        for command in ("runs", "clients"):
            code, out, err = cli(command)
            assert (code, out) == (4, b"")
            assert f"api_key in {cli.config}) is wrong" in err
            assert "wrong\n" not in err

        cli.config.write_text(address)
        assert "is not given" in cli("runs")[2]


def test_a_server_of_another_ca_is_not_spoken_to(
    barto: Barto, cli: Cli, certified: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    _, cert, key = certified
    other = tmp_path / "other.pem"
    now = SystemClock().now()
    other.write_bytes(tls.create_ca("other", now=now, serial=3).pem)
    with on_loopback(barto, cert, key) as port:
        cli.config.write_text(
            f'[bartos]\nurl = "https://127.0.0.1:{port}"\nca_cert = "{other}"\napi_key = "{KEY}"\n'
        )
        for command in ("runs", "clients"):
            code, _, err = cli(command)
            assert code == 3
            assert f"certificate of the CA in {other}" in err
        cli.config.write_text(
            f'[bartos]\nurl = "https://127.0.0.1:{port}"\nca_cert = "{tmp_path / "none.pem"}"\n'
        )
        assert cli("runs")[0] == 2


def test_a_server_that_is_not_there_is_told_in_one_line(cli: Cli) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        cli.config.write_text(f'[bartos]\nurl = "http://127.0.0.1:{port}"\napi_key = "k"\n')
        for command in ("runs", "clients"):
            code, out, err = cli(command)
            assert (code, out) == (3, b"")
            assert err.startswith(f"barto-cli: cannot reach the server at http://127.0.0.1:{port}")
            assert err.count("\n") == 1


@contextmanager
def a_server_that_says(cli: Cli, answer: bytes, times: int) -> Iterator[None]:
    """Something that listens where the server should be, and says `answer` to each of `times`."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(times):
                link, _ = server.accept()
                with link:
                    link.recv(4096)
                    link.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        cli.config.write_text(f'[bartos]\nurl = "http://127.0.0.1:{server.getsockname()[1]}"\n')
        yield
        thread.join(10)


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"", b"HTTP/1.1 200 OK\r\n\r\nhi"])
def test_what_is_no_bartos_is_told(cli: Cli, answer: bytes) -> None:
    with a_server_that_says(cli, answer, 2):
        for command in ("runs", "clients"):
            code, out, err = cli(command)
            assert (code, out) == (3, b"")
            assert err.count("\n") == 1


def test_a_server_that_goes_away_in_the_middle_is_told(cli: Cli) -> None:
    half = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nhalf a\r\n"
    with a_server_that_says(cli, half, 1):
        code, out, err = cli("logs", "@last")
    assert (code, out) == (3, b"half a")
    assert "went away" in err


def test_a_store_that_is_away_ends_with_3(barto: Barto, local: Cli) -> None:
    barto.store.available = False
    for command in (["runs"], ["logs", "@last"], ["clients"], ["failed"]):
        code, out, err = local(*command)
        assert (code, out) == (3, b"")
        assert "database does not answer" in err


def test_usage_is_told_with_2_and_where_help_is(local: Cli) -> None:
    for wrong in (["rnus"], ["runs", "--nonsense"], ["list"], ["runs", "-o", "xml"], ["-v", "-q"]):
        code, out, err = local(*wrong)
        assert (code, out) == (2, b"")
        assert "--help" in err
    code, _, err = local("runs", "--since", "soon")
    assert (code, "is not a time" in err) == (2, True)
    code, _, err = local("runs", "--verdict", "faild")
    assert (code, "did you mean failed" in err) == (2, True)


def test_a_configuration_that_is_wrong_ends_with_2(cli: Cli) -> None:
    cli.config.write_text("[bartos]\nurll = 'x'\n")
    code, _, err = cli("runs")
    assert code == 2
    assert "barto-cli.toml:2" in err
    assert "url" in err


def test_the_flags_of_barto_1_are_taken(local: Cli) -> None:
    assert local("-v", "-e", "-t", "/tmp/log", "clients")[0] == 0
    assert local("-qq", "clients")[2] == ""
    code, out, _ = local("--version")
    assert (code, out.startswith(b"barto-cli 2.")) == (0, True)


# -- as a process ---------------------------------------------------------------------------------

PROGRAM = [sys.executable, "-m", "barto_cli.app"]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BARTO")}
    return {**kept, "TZ": "UTC", "TERM": "xterm-256color"}


def on_a_terminal(arguments: list[str], width: int, **more: str) -> str:
    """What the program writes to a terminal of `width` columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    child = {k: v for k, v in environment().items() if k not in {"COLUMNS", "LINES", "NO_COLOR"}}
    with subprocess.Popen(
        [*PROGRAM, *arguments], stdin=slave, stdout=slave, stderr=slave, env={**child, **more}
    ) as program:
        os.close(slave)
        written = bytearray()
        while True:
            try:
                piece = os.read(master, 4096)
            except OSError:  # Linux's way to tell that the other end is closed
                break
            if not piece:
                break
            written += piece
        assert program.wait(30) == 0, written
    os.close(master)
    return written.decode(errors="replace").replace("\r\n", "\n")


def test_on_a_terminal_output_can_do_nothing_and_tables_fit(barto: Barto, local: Cli) -> None:
    harmful = b"\x1b]0;title\x07\x1b[2J\x9b31m \xc2\x9b31m \xe2\x80\xae a\rb\n"
    ran(
        barto,
        "web1",
        "a-schedule-with-a-long-name",
        NOON,
        [(OUT, harmful)] * 2,
        verdict=Verdict.FAILED,
        codes=(1,),
        reason="because of something that is long to tell",
    )
    config = ["-c", str(local.config)]
    shown = on_a_terminal([*config, "logs", "@last"], 80)
    assert shown == ("\\x1b]0;title\\x07\\x1b[2J\\x9b31m \\x9b31m \\u202e a\\x0db\n" * 2)
    raw = on_a_terminal([*config, "logs", "@last", "--raw"], 80)
    assert "\x1b]0;title" in raw
    coloured = on_a_terminal([*config, "runs"], 90)
    assert "\x1b[31mfailed" in coloured
    plain = on_a_terminal([*config, "runs"], 90, NO_COLOR="1")
    assert "\x1b" not in plain
    assert max(map(len, plain.splitlines())) == 90
    assert "…" in plain


def test_a_reader_that_leaves_is_no_error(barto: Barto, local: Cli) -> None:
    ran(barto, "web1", "long", NOON, [(OUT, b"x" * 30_000 + b"\n")] * 200)
    arguments = [*PROGRAM, "-c", str(local.config), "logs", "@last"]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        assert program.stdout.read(1) == b"x"
        program.stdout.close()
        assert program.stderr.read() == b""
        assert program.wait(30) == 0
