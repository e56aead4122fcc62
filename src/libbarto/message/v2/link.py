"""What both ends of a session say: signs of life, and goodbye."""

from __future__ import annotations

from libbarto.codec import I64, Extensible


class Heartbeat(Extensible):
    """A sign of life, and a measurement of the other's clock. Instants in microseconds, UTC.

    `sent_at` is the sender's clock; `echo` and `echo_received_at` repeat the last heartbeat of
    the other side and when it came in by the sender's clock, as RFC 5905 does with its timestamps.
    """

    sent_at: I64
    echo: I64 | None = None
    echo_received_at: I64 | None = None


class Closing(Extensible):
    """The sender leaves in order: nothing more follows."""

    reason: str = ""
