"""What becomes of output when there is no room for it."""

from __future__ import annotations

from bartoc.journal import Room
from bartoc.pressure import WAIT_S, Pressure
from bartoc.runner import Flow


def test_output_goes_while_there_is_room() -> None:
    pressure = Pressure(1000)
    assert pressure.judge(Room(1000), 0.0) is Flow.GO


def test_it_waits_for_a_minute_and_is_dropped_then() -> None:
    pressure = Pressure(1000)
    assert pressure.judge(Room(1001), 10.0) is Flow.WAIT
    assert pressure.judge(Room(1001), 10.0 + WAIT_S - 0.1) is Flow.WAIT
    assert pressure.judge(Room(1001), 10.0 + WAIT_S) is Flow.DROP


def test_it_goes_on_at_nine_tenths_and_the_minute_begins_anew() -> None:
    pressure = Pressure(1000)
    pressure.judge(Room(1001), 10.0)
    assert pressure.judge(Room(901), 80.0) is Flow.DROP
    assert pressure.judge(Room(900), 81.0) is Flow.GO
    assert pressure.judge(Room(1000), 82.0) is Flow.GO
    assert pressure.judge(Room(1001), 83.0) is Flow.WAIT


def test_a_disk_that_is_full_is_no_room_however_little_waits() -> None:
    pressure = Pressure(1000)
    assert pressure.judge(Room(0, scarce=True), 0.0) is Flow.WAIT
    assert pressure.judge(Room(0, scarce=True), WAIT_S) is Flow.DROP
    assert pressure.judge(Room(0), WAIT_S + 1) is Flow.GO
