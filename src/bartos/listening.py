"""The sockets of a server: one for the network, one for the people on its own host."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import socket
import ssl
import stat
from http import HTTPStatus
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libbarto.errors import ConfigError
from libbarto.transport import MAX_MESSAGE

log = logging.getLogger("bartos")

BACKLOG: Final = 1024
OPENING_S: Final = 3.0
HEALTH: Final = frozenset({"/healthz", "/readyz"})
"""What is asked to know whether the store is open waits for nothing."""


def check_address(host: str) -> None:
    """Raises `ConfigError` for what is neither an address nor a name of this host."""
    try:
        socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError(f'listen = "{host}": no such address ({error.strerror})') from error


def bind_network(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises `ConfigError` where the address cannot be had."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigError(f'listen = "{host}": no such address ({error.strerror})') from error
    bound = socket.socket(family, kind)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port {port} on {host} is in use by another program: stop it, or choose another "
                "port (port in bartos.toml, or --port)"
            ) from error
        raise ConfigError(f"cannot listen on {host}, port {port}: {error.strerror}") from error
    return bound


def bind_local(path: Path) -> socket.socket:
    """A Unix socket that only this user and root can reach.

    Raises `ConfigError` where it cannot be made. The caller holds the state directory's lock, so
    that what lies there is left over from a server that is gone.
    """
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()
        # A long path does not fit a socket's address (unix(7)); one through a descriptor does.
        short = f"/proc/self/fd/{directory}/{path.name}"
        bound.bind(short if len(str(path)) > 100 else str(path))
        path.chmod(0o600)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise ConfigError(f"{path}: the local socket cannot be made: {error.strerror}") from error
    finally:
        os.close(directory)
    return bound


def parting(app: ASGIApp) -> ASGIApp:
    """`app`, whose requests that take longer than a stop has patience for are answered with 503:
    uvicorn cancels them, and would tell of it by a traceback."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await app(scope, receive, watched)
        except asyncio.CancelledError:
            if scope["type"] == "http" and not begun:
                await _say_stopping(send)

    return call


async def _say_stopping(send: Send) -> None:
    problem = {
        "type": "about:blank",
        "title": HTTPStatus.SERVICE_UNAVAILABLE.phrase,
        "status": HTTPStatus.SERVICE_UNAVAILABLE,
        "detail": "the server is stopping; what was asked may yet be done",
    }
    body = json.dumps(problem).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def once_open(app: ASGIApp, opened: asyncio.Event) -> ASGIApp:
    """`app`, whose requests wait for a moment while the store is `opened` for the first time: who
    starts a server and asks it something in the next line is answered, and not told to ask again.
    """

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if not opened.is_set() and scope.get("path") not in HEALTH:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(OPENING_S):
                    await opened.wait()
        await app(scope, receive, send)

    return call


class Listener:
    """A uvicorn server on a socket that is bound already."""

    def __init__(
        self, app: ASGIApp, bound: socket.socket, tls: ssl.SSLContext | None = None
    ) -> None:
        config = uvicorn.Config(
            parting(app),
            http="httptools",
            loop="none",
            ws="websockets-sansio",
            ws_max_size=MAX_MESSAGE,
            ws_ping_interval=None,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=3,
        )
        config.load()
        config.ssl = tls
        self._server = _Quiet(config)
        self._bound = bound

    async def run(self) -> None:
        """Serve until `stop`."""
        await self._server.serve(sockets=[self._bound])

    def stop(self) -> None:
        """Accept nothing more, and end what is open."""
        self._server.should_exit = True


class _Quiet(uvicorn.Server):
    """Signals belong to the program, not to uvicorn."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]  # as in uvicorn
        yield
