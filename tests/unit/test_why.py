"""The answers to "why": each case is a paragraph, and what one may do next."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from bartoc import clockwork, deciding, overlap, running, waiting
from bartos import why
from bartos.exits import code_in_words, ended_in_words, signal_name
from bartos.outlook import Drain, Timer
from bartos.store.orders import ALL_SCHEDULES, IntentRow, OrderRow, PauseRow
from bartos.store.port import EventRow, RunRow, SlotRange, StepRow, WaitingRow
from bartos.why import (
    Away,
    Before,
    Facts,
    Policies,
    Since,
    Span,
    explain,
)
from bartos.why_words import Face, lasted, listed
from libbarto.identity import Kind, uuid_text
from libbarto.message.v2.record import Verdict
from libbarto.realtime import zones
from libbarto.states import Act

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
RUN = bytes(range(16))
OTHER = bytes(range(1, 17))
NAME = uuid_text(RUN)


def berlin(text: str) -> int:
    """An instant, by a clock in Berlin in November 2026."""
    there = datetime.fromisoformat(f"2026-11-{text}").replace(tzinfo=UTC)
    return round(there.timestamp()) * SECOND - HOUR


DUE = berlin("24 02:00")
NOW = berlin("24 09:00")
ZONE = Face("Europe/Berlin", zones.load("Europe/Berlin"), NOW)


def a_run(verdict: Verdict | None = Verdict.OK, **fields: Any) -> RunRow:
    ended = None if verdict is None else DUE + 42 * SECOND
    row = RunRow(
        run_id=RUN,
        attempt=1,
        schedule_uid=bytes(16),
        schedule="backup",
        worker_uid=bytes(16),
        worker="web1",
        kind=int(Kind.CALENDAR),
        slot=DUE,
        claimed_at=DUE,
        late_us=3000,
        generation=17,
        started_at=DUE,
        ended_at=ended,
        verdict=verdict,
        reason="",
        exit_code=None,
        signal=None,
        complete=True,
        bytes_out=0,
        bytes_err=0,
        cut_bytes=0,
        cut_lines=0,
    )
    return replace(row, **fields)


def a_range(verdict: Verdict, reason: str, count: int = 1, **fields: Any) -> SlotRange:
    row = SlotRange(
        bytes(16), "backup", bytes(16), "web1", DUE, DUE, count, verdict, reason, decided_at=DUE
    )
    return replace(row, **fields)


def a_step(number: int = 1, command: str = "pg_dump app", **fields: Any) -> StepRow:
    row = StepRow(RUN, 1, number, command, 0, None, True, DUE, DUE + SECOND, None)
    return replace(row, **fields)


def a_timer(state: str = "planned", **fields: Any) -> Timer:
    following = berlin("25 02:00")
    row = Timer(
        bytes(16), "backup", bytes(16), "web1", None, state, following, following, "Europe/Berlin"
    )
    return replace(row, **fields)


def an_event(kind: str, at: int, **facts: object) -> EventRow:
    return EventRow(at, kind, "", facts)


def an_order(worker: str = "web1", verdict: Verdict | None = None, **fields: Any) -> OrderRow:
    intent = IntentRow(
        run_id=RUN,
        kind=int(Kind.MANUAL),
        schedule_uid=bytes(16),
        schedule="backup",
        slot=DUE,
        spec=b"",
        created_at=DUE,
        until=fields.pop("until", DUE + 8 * HOUR),
        worker=worker,
        who="ann",
        reason=fields.pop("why", ""),
    )
    return OrderRow(intent, verdict=verdict, **fields)


def some(cover: Any = None, **fields: Any) -> Facts:
    facts = Facts(
        "backup",
        "web1",
        DUE,
        ZONE,
        ZONE,
        cover,
        policies=Policies(workers="web1"),
        connected=True,
        timer=a_timer(),
    )
    return replace(facts, **fields)


def told(cover: Any = None, **fields: Any) -> str:
    """All but the headline, in one line."""
    found = explain(some(cover, **fields))
    return " ".join([*found.because, *([found.next] if found.next else [])])


def commands(cover: Any = None, **fields: Any) -> list[str]:
    return [step.command for step in explain(some(cover, **fields)).steps]


# -- the paragraph --------------------------------------------------------------------------------


def test_a_start_that_a_sleeping_host_missed_is_told_in_a_paragraph() -> None:
    away = Away(berlin("24 01:12"), berlin("24 08:31"))
    found = explain(some(a_range(Verdict.MISSED, why.ASLEEP), away=away))
    assert found.text == (
        "backup on web1, due Tue 24 Nov 02:00 (Europe/Berlin): not run (missed). "
        "web1 was away from 01:12 to 08:31 (asleep); at 08:31 it was 6h31m late, and catch_up is "
        "1h.\n"
        "Next: Wed 25 Nov 02:00.\n"
        "To run it now:  barto run backup --on web1"
    )
    assert (found.state, found.act, found.next_at) == ("missed", Act.LOOK, berlin("25 02:00"))


def test_a_failure_is_told_with_what_it_said_last() -> None:
    good = a_run(slot=berlin("21 02:00"))
    found = explain(
        some(
            a_run(Verdict.FAILED, exit_code=1, reason="exit 1"),
            steps=[a_step(exit_code=1, success=False)],
            lines=["pg_dump: error: connection to server failed"],
            before=Before(oks=31, last_ok=good),
            since=Since(("cmds", "timeout"), berlin("23 10:12"), ("2.0.0", "2.0.1"), True),
            policies=Policies(runbook="https://wiki/backup"),
        )
    )
    assert found.text == (
        "backup on web1, due Tue 24 Nov 02:00 (Europe/Berlin): failed, exit 1. "
        "That is new: the 31 runs before were ok. Last ok: Sat 21 Nov 02:00 (42s). "
        "Since then the schedule's cmds and timeout changed (Mon 23 Nov 10:12), bartoc went from "
        "2.0.0 to 2.0.1 and web1 was booted anew.\n"
        "    pg_dump: error: connection to server failed\n"
        "Next: Wed 25 Nov 02:00.\n"
        f"All that it printed:  barto logs {NAME}\n"
        f"To run it once more:  barto rerun {NAME}\n"
        "Runbook: https://wiki/backup"
    )
    assert found.act is Act.YES


def test_the_reader_s_zone_comes_first_and_the_schedule_s_beside_it() -> None:
    utc = Face("UTC", zones.load("UTC"), NOW)
    found = explain(some(a_run(), face=utc))
    assert found.headline == "backup on web1, due Tue 24 Nov 01:00 (UTC; 02:00 Europe/Berlin): ok."
    tokyo = Face("Asia/Tokyo", zones.load("Asia/Tokyo"), NOW)
    late = some(a_run(slot=berlin("24 22:00")), face=tokyo, slot=berlin("24 22:00"))
    assert "Wed 25 Nov 06:00 (Asia/Tokyo; Tue 24 Nov 22:00 Europe/Berlin)" in explain(late).headline


def test_a_year_that_is_not_this_one_is_told_and_seconds_that_are_not_none() -> None:
    slot = DUE - 365 * DAY + 41 * SECOND
    assert "Mon 24 Nov 2025 02:00:41" in explain(some(a_run(slot=slot), slot=slot)).headline
    assert ZONE.slot(slot, DUE) == "Mon 24 Nov 2025 02:00:41"
    assert ZONE.slot(DUE + 5 * SECOND, DUE) == "02:00:05"


def test_what_others_wrote_can_do_no_harm() -> None:
    found = explain(
        some(a_range(Verdict.SKIPPED, "paused: \x1b[31m"), schedule="b\x1b[2J", worker="w\x07")
    )
    assert "\x1b" not in found.text
    assert "\x07" not in found.text


# -- what ran -------------------------------------------------------------------------------------


def test_what_went_well_says_how_long_it_took() -> None:
    assert told(a_run(), usual=[40 * SECOND, 41 * SECOND, 90 * SECOND]) == (
        "It took 42s (usual: 41s). Next: Wed 25 Nov 02:00."
    )
    assert told(a_run(), timer=None) == "It took 42s."
    assert "(usual: 10s), longer than usual" in told(a_run(), usual=[10 * SECOND])
    assert told(a_run(started_at=None), timer=None) == ""


def test_a_name_of_before_is_told() -> None:
    text = told(a_run(), renamed=("dump", berlin("23 10:12")), timer=None)
    assert text == "Until Mon 23 Nov 10:12 it was called dump. It took 42s."


def test_what_began_late_says_so() -> None:
    assert "It began 5s late." in told(a_run(late_us=5 * SECOND))
    assert "It was caught up 5m late." in told(a_run(late_us=5 * MINUTE))
    assert "It was caught up 5m late." in told(a_run(late_us=5 * MINUTE), policies=None)


def test_later_attempts_and_orphans_are_told() -> None:
    text = told(a_run(attempt=3, reason="2 processes that it left behind were killed"))
    assert "That was attempt 3. 2 processes that it left behind were killed." in text


def test_what_runs_says_since_when_and_how_long_it_usually_takes() -> None:
    run = a_run(None)
    assert told(run, usual=[40 * SECOND], timer=None) == (
        "It runs since 02:00, for 7h now; it usually takes 40s."
    )
    assert commands(run) == [f"barto logs -f {NAME}", f"barto cancel {NAME}"]
    assert told(a_run(None, started_at=None), timer=None) == "It runs since 02:00, for 7h now."
    away = told(run, connected=False, timer=None)
    assert "web1 is away, so nobody knows here whether it goes on." in away


def test_what_is_stuck_says_why() -> None:
    stuck = "2 planned starts were skipped because of it"
    found = explain(some(a_run(None), state="stuck", stuck=stuck))
    assert found.headline.endswith(": running, and it seems to be stuck.")
    assert "2 planned starts were skipped because of it." in found.because
    assert "It has no timeout, so nothing will end it." in found.because
    limited = told(a_run(None), state="stuck", stuck=stuck, policies=Policies(timeout=60.0))
    assert "no timeout" not in limited


def test_a_command_of_no_schedule_has_no_history() -> None:
    text = told(a_run(Verdict.FAILED, kind=int(Kind.EXEC), exit_code=1))
    assert "ok here" not in text
    assert "new" not in text
    assert "Last ok" not in text


def test_the_step_that_failed_is_named_where_there_are_several() -> None:
    steps = [
        a_step(1),
        a_step(2, "pg_dump app |\ngzip", exit_code=127, success=False, reason="left early"),
        a_step(3, exit_code=None, success=False),
    ]
    found = explain(some(a_run(Verdict.FAILED, exit_code=127), steps=steps))
    assert found.headline.endswith("failed, exit 127 (the command was not found).")
    assert found.because[:2] == ["Step 2 of 3, `pg_dump app |…`, ended so.", "Left early."]


def test_memory_that_ran_out_is_told() -> None:
    step = a_step(signal=9, exit_code=None, success=False, reason="out of memory: 1 was killed")
    found = explain(some(a_run(Verdict.FAILED, signal=9), steps=[step]))
    assert found.headline.endswith("failed, killed by SIGKILL: memory ran out.")
    assert not any("Out of memory" in one for one in found.because)


def test_without_steps_the_run_s_own_end_is_told() -> None:
    run = a_run(Verdict.FAILED, signal=15, reason="killed by signal 15")
    assert explain(some(run)).headline.endswith(
        "failed, killed by SIGTERM: somebody asked it to end."
    )
    assert told(run).startswith("Killed by signal 15.")
    none = a_run(Verdict.FAILED)
    assert explain(some(none)).headline.endswith(": failed.")
    assert told(none).startswith("It has never been ok here, as far as the history goes.")


def test_failures_in_a_row_are_counted() -> None:
    good = a_run(slot=berlin("20 02:00"), started_at=None)
    before = Before(failures=3, since=berlin("22 02:00"), last_ok=good)
    text = told(a_run(Verdict.FAILED, exit_code=1), before=before, timer=None)
    assert text == (
        "3 in a row now, since Sun 22 Nov 02:00. Last ok: Fri 20 Nov 02:00. Nothing that barto "
        "knows of has changed since then."
    )


def test_one_run_or_a_hundred_may_have_been_ok_before() -> None:
    run, good = a_run(Verdict.FAILED, exit_code=1), a_run(slot=berlin("23 02:00"))
    one = told(run, before=Before(oks=1, last_ok=good))
    assert "That is new: the run before was ok." in one
    many = told(run, before=Before(oks=100, last_ok=good))
    assert "That is new: the 100 or more runs before were ok." in many


def test_a_change_of_one_key_alone_without_its_time_is_told() -> None:
    run, good = a_run(Verdict.FAILED, exit_code=1), a_run(slot=berlin("23 02:00"))
    text = told(run, before=Before(last_ok=good), since=Since(("cmds",)))
    assert "Since then the schedule's cmds changed." in text


def test_a_timeout_is_compared_with_what_is_usual() -> None:
    run = a_run(Verdict.TIMED_OUT, reason="it took longer than its timeout")
    text = told(run, policies=Policies(timeout=7200.0), usual=[40 * MINUTE])
    assert text.startswith(
        "It took longer than its timeout of 2h, and was ended; it usually takes 40m."
    )
    assert told(run, policies=None).startswith("It took longer than its timeout, and was ended.")
    assert commands(run, policies=None) == [f"barto logs {NAME}"]


def test_a_cancelled_run_says_by_whom_and_why() -> None:
    run = a_run(Verdict.CANCELLED, reason="cancelled: cancelled by ann")
    event = an_event("cancel asked", berlin("24 02:00"), who="ann", reason="wrong day")
    assert told(run, cancelled_by=event, timer=None) == (
        "ann cancelled it at 02:00: wrong day. It had run for 42s."
    )
    event = an_event("cancel asked", berlin("24 02:00"))
    assert told(run, cancelled_by=event, slot=None).startswith("Somebody cancelled it at 02:00.")
    assert told(run).startswith("Cancelled: cancelled by ann.")
    waiting = a_range(Verdict.CANCELLED, "")
    assert told(waiting, timer=None) == ""


def test_what_was_interrupted_says_what_is_certain() -> None:
    may = a_run(Verdict.INTERRUPTED, reason="may or may not have started: no trace of it")
    assert told(may, since=Since(rebooted=True), timer=None) == (
        "web1 claimed it at 02:00, and it may or may not have started. No trace of it. The host "
        "was booted anew meanwhile. barto does not guess, so it was not run again; for a command "
        "that may run twice, rerun_interrupted = true does that."
    )
    assert commands(may) == [f"barto logs {NAME}", f"barto rerun {NAME}"]
    never = a_run(Verdict.INTERRUPTED, reason="did not start")
    assert told(never).startswith(
        "web1 claimed it at 02:00, and it did not start: that is certain."
    )
    begun = a_run(Verdict.INTERRUPTED, reason="it had started, and its end was not seen")
    text = told(begun, policies=Policies(rerun_interrupted=True), timer=None)
    assert text == "web1 claimed it at 02:00, it had started, and its end was not seen."
    assert commands(begun, policies=None) == [f"barto logs {NAME}"]


def test_what_is_lost_says_that_nobody_knows() -> None:
    lost = a_range(Verdict.LOST, "given up by ann")
    assert told(lost, connected=False, last_seen=berlin("20 08:12"), timer=None) == (
        "Nobody will tell any more whether it ran. Given up by ann. web1 was last heard of Fri 20 "
        "Nov 08:12. If it reports after all, its word takes the place of this."
    )
    assert commands(lost) == ["barto run backup --on web1"]
    assert commands(lost, policies=None) == []
    run = a_run(Verdict.LOST)
    assert commands(run) == ["barto run backup --on web1"]
    assert "Given" not in told(run)


# -- what did not run -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (why.ASLEEP, "web1 could not start it, as its host was asleep, and then it was too late: "
         "catch_up is 1h."),
        (why.DOWN, "web1 could not start it, as bartoc was not running there, and then it was too "
         "late: catch_up is 1h."),
        (why.NEWER[0], 'A newer planned start took its place; missed = "latest" runs the newest '
         "alone."),
        (why.WILL_BE_NEWER, 'A newer planned start took its place; missed = "latest" runs the '
         "newest alone."),
        (why.TOO_LATE, "It was noticed too late: catch_up is 1h."),
        (why.NOT_CAUGHT_UP, "It was to be caught up, and could not start within catch_up (1h): "
         "the worker was full, or a run went on."),
        ("disk: the journal could not be written", "web1 could not write its journal (the journal "
         "could not be written); then nothing starts."),
        (why.NO_KEEPER, "web1 could not reach its keeper of commands; then nothing starts."),
        (why.FORWARD, "The host's clock was put forward."),
        (why.WRONG, "The host's clock was wrong."),
        (why.NO_SERVER, "web1 had no server for longer than offline_max, and then starts nothing."),
        ("nobody took it", "Nobody took it."),
        ("", ""),
    ],
)  # fmt: skip
def test_what_was_missed_says_what_kept_it(reason: str, text: str) -> None:
    assert told(a_range(Verdict.MISSED, reason), timer=None) == text


def test_nothing_is_caught_up_where_missed_is_none() -> None:
    row = a_range(Verdict.MISSED, why.DOWN)
    policies = Policies(missed="none")
    away = Away(DUE - HOUR, DUE + HOUR, DUE + 30 * MINUTE)
    assert told(row, policies=policies, away=away, timer=None) == (
        "web1 was away from 01:00 to 03:00 (bartoc was down); at 03:00 it was 1h late, and "
        'missed = "none" catches nothing up. The server was not there either, until 02:30.'
    )
    newer = a_range(Verdict.MISSED, why.NEWER[1])
    assert told(newer, policies=policies, timer=None) == "A newer planned start took its place."


def test_an_absence_is_told_where_nobody_gave_a_reason() -> None:
    away = Away(DUE - HOUR, DUE + HOUR)
    text = told(a_range(Verdict.MISSED, ""), away=away, policies=None)
    assert text.startswith("web1 was away from 01:00 to 03:00; at 03:00 it was 1h late,")
    # One that has not ended says nothing of it.
    still = told(a_range(Verdict.MISSED, why.DOWN), away=Away(DUE - HOUR, None))
    assert "was away" not in still


def test_many_planned_starts_that_were_missed_are_counted() -> None:
    found = explain(some(a_range(Verdict.MISSED, why.DOWN, 1234)))
    assert found.headline.startswith("backup on web1, 1,234 planned starts, this one due Tue")


def test_the_run_that_hindered_it_is_named() -> None:
    row = a_range(Verdict.SKIPPED, overlap.STILL_RUNNING)
    busy = a_run(None, run_id=OTHER, slot=DUE - HOUR, started_at=DUE - HOUR + 3 * SECOND)
    assert told(row, blocking=busy, timer=None) == (
        'The run due 01:00 (since 01:00) was still running, and runs still; overlap = "skip".'
    )
    other = uuid_text(OTHER)
    assert commands(row, blocking=busy) == [f"barto logs -f {other}", f"barto cancel {other}"]
    over = replace(busy, ended_at=DUE + MINUTE, started_at=None, claimed_at=DUE - DAY)
    text = told(row, blocking=over, slot=DUE, policies=None)
    assert "(since Mon 23 Nov 02:00) was still running, and ended at 02:01;" in text
    assert commands(row, blocking=over) == ["barto run backup --on web1"]
    assert told(row).startswith('Another run of it was still going on, and overlap = "skip".')
    newer = a_range(Verdict.SKIPPED, overlap.NEWER_WAITS)
    assert told(newer).startswith("A newer start of it ran or waited already")


def test_a_pause_says_who_why_and_until_when() -> None:
    row = a_range(Verdict.SKIPPED, "paused: maintenance (by ann)")
    event = an_event(
        "pause", berlin("23 18:00"), who="ann", reason="maintenance", until=berlin("25 08:00"),
        schedules=["backup"],
    )  # fmt: skip
    pause = PauseRow(bytes(16), "backup", "ann", berlin("23 18:00"), until=berlin("25 08:00"))
    later = a_timer("paused", next=berlin("26 02:00"))
    assert told(row, paused_by=event, pause=pause, timer=later) == (
        "ann paused it at Mon 23 Nov 18:00, until Wed 25 Nov 08:00: maintenance. It is paused "
        "still, until Wed 25 Nov 08:00. Next: Thu 26 Nov 02:00, after the pause."
    )
    assert commands(row, pause=pause) == ["barto resume backup"]


def test_a_pause_of_all_that_has_no_end_is_told() -> None:
    row = a_range(Verdict.SKIPPED, "paused")
    event = an_event("pause", berlin("24 01:00"), schedules=["*"])
    pause = PauseRow(ALL_SCHEDULES, "", "ann", berlin("24 01:00"))
    none = a_timer("paused", next=None)
    assert told(row, paused_by=event, pause=pause, timer=none) == (
        "Somebody paused everything at 01:00. It is paused still, until it is resumed. Next: none, "
        "until it is resumed."
    )
    assert commands(row, pause=pause) == ["barto resume --all"]


def test_a_pause_that_is_over_says_since_when() -> None:
    row = a_range(Verdict.SKIPPED, "paused: maintenance")
    resumed = an_event("resume", berlin("24 03:00"), who="bob")
    assert told(row, resumed=resumed, timer=None) == (
        "It was paused: maintenance. The pause ended at 03:00 by bob."
    )
    ended = an_event("pause ended", berlin("24 03:00"))
    bare = a_range(Verdict.SKIPPED, "paused")
    assert told(bare, resumed=ended, slot=None, timer=None) == (
        "It was paused. The pause ended at 03:00."
    )
    assert told(bare, timer=None) == "It was paused."
    strange = an_event("pause", berlin("24 01:00"), schedules="backup")
    assert told(bare, paused_by=strange, timer=None) == "Somebody paused it at 01:00."


def test_a_drained_worker_says_who_drained_it() -> None:
    row = a_range(Verdict.SKIPPED, "drained: new disks (by ann)")
    drained = a_timer("drained", next=None)
    assert told(row, drain=Drain("ann", "new disks"), timer=drained) == (
        "ann drained web1: new disks. It is drained still, and starts nothing new. Next: none, "
        "until web1 is no longer drained."
    )
    ends = told(row, timer=a_timer("drained", next=None, until=berlin("24 10:30")))
    assert ends.endswith("Next: none while web1 is drained, until Tue 24 Nov 10:30.")
    assert commands(row, drain=Drain("ann")) == ["barto undrain web1"]
    assert "ann drained web1. It is" in told(row, drain=Drain("ann"))
    assert told(row, timer=None) == "web1 was drained: new disks (by ann)."
    assert told(a_range(Verdict.SKIPPED, "drained"), timer=None) == "web1 was drained."


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (overlap.FULL, "web1 had as many runs as its max_running allows, for longer than "
         "start_within (30s)."),
        ("disabled", "It was waiting when its schedule was disabled or removed."),
        ("", "Nobody said why."),
        ("the moon was full", "The moon was full."),
    ],
)  # fmt: skip
def test_what_was_skipped_says_why(reason: str, text: str) -> None:
    assert told(a_range(Verdict.SKIPPED, reason), timer=None) == text
    assert told(a_range(Verdict.SKIPPED, reason), timer=None, policies=None) == text


# -- what has no verdict --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("catch_up", "It is late, and will be caught up at 09:05."),
        ("queue", "Another run of it goes on; it begins when that ends."),
        ("worker_full", "web1 has as many runs as its max_running allows."),
        ("retry", "Attempt 1 failed; attempt 2 is due at 09:05."),
        ("follow", "another has ended, and it begins next."),
        ("luck", "Luck."),
    ],
)
def test_what_waits_says_for_what(reason: str, text: str) -> None:
    row = WaitingRow(
        RUN, 2, 0, bytes(16), "backup", bytes(16), "web1", DUE, b"", reason, DUE,
        berlin("24 09:05"), None,
    )  # fmt: skip
    assert told(row, timer=None) == text
    ends = replace(row, until=berlin("24 10:00"))
    assert told(ends, timer=None) == f"{text} If it cannot begin before 10:00, it is given up."


def test_an_order_says_how_far_it_has_got() -> None:
    assert told(an_order(), order=an_order(why="a try"), timer=None) == (
        "ann asked for it: a try. web1 is told, and has not confirmed it yet. After 10:00 it is "
        "given up."
    )
    assert "web1 is away; it starts it when it comes back in time." in told(
        an_order(), connected=False
    )
    free = an_order("", until=DUE)
    assert told(free, timer=None) == "The server has found no worker for it yet."
    offered = an_order("", offers=2, until=DUE)
    assert told(offered, timer=None) == (
        "The server has offered it to a worker, and waits for the answer."
    )
    found = explain(some(an_order("", verdict=Verdict.MISSED, reason="nobody took it"), worker=""))
    assert (
        found.headline == "backup, by hand at Tue 24 Nov 02:00 (Europe/Berlin): not run (missed)."
    )
    assert found.because == ["Nobody took it."]


def test_what_is_late_and_what_is_unknown_are_told_apart() -> None:
    late = explain(some(state="late"))
    assert late.because == [
        "web1 is connected, and has not said in 7h what became of it: it is busy, its clock is "
        "behind, or its records are on their way."
    ]
    assert [step.command for step in late.steps] == ["barto worker list"]
    unknown = some(state="unknown", connected=False, last_seen=berlin("24 01:12"))
    assert explain(unknown).because == [
        "web1 is away since 01:12. It starts by its own clock, server or not, and tells what it "
        "did when it comes back."
    ]
    never = explain(some(state="unknown", worker="", timer=a_timer("offline", next=None)))
    assert never.because[0].startswith("Its worker is away. It starts")
    assert never.next == "Next: Wed 25 Nov 02:00, by the worker's own clock."


def test_what_is_planned_says_whether_it_will_begin() -> None:
    slot = berlin("25 02:00")
    plan = {"state": why.PLANNED, "slot": slot}
    found = explain(some(**plan))
    assert found.text == (
        "backup on web1: planned for Wed 25 Nov 02:00 (Europe/Berlin). That is in 17h."
    )
    assert "web1 is away now; it starts by its own clock" in told(connected=False, **plan)
    assert told(connected=False, worker="", **plan) == "That is in 17h."
    pause = PauseRow(bytes(16), "backup", "ann", DUE, "maintenance")
    assert told(pause=pause, **plan) == (
        "It is paused by ann (maintenance), so it will be skipped."
    )
    assert told(pause=replace(pause, who="", reason=""), **plan).startswith("It is paused, so")
    assert told(pause=replace(pause, until=slot), **plan) == "That is in 17h."
    assert told(timer=a_timer("disabled"), **plan) == "The schedule is disabled (enabled = false)."
    assert told(timer=a_timer("drained"), **plan) == "web1 is drained, and starts nothing new."
    assert told(timer=None, **plan) == "That is in 17h."


# -- what is none ---------------------------------------------------------------------------------


def test_a_time_at_which_it_is_not_due_says_when_it_is() -> None:
    found = explain(
        some(state=why.NOT_DUE, slot=berlin("24 02:30"), around=(DUE, berlin("25 02:00")))
    )
    assert found.headline == "backup on web1: not due at Tue 24 Nov 02:30 (Europe/Berlin)."
    assert found.because == [
        "Its planned starts are Tue 24 Nov 02:00 before that and Wed 25 Nov 02:00 after it."
    ]
    assert [step.command for step in found.steps] == ["barto timers backup"]
    nothing = told(state=why.NOT_DUE, slot=None, timer=None)
    assert nothing == "It has no planned start around Tue 24 Nov 09:00."


def test_before_it_counted_there_is_told_since_when_it_does() -> None:
    found = explain(some(state=why.NOT_COUNTED, spans=[Span(berlin("24 10:12"), None, 17)]))
    assert found.headline == (
        "backup on web1: was not to run there at Tue 24 Nov 02:00 (Europe/Berlin)."
    )
    assert found.because == [
        "It counts on web1 since Tue 24 Nov 10:12 (version 17).",
        "What is due up to then is none of its planned starts.",
    ]
    gone = told(
        state=why.NOT_COUNTED,
        spans=[Span(DUE - 9 * DAY, DUE - DAY, 12), Span(DUE + HOUR, None, 17)],
        worker="",
        timer=None,
    )
    assert gone.startswith(
        "It was taken away there, or disabled, Mon 23 Nov 02:00. It counts since"
    )
    never = told(state=why.NOT_COUNTED, connected=False, slot=None, timer=None)
    at_no_time = explain(some(state=why.NOT_COUNTED, slot=None, timer=None))
    assert at_no_time.headline == "backup on web1: is not to run there."
    assert never == "No set of schedules with it was ever confirmed on web1. web1 is away."
    removed = told(
        state=why.NOT_COUNTED,
        spans=[Span(DUE - 9 * DAY, DUE - DAY, 12)],
        removed=DUE - DAY,
        policies=None,
    )
    assert removed == (
        "It was taken away there, or disabled, Mon 23 Nov 02:00. It is not in force any more, "
        "since Mon 23 Nov 02:00."
    )
    assert told(state=why.NOT_COUNTED, timer=None) == (
        "No set of schedules with it was ever confirmed on web1."
    )


def test_a_schedule_that_means_no_worker_says_which_may_be_meant() -> None:
    nowhere = {"state": why.NO_WORKER, "worker": "", "slot": None}
    found = explain(some(near="web1", policies=Policies(workers="wbe1"), **nowhere))
    assert found.text == (
        'backup: runs nowhere. No worker is known that workers = "wbe1" means. Did you mean web1?\n'
        "To add a worker:  barto worker add web1"
    )
    assert commands(**nowhere) == ["barto worker add NAME"]
    assert told(policies=Policies(enabled=False), **nowhere) == (
        "The schedule is disabled (enabled = false)."
    )
    assert commands(policies=None, **nowhere) == []
    assert told(policies=None, **nowhere) == 'No worker is known that workers = "" means.'


def test_a_follow_up_says_what_it_followed_or_did_not() -> None:
    follows = Policies(after="fetch", when="ok")
    parent = a_run(Verdict.FAILED, exit_code=3)
    found = explain(some(state=why.NOT_FOLLOWED, policies=follows, parent=parent))
    assert found.text == (
        "backup on web1: did not follow fetch of Tue 24 Nov 02:00 (Europe/Berlin). fetch ended "
        'failed (exit 3), and it follows with when = "ok" only.\n'
        "Next: Wed 25 Nov 02:00.\n"
        "Why that is so:  barto why fetch --on web1"
    )
    assert told(state=why.NOT_FOLLOWED, policies=None, timer=None) == (
        "It runs when another has ended, which has not happened yet."
    )
    skipped = a_range(Verdict.SKIPPED, "paused")
    assert "fetch ended skipped" in told(state=why.NOT_FOLLOWED, policies=follows, parent=skipped)
    ran = explain(some(a_run(kind=int(Kind.FOLLOW)), policies=follows, parent=a_run()))
    assert ran.headline.startswith("backup on web1, after fetch of Tue 24 Nov 02:00")
    assert ran.because[0] == "fetch had ended ok."
    assert explain(some(a_run(kind=int(Kind.FOLLOW)))).because[0] == "It took 42s."


def test_starts_that_are_no_planned_ones_say_what_they_are() -> None:
    boot = explain(some(a_run(), policies=Policies(on_boot=True)))
    assert boot.headline.startswith("backup on web1, at the boot of Tue 24 Nov 02:00")
    ad_hoc = explain(some(a_run(kind=int(Kind.EXEC))))
    assert ad_hoc.headline.startswith("backup on web1, a command of Tue 24 Nov 02:00")
    by_hand = explain(some(a_run(kind=int(Kind.MANUAL)), order=an_order()))
    assert by_hand.headline.startswith("backup on web1, by hand at Tue 24 Nov 02:00")
    assert by_hand.because[0] == "ann asked for it."
    anonymous = replace(an_order(), intent=replace(an_order().intent, who=""))
    assert explain(some(a_run(), order=anonymous)).because[0] == "It took 42s."
    assert explain(some(a_run(), slot=None)).headline == "backup on web1, at any time: ok."


def test_what_was_never_due_says_why() -> None:
    never = {"slot": None, "timer": None}
    found = explain(some(**never))
    assert (found.headline, found.act) == ("backup on web1: never due.", Act.NO)
    assert told(**never) == "It has not been due yet."
    gone = "It is not in force any more, since Tue 24 Nov 02:00."
    assert told(removed=DUE, **never) == gone
    ran = explain(some(a_run(Verdict.FAILED, exit_code=1), removed=DUE, policies=None))
    assert ran.because[-1] == gone, "whatever became of its last start"
    off = Policies(enabled=False)
    assert told(policies=off, **never) == "The schedule is disabled (enabled = false)."
    follows = Policies(after="fetch")
    assert told(policies=follows, **never) == (
        "It runs when fetch has ended, which has not happened yet."
    )
    assert commands(policies=follows, **never) == ["barto why fetch --on web1"]
    timer = a_timer("never", reason="once for each boot of its host", next=None, planned=None)
    assert told(slot=None, timer=timer) == (
        "Once for each boot of its host. Next: once for each boot of its host."
    )
    assert told(policies=None, **never) == "It has not been due yet."


# -- the rest -------------------------------------------------------------------------------------


def test_the_others_are_counted() -> None:
    row = a_range(Verdict.MISSED, "")
    assert explain(some(row, others={"missed": 2, "ok": 1234})).because == [
        "Elsewhere: 2 other workers the same and ok on 1,234."
    ]
    assert explain(some(row, others={"timed_out": 1})).because == ["Elsewhere: timed out on 1."]


def test_what_comes_next_may_be_nothing() -> None:
    def following(state: str, **fields: Any) -> str:
        return explain(some(a_run(), timer=a_timer(state, next=None, **fields))).next

    assert following("disabled") == "Next: none, as it is disabled."
    assert following("unknown") == "Next: Wed 25 Nov 02:00."
    assert following("never", planned=None) == ""
    assert following("unknown", planned=None) == ""


def test_where_the_server_chooses_the_worker_no_worker_is_named() -> None:
    row = a_range(Verdict.MISSED, "none of its workers was here")
    assert commands(row, policies=Policies(floating=True)) == ["barto run backup"]
    assert commands(row, policies=Policies(enabled=False)) == []
    assert commands(row, policies=None) == []


def test_a_name_with_a_blank_is_quoted() -> None:
    row = a_range(Verdict.MISSED, "")
    assert commands(row, schedule="web1/my backup") == ["barto run 'web1/my backup' --on web1"]


@pytest.mark.parametrize("instant", [1 << 62, -(1 << 62)])
def test_a_time_that_no_calendar_has_is_written_all_the_same(instant: int) -> None:
    assert ZONE.at(instant).endswith(":00") or ZONE.at(instant)[-3] == ":"
    assert ZONE.due(instant, ZONE).endswith("(Europe/Berlin)")
    assert ZONE.near(instant, NOW) == ZONE.about(instant)


def test_spans_of_time_are_short() -> None:
    spans = (-3, 12_345, SECOND * 3 // 2, 42 * SECOND, HOUR, 6 * HOUR + 31 * MINUTE, 25 * HOUR)
    assert [lasted(span) for span in spans] == [
        *("0ms", "12ms", "1.5s", "42s", "1h", "6h31m", "1d1h"),
    ]


def test_a_long_list_is_cut() -> None:
    assert listed(["a", "b", "c", "d", "e", "f"]) == "a, b, c, d and 2 more"


# -- codes ----------------------------------------------------------------------------------------


def test_codes_and_signals_have_words() -> None:
    assert ended_in_words(1, None) == "exit 1"
    assert ended_in_words(75, None) == "exit 75 (a passing trouble: the next try may succeed)"
    assert ended_in_words(137, None, out_of_memory=True) == (
        "exit 137 (killed by SIGKILL: memory ran out)"
    )
    assert ended_in_words(None, None) == "it could not start"
    assert code_in_words(143) == "killed by SIGTERM: somebody asked it to end"
    assert (code_in_words(128), code_in_words(200)) == ("", "")
    assert [signal_name(n) for n in (1, 11, 19, 31, 32)] == [
        *("SIGHUP", "SIGSEGV", "SIGSTOP", "SIGSYS", "signal 32"),
    ]


def test_the_reasons_of_workers_are_those_that_are_known_here() -> None:
    assert (clockwork.DOWN, clockwork.ASLEEP) == (why.DOWN, why.ASLEEP)
    assert clockwork.FORWARD.startswith(why.FORWARD)
    assert clockwork.WRONG.startswith(why.WRONG)
    assert clockwork.DISK.startswith(why.DISK)
    assert clockwork.NO_KEEPER.startswith(why.NO_KEEPER)
    assert deciding.TOO_LATE == why.TOO_LATE
    assert deciding.NO_SERVER == why.NO_SERVER
    assert (deciding.NEWER_DUE, overlap.NEWER_STARTED) == why.NEWER
    given_up = {reason for _, reason in waiting._GIVEN_UP.values()}
    assert why.NOT_CAUGHT_UP in given_up
    assert overlap.FULL in given_up
    assert running.OUT_OF_MEMORY == why.OUT_OF_MEMORY
