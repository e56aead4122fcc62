"""Serves the faces over real sockets, in a thread: a Unix socket, TCP, TCP with TLS."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from bartos.api.app import create_app
from bartos.api.guard import over_unix_socket
from tests.faces import Barto


@contextmanager
def on_unix_socket(barto: Barto, path: Path) -> Iterator[None]:
    """Serve on the Unix socket `path`."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    with _served(over_unix_socket(create_app(barto.services)), listener):
        yield


@contextmanager
def on_loopback(barto: Barto, cert: Path | None = None, key: Path | None = None) -> Iterator[int]:
    """Serve on a free port of loopback, with TLS where there is a certificate; gives the port."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    with _served(create_app(barto.services), listener, cert, key):
        yield listener.getsockname()[1]


@contextmanager
def _served(
    app: ASGIApp, listener: socket.socket, cert: Path | None = None, key: Path | None = None
) -> Iterator[None]:
    listener.listen()
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        log_level="error",
        lifespan="off",
        proxy_headers=False,
        ssl_certfile=cert,
        ssl_keyfile=key,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
        assert not thread.is_alive()
