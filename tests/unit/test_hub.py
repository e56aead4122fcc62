"""Who is connected: one entry for each worker, the newest."""

from __future__ import annotations

import pytest

from bartos.hub import Fork, Hub, Member, difference
from bartos.store.port import Mark, Standing
from libbarto.message.v2 import server as wire
from libbarto.message.v2.record import Lane
from libbarto.message.v2.server import Cancel, Offer


class Line:
    """A connection that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def displaced(self, reason: str) -> None:
        self.asked.append(reason)

    def set_wanted(self) -> None:
        self.asked.append("set")

    def clean_up(self, before: int) -> None:
        self.asked.append(f"clean up {before}")

    def offer(self, offer: Offer) -> None:
        self.asked.append(f"offer {offer.number}")

    def cancel(self, cancel: Cancel) -> None:
        self.asked.append(f"cancel: {cancel.reason}")

    def committed(self) -> dict[Lane, wire.Mark]:
        return dict.fromkeys(Lane, wire.Mark())

    def received(self) -> dict[Lane, wire.Mark]:
        return self.committed()


def member(name: str, uid: int, line: Line) -> Member:
    return Member(bytes([uid]) * 16, name, "10.0.0.7", 0, "2.0.0", line)


def test_members_are_told_by_name() -> None:
    hub = Hub()
    hub.join(member("b", 1, Line()))
    assert hub.find(bytes([1]) * 16) is not None
    assert hub.find(bytes([9]) * 16) is None
    hub.join(member("a", 2, Line()))
    assert [one.name for one in hub] == ["a", "b"]
    assert len(hub) == 2


def test_a_newer_session_takes_the_place_of_an_older_one() -> None:
    hub, old, new = Hub(), Line(), Line()
    hub.join(member("a", 1, old))
    hub.join(member("a", 1, new))
    assert (old.asked, new.asked) == (["the worker connected anew"], [])
    assert not hub.leave(bytes([1]) * 16, old), "the older one's end changes nothing"
    assert hub.leave(bytes([1]) * 16, new)
    assert not hub.leave(bytes([1]) * 16, new)
    assert len(hub) == 0


def test_joining_again_on_the_same_connection_displaces_nobody() -> None:
    hub, line = Hub(), Line()
    hub.join(member("a", 1, line))
    hub.join(member("a", 1, line))
    assert line.asked == []


def test_a_name_is_taken_by_another_worker_only() -> None:
    hub = Hub()
    hub.join(member("a", 1, Line()))
    found = hub.name_taken("a", bytes([2]) * 16)
    assert found is not None and found.uid == bytes([1]) * 16
    assert hub.name_taken("a", bytes([1]) * 16) is None
    assert hub.name_taken("b", bytes([2]) * 16) is None


def test_a_fork_is_news_once_until_it_comes_from_elsewhere() -> None:
    hub = Hub()
    uid, fork = bytes([1]) * 16, Fork(5, "a", "10.0.0.7", b"s" * 16, "why")
    assert hub.fork(uid, fork)
    assert not hub.fork(uid, Fork(9, "a", "10.0.0.7", b"s" * 16, "still"))
    assert hub.forks[uid].at == 5
    assert hub.fork(uid, Fork(10, "a", "10.0.0.8", b"s" * 16, "why"))


TAG, OTHER = b"t" * 8, b"o" * 8


def compared(
    state: tuple[int, bytes] = (7, TAG), *, epoch: int = 3, spool: bytes = b"s" * 16, mark: int = 3
) -> str | None:
    """What the comparison finds where records 5 to 9 of the state lane are on their way, and 7 is
    stored."""
    one = member("a", 1, Line())
    one.epoch, one.spool_id = 3, b"s" * 16
    marks = {Lane.STATE: Mark(*state, mark), Lane.OUTPUT: Mark(0, bytes(8), mark)}
    committed = {Lane.STATE: wire.Mark(seq=5, tag=TAG), Lane.OUTPUT: wire.Mark()}
    received = {Lane.STATE: wire.Mark(seq=9, tag=TAG), Lane.OUTPUT: wire.Mark()}
    return difference(one, Standing(epoch, spool, marks), committed, received)


def test_a_session_agrees_with_what_it_has_stored_so_far() -> None:
    assert compared() is None
    assert compared((5, TAG)) is None
    assert compared((9, OTHER)) is None, "what is on its way has tags of its own"


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (compared(epoch=4), "another session of this worker"),
        (compared(spool=b"x" * 16), "another session of this worker"),
        (compared(mark=4), "state lane is another session's"),
        (compared((4, TAG)), "it was restored"),
        (compared((10, TAG)), "more of the state lane"),
        (compared((5, OTHER)), "another state record 5"),
    ],
)
def test_a_session_that_the_store_knows_otherwise_is_told(found: str | None, why: str) -> None:
    assert found is not None
    assert why in found


def test_a_worker_that_the_store_does_not_know_is_told() -> None:
    nothing: dict[Lane, wire.Mark] = {}
    found = difference(member("a", 1, Line()), None, nothing, nothing)
    assert found == "the store knows another session of this worker"
