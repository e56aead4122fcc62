"""The feed: who listens hears all that is wanted, in order, and never holds anybody up."""

from __future__ import annotations

import asyncio

from bartos.feed import Event, Feed, Reader, Wanted


async def heard(reader: Reader) -> list[tuple[str, object]]:
    events = []
    while (event := await reader.next(0.1)) is not None:
        events.append((event.kind, event.data))
    return events


async def test_who_listens_hears_what_is_wanted() -> None:
    feed = Feed()
    listening = [feed.listening]
    with (
        feed.subscribe(Wanted(schedule="backup")) as one,
        feed.subscribe(Wanted(worker="web1", kinds=frozenset({"run"}))) as other,
    ):
        listening.append(feed.listening)
        feed.publish("run", 1, schedule="backup", worker="web1")
        feed.publish("run", 2, schedule="sync", worker="web1")
        feed.publish("run", 3, schedule="backup", worker="web2")
        feed.publish("pauses", 4)
        feed.publish("reset", 5)
        assert await heard(one) == [("run", 1), ("run", 3), ("pauses", 4), ("reset", 5)]
        assert await heard(other) == [("run", 1), ("run", 2), ("reset", 5)]
    listening.append(feed.listening)
    assert listening == [False, True, False]


async def test_who_comes_back_goes_on_where_it_was() -> None:
    feed = Feed("a", ring=3)
    ids = []
    with feed.subscribe(Wanted()) as reader:
        for number in range(5):
            feed.publish("run", number)
            event = await reader.next(1)
            assert event is not None
            ids.append(feed.id_of(event))
    assert feed.last_id == ids[-1]
    for after, expected in (
        (ids[4], []),
        (ids[2], [("run", 3), ("run", 4)]),
        (ids[1], [("run", 2), ("run", 3), ("run", 4)]),
    ):
        with feed.subscribe(Wanted(), after) as reader:
            assert await heard(reader) == expected
    for after in (ids[0], "a-99", "b-4", "a-x", "", "a-", "-5", "a-" + "9" * 30):
        with feed.subscribe(Wanted(), after) as reader:
            assert [kind for kind, _ in await heard(reader)] == ["reset"]


async def test_what_was_forgotten_is_read_anew() -> None:
    feed = Feed()
    feed.publish("run", 1)
    after = feed.last_id
    feed.forget()
    with feed.subscribe(Wanted(), after) as reader:
        assert [kind for kind, _ in await heard(reader)] == ["reset"]
    with feed.subscribe(Wanted(), feed.last_id) as reader:
        assert await heard(reader) == []


async def test_a_slow_reader_is_told_to_read_anew_and_holds_nobody_up() -> None:
    feed = Feed(queue=2)
    with feed.subscribe(Wanted()) as slow, feed.subscribe(Wanted()) as quick:
        for number in range(3):
            feed.publish("run", number)
            assert isinstance(await quick.next(1), Event)
        assert [kind for kind, _ in await heard(slow)] == ["reset"]
        feed.publish("run", 9)
        assert await heard(slow) == [("run", 9)]


async def test_a_reader_waits_until_something_comes() -> None:
    feed = Feed()
    came: list[bool] = []
    feed.on_reader = lambda: came.append(True)
    with feed.subscribe(Wanted()) as reader:
        waiting = asyncio.create_task(reader.next(60))
        await asyncio.sleep(0)
        feed.publish("run", 1)
        event = await waiting
        assert event is not None
        assert event.data == 1
    assert came == [True]


async def test_all_are_let_go_when_the_server_stops() -> None:
    feed = Feed()
    with feed.subscribe(Wanted()) as reader, feed.following(b"r") as touched:
        feed.publish("run", 1)
        feed.close()
        assert touched.is_set()
        assert reader.over
        assert await heard(reader) == [("run", 1)]
    with feed.subscribe(Wanted()) as late, feed.following(b"r") as touched:
        assert late.over
        assert touched.is_set()


async def test_who_follows_a_run_is_told_of_that_one() -> None:
    feed = Feed()
    feed.touched(b"r")
    with feed.following(b"r") as one, feed.following(b"r") as two, feed.following(b"s") as other:
        assert feed.followed
        feed.touched(b"r")
        assert (one.is_set(), two.is_set(), other.is_set()) == (True, True, False)
    assert not feed.followed
