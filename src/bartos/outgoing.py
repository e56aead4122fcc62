"""How does the server speak to others: over HTTP, by mail, by a program? With an end to each.

Plain HTTP and SMTP are the standard library's, which block: so each has a thread of a small pool,
whose socket is shut when time is up. Nothing is followed that leads elsewhere, and no error has an
address in it, since in those of webhooks and heartbeats there are secrets.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.client
import os
import re
import shutil
import signal
import smtplib
import socket
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import EmailMessage
from http import HTTPStatus
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

import psutil  # type: ignore[import-untyped]  # it ships no types

from bartos.alert_text import clean, shortened
from libbarto.errors import BartoError

PATIENCE_S: Final = 10.0
PROGRAM_S: Final = 30.0
KEPT: Final = 4096
"""So many bytes of an answer are looked at."""
SAID_MAX: Final = 300
BUSY: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
"""Answers of 400 to 499 that are none to this message (RFC 9110 section 15.5.9, RFC 6585)."""
SECRET_LEAST: Final = 12
"""A part of an address that has so many characters is shown to nobody."""
THREADS: Final = 8
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SENDMAIL: Final = ("/usr/sbin/sendmail", "/usr/lib/sendmail")


class Undelivered(BartoError):
    """It did not go through, and why."""


class Refused(Undelivered):
    """It was understood, and is not wanted: of another message nothing is known by that."""


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, "outgoing")


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class _Blocking(Protocol):
    """Something that blocks a thread and can be made to end."""

    def run(self) -> str:
        """Do it; returns what was answered."""

    def abort(self) -> None:
        """Make `run` end with an error."""


async def _in_thread(work: _Blocking, patience: float) -> str:
    running = asyncio.get_running_loop().run_in_executor(_pool(), work.run)
    try:
        async with asyncio.timeout(patience):
            return await running
    except TimeoutError as error:
        raise Undelivered(f"no answer within {patience:.0f} s") from error
    except smtplib.SMTPDataError as error:
        # All but the letter itself was agreed to by then; 5yz is for good (RFC 5321 section 4.2.1).
        kind = Refused if error.smtp_code >= 500 else Undelivered
        raise kind(_described(error)) from error
    except (OSError, ValueError, http.client.HTTPException, smtplib.SMTPException) as error:
        raise Undelivered(_described(error)) from error
    finally:
        if not running.done() or running.cancelled():
            work.abort()


def _shut(sock: socket.socket | None) -> None:
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _described(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate cannot be trusted: {error.verify_message}"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        answers = "; ".join(_text(answer[1]) for answer in error.recipients.values())
        return _short(f"the recipient was refused: {answers}")
    if isinstance(error, smtplib.SMTPResponseException):
        return _short(f"it answers {error.smtp_code} {_text(error.smtp_error)}")
    if isinstance(error, OSError) and error.strerror:
        return _short(error.strerror)
    return _short(str(error) or type(error).__name__)


def _text(data: bytes | str) -> str:
    return data if isinstance(data, str) else data.decode(errors="replace")


def _short(text: str) -> str:
    return shortened(clean(text), SAID_MAX)


# -- HTTP -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Posted:
    """What is sent: JSON."""

    body: bytes


async def fetch(url: str, posted: Posted | None = None, *, patience: float = PATIENCE_S) -> str:
    """GET an address, or POST JSON to it; returns the answer's status in words.

    Raises `Undelivered` for all but 2xx, and of that `Refused` where it is 4xx but says nothing of
    time or number; a redirect is not followed.
    """
    return await _in_thread(_Exchange(url, posted, patience), patience)


class _Exchange:
    """One request and its answer."""

    def __init__(self, url: str, posted: Posted | None, patience: float) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        path = parts.path or "/"
        self._target = f"{path}?{parts.query}" if parts.query else path
        self._posted = posted
        self._socket: socket.socket | None = None
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            self._connection = http.client.HTTPSConnection(
                host, parts.port, timeout=patience, context=_tls()
            )
        else:
            self._connection = http.client.HTTPConnection(host, parts.port, timeout=patience)

    def run(self) -> str:
        headers = {"User-Agent": "barto", "Connection": "close"}
        body = None
        if self._posted is not None:
            headers["Content-Type"] = "application/json"
            body = self._posted.body
        try:
            method = "GET" if body is None else "POST"
            self._connection.connect()
            # The connection lets go of it with the answer's head, and `abort` ends the body too.
            self._socket = self._connection.sock
            self._connection.request(method, self._target, body, headers)
            answer = self._connection.getresponse()
            said = self._without_secrets(_text(answer.read(KEPT)))
            leads = answer.getheader("Location", "")
        finally:
            self._connection.close()
        status = _short(f"{answer.status} {answer.reason}")
        if 200 <= answer.status < 300:
            return status
        if 300 <= answer.status < 400:
            host = urlsplit(leads).hostname
            where = f" to {clean(host)}" if host else ""
            raise Undelivered(f"it answers {status}: a redirect{where}, which is not followed")
        refused = 400 <= answer.status < 500 and answer.status not in BUSY
        kind = Refused if refused else Undelivered
        raise kind(_short(f"it answers {status}{f': {said}' if said.strip() else ''}"))

    def _without_secrets(self, said: str) -> str:
        """An answer without the address: "Cannot POST /hooks/SECRET" is what some say."""
        path, _, query = self._target.partition("?")
        parts = re.split(r"[/&=?]", self._target)
        secrets = {self._target, path, query, *(one for one in parts if len(one) >= SECRET_LEAST)}
        for secret in sorted(secrets - {"", "/"}, key=len, reverse=True):
            said = said.replace(secret, "…").replace(unquote(secret), "…")
        return said

    def abort(self) -> None:
        _shut(self._socket or self._connection.sock)


# -- mail -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in. `tls` is "tls" from the first byte, "starttls", or "none"."""

    host: str
    port: int
    tls: str
    username: str | None = None
    password: str | None = None


async def mail(server: MailServer, letter: EmailMessage, *, patience: float = PATIENCE_S) -> str:
    """Hand a letter in; returns what was done in words. Raises `Undelivered`."""
    return await _in_thread(_Letter(server, letter, patience), patience)


class _Letter:
    def __init__(self, server: MailServer, letter: EmailMessage, patience: float) -> None:
        self._server = server
        self._letter = letter
        self._patience = patience
        self._smtp: smtplib.SMTP | None = None

    def run(self) -> str:
        server = self._server
        address = server.host, server.port
        smtp: smtplib.SMTP
        if server.tls == "tls":
            smtp = smtplib.SMTP_SSL(*address, timeout=self._patience, context=_tls())
        else:
            smtp = smtplib.SMTP(*address, timeout=self._patience)
        self._smtp = smtp
        try:
            if server.tls == "starttls":
                smtp.starttls(context=_tls())
            if server.username is not None:
                smtp.login(server.username, server.password or "")
            refused = smtp.send_message(self._letter)
        finally:
            smtp.close()
        if refused:
            return f"taken on by {server.host}, but not for {_short(', '.join(refused))}"
        return f"taken on by {server.host}:{server.port}"

    def abort(self) -> None:
        if self._smtp is not None:
            _shut(self._smtp.sock)


def sendmail() -> str | None:
    """This host's sendmail(8), if it has one."""
    return next((path for path in SENDMAIL if os.access(path, os.X_OK)), None)


# -- programs -------------------------------------------------------------------------------------


async def run_program(
    command: Sequence[str],
    data: bytes,
    environment: Mapping[str, str],
    *,
    patience: float = PROGRAM_S,
) -> str:
    """Run a program, without a shell, with `data` on its input; returns how it ended, in words.

    Nothing of the server's environment is handed on but the few variables that any program needs.
    After `patience` seconds it is killed, with all its children. Raises `Undelivered` where it
    cannot be started or takes too long, or ends with 75 (later: sysexits.h), and `Refused` where it
    ends otherwise than with 0.
    """
    kept = {name: os.environ[name] for name in ("HOME", "USER", "LOGNAME") if name in os.environ}
    variables = {"PATH": PATH, "LANG": "C.UTF-8", **kept, **environment}
    found = shutil.which(command[0], path=PATH) or command[0]
    try:
        process = await asyncio.create_subprocess_exec(
            found,
            *command[1:],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=variables,
            cwd="/",
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Undelivered(f"{clean(command[0])} cannot be started: {reason}") from error
    said = bytearray()
    try:
        async with asyncio.timeout(patience):
            reading = asyncio.create_task(_read(process, said))
            await _write(process, data)
            code = await process.wait()
            with contextlib.suppress(TimeoutError):
                # A child that lives on may hold the pipe.
                async with asyncio.timeout(0.5):
                    await asyncio.shield(reading)
            reading.cancel()
    except TimeoutError as error:
        raise Undelivered(f"it was killed after {patience:.0f} s") from error
    finally:
        if process.returncode is None:
            _kill_tree(process.pid)
            await process.wait()
    text = _short(said.decode(errors="replace"))
    if code == 0:
        return "it ended with 0"
    how = f"it was killed by signal {-code}" if code < 0 else f"it ended with {code}"
    kind = Undelivered if code == os.EX_TEMPFAIL else Refused
    raise kind(f"{how}{f': {text}' if text.strip() else ''}")


async def _write(process: asyncio.subprocess.Process, data: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):  # it need not read
        process.stdin.write(data)
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()


async def _read(process: asyncio.subprocess.Process, said: bytearray) -> None:
    assert process.stdout is not None
    while data := await process.stdout.read(KEPT):
        said += data[: KEPT - len(said)]


def _kill_tree(pid: int) -> None:
    """SIGKILL to a program, to its session, and to children that left that."""
    children: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        children = psutil.Process(pid).children(recursive=True)
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
    for child in children:
        with contextlib.suppress(psutil.Error):
            child.kill()


def is_there(program: str) -> bool:
    """Whether a program can be found and run."""
    found = shutil.which(program, path=PATH)
    return found is not None or (Path(program).is_file() and os.access(program, os.X_OK))
