"""The text and hash of a schedule's trigger."""

from __future__ import annotations

from libbarto.message.v2.schedule import Schedule
from libbarto.timing import spec_of_timing, timing_hash, timing_text

UID = bytes(range(16))


def test_what_a_schedule_does_is_no_part_of_its_timing() -> None:
    one = Schedule(uid=UID, name="a", calendars=["*:0/15"], steps=["true"])
    other = Schedule(uid=bytes(16), name="b", calendars=["*:0/15"], steps=["false"], nice=3)
    assert timing_text(one) == timing_text(other)


def test_every_part_of_a_trigger_changes_its_hash() -> None:
    plain = Schedule(uid=UID, name="a", calendars=["*:0/15"], steps=[])
    others = [
        Schedule(uid=UID, name="a", calendars=["*:0/20"], steps=[]),
        Schedule(uid=UID, name="a", calendars=["*:0/15"], timezone="Europe/Berlin", steps=[]),
        Schedule(uid=UID, name="a", calendars=["*:0/15"], dst_gap="skip", steps=[]),
        Schedule(uid=UID, name="a", calendars=["*:0/15"], dst_repeat="once", steps=[]),
        Schedule(uid=UID, name="a", calendars=[], every_us=1_000_000, steps=[]),
        Schedule(uid=UID, name="a", calendars=[], every_us=1_000_000, anchor_us=1, steps=[]),
        Schedule(uid=UID, name="a", calendars=[], every_us=1_000_000, anchor_drawn=True, steps=[]),
        Schedule(uid=UID, name="a", calendars=[], at=[5], steps=[]),
        Schedule(uid=UID, name="a", calendars=[], on_boot=True, steps=[]),
    ]
    hashes = {timing_hash(timing_text(spec)) for spec in [plain, *others]}
    assert len(hashes) == len(others) + 1


def test_a_schedule_made_of_a_timing_has_the_same_timing() -> None:
    spec = Schedule(
        uid=UID, name="a", calendars=["*:R/15", "Mon 2:00"], timezone="Asia/Tokyo", steps=["x"]
    )
    text = timing_text(spec)
    again = spec_of_timing(text, UID, "a")
    assert timing_text(again) == text
    assert (again.uid, again.name, again.steps) == (UID, "a", [])
