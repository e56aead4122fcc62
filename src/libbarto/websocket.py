"""The link over the network: WebSocket messages (RFC 6455) as a `Transport`, at both ends.

`WebSocketConnector` is the client's side; `ServerTransport` adapts a connection that Starlette
has accepted. Neither compresses nor pings: heartbeats are the session's, which so learns that the
peer's program lives, and not its network library.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import ssl
from collections.abc import Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.exceptions import (
    ConnectionClosed as WebsocketsClosed,
)
from websockets.exceptions import (
    InvalidHandshake,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
)
from websockets.typing import Subprotocol

from libbarto.errors import ConnectionClosed, UserError
from libbarto.transport import (
    ABNORMAL,
    MAX_MESSAGE,
    NO_STATUS,
    NORMAL,
    UNSUPPORTED,
    ConnectionRefused,
    binary,
    closing,
)

if TYPE_CHECKING:  # the base installation has no Starlette
    from starlette.websockets import WebSocket

V2 = "barto.v2"
"""The subprotocol that selects our own protocol (DESIGN section 6)."""

TLS_FAILED = 1015
"""Stands for a failed TLS handshake; never on the wire (RFC 6455 section 7.4.1)."""

_TEXT_REFUSED = "text message, only binary ones are understood"
_MAX_TEXT = 500

_ADVICE = {
    400: "the address is right, but what answers there is no WebSocket endpoint",
    401: "the server does not accept this token: join again, or set the right one",
    403: "the server knows this token, but it may not do this",
    404: "nothing of barto's is at this address: check the path and the port",
    409: "another worker is known by this name: choose another name, or remove the old one",
    429: "too many connections from here: it is tried again later",
}


class WebSocketConnector:
    """Connects to `url` (ws:// or wss://) as a client, again and again.

    `token` is sent as `Authorization: Bearer` (protocol-v1.md section 1); `subprotocols` are
    offered in order of preference; `ssl_context` says whom to trust for wss:// (see
    `libbarto.tls`; None trusts the system's authorities). A message of more than `max_size`
    bytes closes the link with 1009. An attempt that takes `open_timeout` seconds has failed.

    A proxy is used where the environment names one (`https_proxy`, `no_proxy`), but never to this
    host itself. Redirects are not followed: the token is for this server alone.

    Raises `UserError` for a URL that is none.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        subprotocols: Sequence[str] = (V2,),
        ssl_context: ssl.SSLContext | None = None,
        max_size: int = MAX_MESSAGE,
        open_timeout: float = 10.0,
        close_timeout: float = 5.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise UserError(f"{url} is no WebSocket URL: it begins with wss:// (or ws://) and HOST")
        self.url = url
        if parts.username is not None or parts.password is not None:
            raise UserError(f"leave the credentials out of the URL of {parts.hostname}")
        self._secure = parts.scheme == "wss"
        self._host = parts.hostname
        self._token = token
        self._subprotocols = tuple(Subprotocol(name) for name in subprotocols)
        self._ssl_context = ssl_context
        self._max_size = max_size
        self._open_timeout = open_timeout
        self._close_timeout = close_timeout

    def __repr__(self) -> str:
        return f"<WebSocketConnector {self.url}>"

    async def connect(self) -> WebSocketTransport:
        """A new link, after the opening handshake.

        Raises `ConnectionRefused` with the status where the server answers anything but 101, and
        `ConnectionClosed` otherwise: 1015 where TLS failed, 1006 else, each with its reason.
        """
        options: dict[str, Any] = {}
        if self._secure and self._ssl_context is not None:
            options["ssl"] = self._ssl_context
        headers = {} if self._token is None else {"Authorization": f"Bearer {self._token}"}
        try:
            connection = await _NoRedirects(
                self.url,
                subprotocols=self._subprotocols or None,
                compression=None,
                additional_headers=headers,
                user_agent_header=_user_agent(),
                proxy=None if _is_this_host(self._host) else True,
                open_timeout=self._open_timeout,
                ping_interval=None,
                close_timeout=self._close_timeout,
                max_size=self._max_size,
                **options,
            )
        except InvalidStatus as error:
            raise _refusal(self.url, error) from error
        except ssl.SSLCertVerificationError as error:
            raise ConnectionClosed(TLS_FAILED, _distrust(self._host, error)) from error
        except ssl.SSLError as error:
            what = f"no TLS with {self._host}: {error.reason or error}"
            raise ConnectionClosed(TLS_FAILED, what) from error
        except TimeoutError as error:
            what = f"{self._host} did not answer within {self._open_timeout:g} s"
            raise ConnectionClosed(ABNORMAL, what) from error
        except (InvalidURI, InvalidProxy) as error:
            raise UserError(str(error)) from error
        except (OSError, InvalidHandshake, EOFError, ImportError) as error:
            what = f"cannot reach {urlsplit(self.url).netloc}: {_first_cause(error)}"
            raise ConnectionClosed(ABNORMAL, what) from error
        return WebSocketTransport(connection)


class WebSocketTransport:
    """One end of a connection of `websockets`: the client's, as `WebSocketConnector` makes it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._peer = _host_of(connection.remote_address)
        self._closing: tuple[int, str] | None = None

    def __repr__(self) -> str:
        return f"<WebSocketTransport to {self._peer}>"

    @property
    def peer(self) -> str:
        """The peer's address, without a port."""
        return self._peer

    @property
    def subprotocol(self) -> str | None:
        """What the ends agreed on."""
        return self._connection.subprotocol

    async def send(self, frame: bytes) -> None:
        """Send one binary message."""
        binary(frame)
        try:
            await self._connection.send(frame)
        except WebsocketsClosed as error:
            raise self._closed(error) from error

    async def receive(self) -> bytes:
        """The next message."""
        try:
            message = await self._connection.recv()
        except WebsocketsClosed as error:
            raise self._closed(error) from error
        if isinstance(message, str):
            await self.close(UNSUPPORTED, _TEXT_REFUSED)
            raise ConnectionClosed(UNSUPPORTED, _TEXT_REFUSED)
        return message

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close the link; waits for the peer's answer, but no longer than `close_timeout`."""
        code, reason = closing(code, reason)
        if self._closing is None:
            self._closing = code, reason
            await self._connection.close(code, reason)

    def _closed(self, error: WebsocketsClosed) -> ConnectionClosed:
        """What happened, in our terms: the close frame that came first, whosever it was."""
        first = error.rcvd if error.rcvd_then_sent or error.sent is None else error.sent
        if first is not None:
            return ConnectionClosed(first.code, first.reason)
        return ConnectionClosed(ABNORMAL, _first_cause(error.__cause__))


class ServerTransport:
    """The server's end of a link: a Starlette WebSocket, after `accept`, as a `Transport`.

    `subprotocol` is the one it was accepted with.
    """

    def __init__(self, websocket: WebSocket, subprotocol: str | None = None) -> None:
        self._websocket = websocket
        self._subprotocol = subprotocol
        client = websocket.client
        self._peer = client.host if client is not None and client.host else "unix"
        self._ended: tuple[int, str] | None = None

    def __repr__(self) -> str:
        return f"<ServerTransport to {self._peer}>"

    @property
    def peer(self) -> str:
        """The client's address, without a port; `unix` over a Unix socket."""
        return self._peer

    @property
    def subprotocol(self) -> str | None:
        """What was agreed on."""
        return self._subprotocol

    async def send(self, frame: bytes) -> None:
        """Send one binary message."""
        binary(frame)
        if self._ended is not None:
            raise ConnectionClosed(*self._ended)
        with self._link_may_be_gone():
            await self._websocket.send({"type": "websocket.send", "bytes": frame})

    async def receive(self) -> bytes:
        """The next message."""
        if self._ended is not None:
            raise ConnectionClosed(*self._ended)
        with self._link_may_be_gone():
            message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise self._disconnected(message)
        frame = message.get("bytes")
        if not isinstance(frame, bytes):
            await self.close(UNSUPPORTED, _TEXT_REFUSED)
            raise ConnectionClosed(UNSUPPORTED, _TEXT_REFUSED)
        return frame

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close the link."""
        code, reason = closing(code, reason)
        if self._ended is None:
            self._ended = code, reason
            with contextlib.suppress(ConnectionClosed), self._link_may_be_gone():
                await self._websocket.close(code, reason)

    def _disconnected(self, message: Any) -> ConnectionClosed:
        if self._ended is None:
            code = message.get("code") or NO_STATUS
            # ASGI says 1005 for a link that broke as well; only a close frame brings a reason.
            if code == NO_STATUS and message.get("reason") is None:
                code = ABNORMAL
            self._ended = code, message.get("reason") or ""
        return ConnectionClosed(*self._ended)

    @contextlib.contextmanager
    def _link_may_be_gone(self) -> Any:
        from starlette.websockets import WebSocketDisconnect

        try:
            yield
        except (WebSocketDisconnect, OSError, RuntimeError) as error:
            # Starlette answers with RuntimeError to what comes after a disconnect it has told.
            raise ConnectionClosed(*(self._ended or (ABNORMAL, ""))) from error


class _NoRedirects(connect):
    """A connection attempt that takes a redirect for the refusal that it is to us."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def _refusal(url: str, error: InvalidStatus) -> ConnectionRefused:
    status = error.response.status_code
    body = (error.response.body or b"")[: 4 * _MAX_TEXT].decode(errors="replace")
    words = " ".join("".join(c if c.isprintable() else " " for c in body).split())[:_MAX_TEXT]
    place = urlsplit(url)
    message = f"{place.hostname} refused the connection with status {status}"
    if words:
        message += f": {words}"
    if 300 <= status < 400:
        message += f"; it sends us to {error.response.headers.get('Location')}, write that address"
    elif status in _ADVICE:
        message += f" ({_ADVICE[status]})"
    return ConnectionRefused(status, words, message)


def _distrust(host: str, error: ssl.SSLCertVerificationError) -> str:
    fault = error.verify_message or str(error)
    return f"the certificate of {host} is not to be trusted: {fault}"


def _first_cause(error: BaseException | None) -> str:
    """What lies at the bottom of a chain of errors, in its own words; empty for none."""
    while error is not None and error.__cause__ is not None:
        error = error.__cause__
    if error is None:
        return ""
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _user_agent() -> str:
    return f"barto/{metadata.version('barto')}"


def _is_this_host(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host_of(address: Any) -> str:
    """The host of a socket's address; a Unix socket's is its path, or nothing."""
    if isinstance(address, tuple) and address:
        return str(address[0])
    return "unix"
