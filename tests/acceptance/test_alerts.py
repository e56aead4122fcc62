"""Alerts leave a real server: by HTTP, by mail and by a program, all on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it ships no types
import pytest

from bartos.alert_text import Around, compose
from bartos.channels import CommandChannel, MailChannel, WebhookChannel, letter
from bartos.outgoing import MailServer, Refused, Undelivered, fetch, mail, run_program
from bartos.store.alerts import AlertRow, Member
from libbarto.toml_text import toml_text
from tests.acceptance.fleet import Fleet

pytestmark = pytest.mark.real_loop

ROW = AlertRow(
    b"a" * 16, "failed", b"s" * 16, "backup", 0, 0,
    (Member("web1\r\nBcc: all@example.org", "failed\r\nX: y", 0, b"r" * 16),), 1,
)  # fmt: skip
MESSAGE = compose(ROW, Around("https://example.org/barto", 1, ["größer", "last line"]))


# -- sinks ----------------------------------------------------------------------------------------


@dataclass
class Web:
    """An HTTP server that keeps what is posted, and answers as the path says."""

    posted: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    url: str = ""

    @contextlib.contextmanager
    def running(self) -> Iterator[Web]:
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                web.posted.append((self.path, json.loads(body)))
                self.answer()

            def do_GET(self) -> None:
                web.fetched.append(self.path)
                self.answer()

            def answer(self) -> None:
                code = int(self.path.rpartition("/")[2]) if self.path[-3:].isdigit() else 200
                body = b"what it is about\x1b[31m" if code >= 400 else b"ok"
                if "echo" in self.path:
                    body = f"Cannot POST {self.path}, nor T0K3N-0123456789".encode()
                self.send_response(code)
                if 300 <= code < 400:
                    self.send_header("Location", "http://192.0.2.1/secret")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


@dataclass
class Post:
    """A mail server that takes letters, as far as RFC 5321 is needed for that."""

    refuse: bool = False
    answer: str = "250 taken"
    """What is said to a letter."""
    letters: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    port: int = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Post]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink\r\n")
        while line := await reader.readline():
            word = line[:4].upper()
            if word == b"RCPT" and self.refuse:
                writer.write(b"550 nobody here\r\n")
            elif word == b"RCPT":
                self.recipients.append(line.decode().strip())
                writer.write(b"250 ok\r\n")
            elif word == b"DATA":
                writer.write(b"354 go on\r\n")
                data = await reader.readuntil(b"\r\n.\r\n")
                found = message_from_bytes(data[:-5], policy=default)
                assert isinstance(found, EmailMessage)
                self.letters.append(found)
                writer.write(f"{self.answer}\r\n".encode())
            else:
                writer.write(b"250 ok\r\n")
        writer.close()

    @contextlib.contextmanager
    def in_thread(self) -> Iterator[Post]:
        ready, loop = threading.Event(), asyncio.new_event_loop()
        stop = asyncio.Event()

        async def life() -> None:
            async with self.running():
                ready.set()
                await stop.wait()

        thread = threading.Thread(target=loop.run_until_complete, args=(life(),))
        thread.start()
        assert ready.wait(10)
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()


@pytest.fixture
def web() -> Iterator[Web]:
    with Web().running() as running:
        yield running


def program(path: Path, text: str) -> list[str]:
    path.write_text(text)
    return [sys.executable, str(path)]


# -- the whole ------------------------------------------------------------------------------------


def test_a_server_sends_tests_and_heartbeats(web: Web) -> None:
    with Post().in_thread() as post, Fleet() as fleet:
        out = fleet.directory / "told.json"
        command = program(
            fleet.directory / "tell.py",
            "import json, os, sys\n"
            "said = json.load(sys.stdin)\n"
            "said['env'] = {k: v for k, v in os.environ.items()}\n"
            f"open({str(out)!r}, 'w').write(json.dumps(said))\n",
        )
        written = fleet.config.read_text()
        fleet.config.write_text(f'public_url = "https://ops.example/barto"\n{written}')
        with fleet.config.open("a") as file:
            file.write(
                f"\n[alerts]\ncommand = {toml_text(command)}\n"
                f'webhook = "{web.url}/hooks/s3cret"\nmail = "ops@example.org"\n'
                f'[alerts.smtp]\nhost = "127.0.0.1"\nport = {post.port}\n'
                f'[heartbeat]\nurl = "{web.url}/ping/s3cret"\n'
            )
        fleet.start_server()
        fleet.until(lambda: web.fetched, "a heartbeat")
        answer = fleet.cli("alerts", "test", "-o", "json")
        said = json.loads(answer.stdout)
        assert [(one["channel"], one["ok"]) for one in said["channels"]] == [
            ("command", True),
            ("webhook", True),
            ("mail", True),
        ]
        ((path, posted),) = web.posted
        assert (path, posted["event"]) == ("/hooks/s3cret", "test")
        assert posted["link"] == "https://ops.example/barto", "where browsers come, by the proxy"
        assert post.letters[0]["Subject"] == "[barto] a test of barto's alerts"
        told = json.loads(out.read_text())
        assert told["id"] == posted["id"] == told["env"]["BARTO_ALERT_ID"]
        assert not {name for name in told["env"] if name.startswith(("BARTOS_", "PYTEST"))}
        table = fleet.cli("alerts", "test", "--channel", "webhook")
        assert "sent" in table.stdout and "127.0.0.1" in table.stdout
        assert said["heartbeat"]["said"] == "200 OK"
        assert set(web.fetched) == {"/ping/s3cret"}
        assert "s3cret" not in answer.stdout + table.stdout + fleet.server.log


# -- each way -------------------------------------------------------------------------------------


async def test_a_webhook_takes_json(web: Web) -> None:
    channel = WebhookChannel(f"{web.url}/hook?key=s3cret")
    assert await channel.send(MESSAGE) == "200 OK"
    ((path, posted),) = web.posted
    assert path == "/hook?key=s3cret"
    assert posted == json.loads(json.dumps(MESSAGE.as_json()))
    assert "s3cret" not in channel.place


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/302", "it answers 302 Found: a redirect to 192.0.2.1, which is not followed"),
        ("/500", "it answers 500 Internal Server Error: what it is about"),
    ],
)
async def test_other_answers_are_told(web: Web, path: str, said: str) -> None:
    with pytest.raises(Undelivered) as caught:
        await fetch(f"{web.url}{path}")
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("status", "refused"),
    [(400, True), (404, True), (413, True), (408, False), (429, False), (302, False), (503, False)],
)
async def test_only_what_is_about_the_message_is_a_refusal_of_it(
    web: Web, status: int, refused: bool
) -> None:
    with pytest.raises(Undelivered) as caught:
        await WebhookChannel(f"{web.url}/{status}").send(MESSAGE)
    assert isinstance(caught.value, Refused) == refused


async def test_an_answer_that_says_the_address_again_tells_no_secret(web: Web) -> None:
    with pytest.raises(Undelivered) as caught:
        await fetch(f"{web.url}/echo?key=T0K3N-0123456789&x=/404")
    assert str(caught.value) == "it answers 404 Not Found: Cannot POST …, nor …"


async def test_an_answer_that_never_ends_holds_no_thread() -> None:
    over = asyncio.Event()

    async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n.")
        await reader.readuntil(b"\r\n\r\n")
        await reader.read()
        over.set()
        writer.close()

    server = await asyncio.start_server(dripping, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(Undelivered, match="no answer within"):
            await fetch(f"http://127.0.0.1:{port}/", patience=0.2)
        async with asyncio.timeout(5):
            await over.wait()


async def test_a_server_that_never_answers_ends_in_time() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(Undelivered, match="no answer within 0 s"):
            await fetch(f"http://127.0.0.1:{port}/", patience=0.2)
        with pytest.raises(Undelivered, match="no answer within"):
            await mail(
                MailServer("127.0.0.1", port, "none"),
                letter(MESSAGE, "barto@example.org", ["ops@example.org"]),
                patience=0.2,
            )
    with pytest.raises(Undelivered, match="refused"):
        await fetch(f"http://127.0.0.1:{port}/")


async def test_mail_has_no_header_that_others_wrote() -> None:
    async with Post().running() as post:
        server = MailServer("127.0.0.1", post.port, "none")
        to = ["ops@example.org", "ann@example.org"]
        channel = MailChannel(to, "barto@example.org", server)
        assert await channel.send(MESSAGE) == f"taken on by 127.0.0.1:{post.port}"
        (got,) = post.letters
        assert len(post.recipients) == 2
        assert (got["Bcc"], got["X"]) == (None, None)
        assert got["Subject"] == "[barto] backup failed on web1 Bcc: all@example.org"
        assert "    größer" in got.get_content()
        post.answer = "554 looks like spam"
        with pytest.raises(Refused, match="it answers 554 looks like spam"):
            await channel.send(MESSAGE)
        post.answer = "451 try later"
        with pytest.raises(Undelivered, match="it answers 451 try later") as later:
            await channel.send(MESSAGE)
        post.refuse = True
        with pytest.raises(Undelivered, match="the recipient was refused: nobody here") as nobody:
            await channel.send(MESSAGE)
        assert not any(isinstance(one.value, Refused) for one in (later, nobody))


async def test_sendmail_takes_the_letter_on_its_input(tmp_path: Path) -> None:
    out = tmp_path / "letter"
    script = tmp_path / "sendmail"
    script.write_text(f'#!/bin/sh\necho "$@" > {out}\ncat >> {out}\n')
    script.chmod(0o755)
    channel = MailChannel(["ops@example.org"], "barto@example.org", None, str(script))
    await channel.send(MESSAGE)
    first, *rest = out.read_text().splitlines()
    assert first == "-i -f barto@example.org -- ops@example.org"
    assert "To: ops@example.org" in rest


async def test_a_program_that_fails_says_why(tmp_path: Path) -> None:
    command = program(tmp_path / "a.py", "import sys; sys.exit('no such \\x1b[1mroom')")
    with pytest.raises(Refused, match="it ended with 1: no such room"):
        await CommandChannel(command).send(MESSAGE)
    later = program(tmp_path / "b.py", "import sys; sys.exit(75)")
    with pytest.raises(Undelivered, match="it ended with 75") as caught:
        await CommandChannel(later).send(MESSAGE)
    assert not isinstance(caught.value, Refused)
    with pytest.raises(Undelivered, match="cannot be started: No such file"):
        await CommandChannel(["/nonexistent/tell"]).send(MESSAGE)


async def test_a_program_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    command = program(
        tmp_path / "a.py",
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(60)\n",
    )
    began = time.monotonic()
    with pytest.raises(Undelivered, match="it was killed after 1 s"):
        await run_program(command, b"x" * 1_000_000, {}, patience=1.0)
    assert time.monotonic() - began < 10
    for pid in map(int, pids.read_text().split()):
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid).wait(5)
