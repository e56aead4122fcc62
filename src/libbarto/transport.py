"""The link: how does one message of bytes get from here to the peer, whatever carries it?

`Transport` is the port; `libbarto.websocket` carries it over the network, and
`libbarto.testing.joined` in memory. What is said over it is the business of `libbarto.session`.
"""

from __future__ import annotations

from typing import Protocol

from libbarto.errors import BartoError

NORMAL = 1000
GOING_AWAY = 1001
UNSUPPORTED = 1003
NO_STATUS = 1005
"""The peer's close frame had no code; stands for it here, never on the wire (RFC 6455 7.4.1)."""
ABNORMAL = 1006
"""The link broke without a close frame; never on the wire (RFC 6455 section 7.4.1)."""
TOO_BIG = 1009

MAX_MESSAGE = 131_072
"""Bytes of a message that a link must take; our frames are at most half of that."""

MAX_REASON = 123
"""Bytes of a close reason: a control frame holds 125, the code takes two (RFC 6455 5.5)."""


class Transport(Protocol):
    """One connected link that carries binary messages, whole and in order, both ways.

    One task may send while another receives; two tasks must not receive at once. Cancelling
    `receive` loses no message.
    """

    @property
    def peer(self) -> str:
        """The peer's address for people, without a port: `10.0.0.7`, `unix`, `memory`."""

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that both ends agreed on, or None where there is none."""

    async def send(self, frame: bytes) -> None:
        """Hand one message to the link; waits while the peer is slower than we are.

        Having returned proves nothing about the peer. Raises `ConnectionClosed`, with the code
        and reason of the close, when the link is known to be gone.
        """

    async def receive(self) -> bytes:
        """The next message. What arrived before a close is still handed out before it is told.

        Raises `ConnectionClosed` with the peer's close code and reason; 1005 where its close
        had no code, 1006 where the link broke, 1009 where a message was too big, 1003 where it
        was text: then the link is closed with that code.
        """

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close the link, telling the peer why; a second time does nothing.

        A reason longer than 123 bytes in UTF-8 is cut at a character. Never raises
        `ConnectionClosed`.
        """


class Connector(Protocol):
    """Something that can be connected to, again and again."""

    async def connect(self) -> Transport:
        """A new link.

        Raises `ConnectionClosed` where nobody answers now and a later try may help, and
        `ConnectionRefused` where the peer answered and said no.
        """


class ConnectionRefused(BartoError, ConnectionRefusedError):
    """The peer answered and will not talk to us: another try changes nothing until someone acts.

    `status` is its HTTP status, `text` its own words, and the message says what to do.
    """

    def __init__(self, status: int, text: str = "", message: str | None = None) -> None:
        self.status = status
        self.text = text
        super().__init__(message or f"refused with status {status}{': ' + text if text else ''}")


def cut_reason(reason: str) -> str:
    """`reason`, cut at a character so that it has at most 123 bytes in UTF-8.

    >>> len(cut_reason("ß" * 100).encode())
    122
    """
    return reason.encode(errors="replace")[:MAX_REASON].decode(errors="ignore")
