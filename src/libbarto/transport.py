"""The link: how does one message of bytes get from here to the peer, whatever carries it?

`Transport` is the port; `libbarto.websocket` carries it over the network, and
`libbarto.testing.joined` in memory. What is said over it is the business of `libbarto.session`.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from libbarto.errors import BartoError, ConnectionClosed

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
        """Hand one binary message to the link; waits while the peer is slower than we are.

        Having returned proves nothing about the peer. Raises `ConnectionClosed` when the link is
        known to be gone (`receive` tells the code and reason, once it has come to them), and
        TypeError for anything but bytes.
        """

    async def receive(self) -> bytes:
        """The next message. What arrived before a close is still handed out before it is told.

        Raises `ConnectionClosed` with the code and reason of the close, the peer's or ours; 1005
        where the peer's had no code, 1006 where the link broke. A message that is too big or not
        binary closes the link, with 1009 or 1003, which both ends are told.
        """

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close the link, telling the peer why; a second time does nothing.

        A reason longer than 123 bytes in UTF-8 is cut at a character. Never raises
        `ConnectionClosed`; ValueError for a code that may not travel (`closing` says which may).
        """


class Connector(Protocol):
    """Something that can be connected to, again and again."""

    async def connect(self) -> Transport:
        """A new link.

        Raises `ConnectionClosed` where there is no link to be had (1006 where nobody answers or
        the link breaks, 1015 where TLS finds fault with the peer), and `ConnectionRefused` where
        the peer answered and said no. Cancelling it leaves no link behind.
        """


class ConnectionRefused(BartoError, ConnectionRefusedError):
    """The peer answered, and will not talk to us.

    `status` is its HTTP status (RFC 9110 section 15), `text` its own words, and the message says
    what to do about it.
    """

    def __init__(self, status: int, text: str = "", message: str | None = None) -> None:
        self.status = status
        self.text = text
        super().__init__(message or f"refused with status {status}{': ' + text if text else ''}")

    @property
    def temporary(self) -> bool:
        """Whether the same try may well succeed later, with nobody changing anything."""
        return self.status in (408, 425, 429) or self.status >= 500


def closing(code: int, reason: str) -> tuple[int, str]:
    """A close as it may travel: `code` checked, and `reason` cut to 123 bytes at a character.

    Raises ValueError for a code that no close frame may carry (RFC 6455 section 7.4): 1005, 1006
    and 1015 only stand for what happened, and 3000 to 4999 are for programs such as ours.

    >>> closing(1000, "ß" * 100) == (1000, "ß" * 61)
    True
    """
    if not (code in (1000, 1001, 1002, 1003) or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise ValueError(f"close code {code} may not travel in a close frame")
    return code, reason.encode(errors="replace")[:MAX_REASON].decode(errors="ignore")


def binary(frame: bytes) -> bytes:
    """`frame`, or TypeError where it is not bytes: text must never reach the wire."""
    if not isinstance(frame, bytes):
        raise TypeError(f"a transport carries bytes, not {type(frame).__name__}")
    return frame


async def send_within(transport: Transport, frame: bytes, seconds: float) -> None:
    """Send, unless the peer takes nothing for so long: then the link counts as broken.

    Raises `ConnectionClosed`.
    """
    try:
        async with asyncio.timeout(seconds):
            await transport.send(frame)
    except TimeoutError as error:
        raise ConnectionClosed(ABNORMAL, f"the peer took nothing for {seconds:g} s") from error
