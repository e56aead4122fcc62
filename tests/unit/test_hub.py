"""Who is connected: one entry for each worker, the newest."""

from __future__ import annotations

from bartos.hub import Hub, Member
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
