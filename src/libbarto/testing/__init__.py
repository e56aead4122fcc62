"""Tools for testing whatever is built on barto: virtual time, fake clocks, links in memory.

A whole barto runs in one process with these: three simulated days take milliseconds, every run of
a test takes the same steps, a lost wake-up is a `Deadlock` error instead of a hang, and a link is
cut by calling `cut()`. They are a public part of the product, held by the contract suites to what
the real clock and the real websockets do.

>>> async def night() -> bytes:
...     clock = FakeClock()
...     worker, server = joined()
...     worker.link.stall()
...     await worker.send(b"done")
...     await clock.advance(hours=8)
...     worker.link.restore()
...     return await server.receive()
>>> run(night())
b'done'

Under pytest, `tests/conftest.py` of barto shows the few lines that run `async def test_...`
under a `VirtualLoop`.
"""

from __future__ import annotations

from libbarto.testing.clock import START, FakeClock
from libbarto.testing.loop import (
    BackgroundFailure,
    Deadlock,
    Endless,
    NotUnderVirtualTime,
    VirtualLoop,
    run,
    settled,
)
from libbarto.testing.transport import (
    Link,
    MemoryConnector,
    MemoryNetwork,
    MemoryTransport,
    Offer,
    Traffic,
    joined,
)

__all__ = [
    "START",
    "BackgroundFailure",
    "Deadlock",
    "Endless",
    "FakeClock",
    "Link",
    "MemoryConnector",
    "MemoryNetwork",
    "MemoryTransport",
    "NotUnderVirtualTime",
    "Offer",
    "Traffic",
    "VirtualLoop",
    "joined",
    "run",
    "settled",
]
