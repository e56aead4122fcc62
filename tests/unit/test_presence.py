"""Who comes and goes is written down, together, and only where it is news."""

from __future__ import annotations

import asyncio
import contextlib
from typing import cast

from bartos.hub import Link, Member
from bartos.presence import JOINED, MOST, TOGETHER_S, Presence
from bartos.store.memory import MemoryStore
from bartos.store.port import EpochClaim
from libbarto.errors import StoreUnavailable
from libbarto.testing import FakeClock

SECOND = 1_000_000
UID = b"w" * 16


def member(clock: FakeClock, seen: int | None = None, before: str = "", uid: bytes = UID) -> Member:
    return Member(
        uid, "web1", "192.0.2.1", clock.now(), "2.0.0", cast(Link, None), seen=seen,
        version_before=before,
    )  # fmt: skip


async def a_store(clock: FakeClock) -> MemoryStore:
    store = MemoryStore()
    await store.open()
    claim = EpochClaim(UID, "web1", 1, b"s" * 16, {}, "2.0.0", {}, "192.0.2.1", clock.now())
    assert await store.confirm_epoch(claim)
    return store


async def test_only_what_is_news_is_written() -> None:
    clock = FakeClock()
    store = await a_store(clock)
    presence = Presence(store, clock)
    presence.joined(member(clock))  # new
    presence.joined(member(clock, clock.now() - 3 * SECOND, "2.0.0"))  # a moment
    presence.joined(member(clock, clock.now() - 3600 * SECOND, "2.0.0"))  # an hour
    presence.joined(member(clock, clock.now() - 3 * SECOND, "1.9.0"))  # another version
    assert await presence.write()
    rows = await store.events(0, kinds={JOINED})
    facts = [(row.facts["away_since"], row.facts["before"]) for row in rows]
    assert sorted(facts, key=str) == sorted(
        [(None, ""), (clock.now() - 3600 * SECOND, "2.0.0"), (None, "1.9.0")], key=str
    )
    assert {row.facts["server_since"] for row in rows} == {clock.now()}
    assert await presence.write()
    assert len(await store.events(0, kinds={JOINED})) == 3


async def test_a_going_is_when_it_was_seen_last() -> None:
    clock = FakeClock()
    store = await a_store(clock)
    presence = Presence(store, clock)
    running = asyncio.create_task(presence.run())
    await clock.advance(seconds=60)
    presence.left(UID)
    went = clock.now()
    await clock.advance(seconds=2 * TOGETHER_S)
    row = await store.worker(UID)
    assert row is not None
    assert row.last_seen == went
    # One that comes back before its going is written was away since then, as well.
    presence.left(UID)
    await clock.advance(seconds=TOGETHER_S / 2)
    presence.joined(member(clock, clock.now() - 3600 * SECOND, "2.0.0"))
    await clock.advance(seconds=2 * TOGETHER_S)
    assert await store.events(0, kinds={JOINED}) == []
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_a_database_that_is_away_gets_it_later_and_memory_is_bounded() -> None:
    clock = FakeClock()
    store = await a_store(clock)
    presence = Presence(store, clock)
    store.available = False
    for number in range(MOST + 5):
        presence.joined(member(clock, None, uid=number.to_bytes(16, "big")))
    presence.left(UID)
    running = asyncio.create_task(presence.run())
    await clock.advance(seconds=30)
    store.available = True
    assert await store.events(0, kinds={JOINED}) == []
    await clock.advance(seconds=30)
    assert len(await store.events(0, MOST + 10, kinds={JOINED})) == MOST
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_a_coming_is_written_once_though_the_goings_fail() -> None:
    clock = FakeClock()
    store = await a_store(clock)
    presence = Presence(store, clock)
    presence.joined(member(clock))
    presence.left(UID)
    store.seen = _refused  # type: ignore[method-assign]
    assert not await presence.write()
    del store.seen
    assert await presence.write()
    assert len(await store.events(0, kinds={JOINED})) == 1


async def _refused(uids: object, now: int) -> None:
    raise StoreUnavailable("gone")


async def test_who_is_refused_neither_comes_nor_goes() -> None:
    clock = FakeClock()
    store = await a_store(clock)
    presence = Presence(store, clock)
    presence.changed(UID, None)  # refused, and nobody is here
    here = member(clock)
    for _ in range(2):  # it comes, and another with its state directory is refused
        presence.changed(UID, here)
    await clock.advance(seconds=60)
    presence.changed(UID, None)
    assert await presence.write()
    assert len(await store.events(0, kinds={JOINED})) == 1
    row = await store.worker(UID)
    assert row is not None
    assert row.last_seen == clock.now()
