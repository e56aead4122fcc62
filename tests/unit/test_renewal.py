"""What records say where a spool begins anew."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from bartoc import renewal
from bartoc.journal import StoredSet, WaitingStart
from bartoc.starting import RUN_SPEC, RunSpec
from libbarto.codec import Unknown
from libbarto.identity import Kind
from libbarto.message.v2.record import STATE_RECORD, ClockBack, Decided, Ended, Verdict
from libbarto.message.v2.schedule import SCHEDULE_SET, Schedule, ScheduleSet

RUN = b"r" * 16
TICK = b"tick" * 4
END = Ended(
    run_id=RUN, attempt=1, verdict=Verdict.FAILED, reason="exit 3", ended_at=9, output_seq=7
)
WHY = "the journal was damaged"


def waiting(**more: object) -> WaitingStart:
    start = WaitingStart(RUN, 1, Kind.CALENDAR, TICK, 1000, b"", "queue", 5, 6)
    return replace(start, **more)  # type: ignore[arg-type]


def spec(**more: object) -> bytes:
    return RUN_SPEC.encode(msgspec.structs.replace(RunSpec(schedule="tick", commands=[]), **more))


def test_an_end_names_its_last_output_record_by_its_new_number() -> None:
    assert renewal.renumbered(END, {5: 1, 7: 2, 8: 3}) == msgspec.structs.replace(END, output_seq=2)
    assert renewal.renumbered(END, {6: 1, 9: 2}) == msgspec.structs.replace(END, output_seq=1)


def test_an_end_whose_output_the_server_has_names_none() -> None:
    assert renewal.renumbered(END, {8: 1}) == msgspec.structs.replace(END, output_seq=0)


def test_other_records_stay_as_they_are() -> None:
    unknown = Unknown(tag=99, data=b"?")
    for record in (ClockBack(now=5), unknown):
        assert renewal.renumbered(record, {1: 1}) is record


def test_the_names_of_a_set_are_known_where_it_can_be_read() -> None:
    body = SCHEDULE_SET.encode(
        ScheduleSet(schedules=[Schedule(uid=TICK, name="tick", calendars=[], steps=[])])
    )
    assert renewal.names_in(StoredSet(1, b"", body)) == {TICK: "tick"}
    assert renewal.names_in(StoredSet(1, b"", b"garbage")) == {}
    assert renewal.names_in(None) == {}


def test_a_slot_that_waited_is_missed() -> None:
    told = renewal.given_up(waiting(), WHY, {TICK: "tick"})
    assert isinstance(told, Decided)
    assert (told.schedule, told.first_slot, told.last_slot, told.count) == ("tick", 1000, 1000, 1)
    assert (told.verdict, told.reason, told.run_id) == (Verdict.MISSED, WHY, None)


def test_an_order_and_a_follow_up_that_waited_are_missed_by_their_run() -> None:
    for start in (waiting(spec=spec(ordered=True)), waiting(kind=Kind.FOLLOW, cause=b"parent")):
        told = renewal.given_up(start, WHY, {})
        assert isinstance(told, Decided)
        assert (told.run_id, told.cause) == (RUN, start.cause)


def test_a_retry_that_waited_ends_with_what_the_attempt_before_it_ended_with() -> None:
    ended = STATE_RECORD.encode(msgspec.structs.replace(END, final=False))
    told = renewal.given_up(waiting(attempt=2, spec=spec(ended=ended)), WHY, {})
    assert isinstance(told, Ended)
    assert told.final
    assert (told.verdict, told.attempt) == (Verdict.FAILED, 1)
    assert told.reason == f"exit 3; no further attempt: {WHY}"


def test_a_retry_whose_end_cannot_be_read_is_missed() -> None:
    for odd in (spec(ended=STATE_RECORD.encode(ClockBack(now=1))), b"garbage"):
        told = renewal.given_up(waiting(spec=odd), WHY, {TICK: "tick"})
        assert isinstance(told, Decided)
        assert told.schedule == "tick"


def test_an_attempt_whose_place_is_lost_is_interrupted() -> None:
    told = renewal.interrupted(RUN, 2, 9)
    assert (told.run_id, told.attempt, told.ended_at) == (RUN, 2, 9)
    assert told.verdict == Verdict.INTERRUPTED
