"""The worker's decisions: what is due, what starts, what is reported, and in what order."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from bartoc.journal import HeldChunk, JournalState, LaneFacts, OpenRun, StoredSet, Transaction
from bartoc.runner import (
    AttemptEnded,
    Frame,
    Known,
    NotStarted,
    OutputRead,
    RunState,
    StepEnded,
    StepStarted,
    StreamTotals,
)
from bartoc.worker import (
    CLOCK_PATIENCE_S,
    Commit,
    Committed,
    Contact,
    Effect,
    Forget,
    HeldBack,
    Host,
    NewSet,
    Note,
    Now,
    Opened,
    Recall,
    Recalled,
    Resume,
    Spawn,
    Stop,
    Taken,
    Tick,
    Worker,
    rfc3339,
)
from libbarto.message.v2.record import (
    OUTPUT_RECORD,
    STATE_RECORD,
    Claimed,
    ClockBack,
    Decided,
    Ended,
    Lane,
    Record,
    SetApplied,
    Started,
    Status,
    Verdict,
)
from libbarto.message.v2.schedule import SCHEDULE_SET, Schedule, ScheduleSet

UID = b"w" * 16
BOOT = b"b" * 16
SECOND = 1_000_000
MINUTE = 60 * SECOND
T0 = 1_800_000_000 * SECOND  # a whole minute
HOST = Host("vader", {"": ("/root", "root", "/bin/sh")}, BOOT)


def now(seconds: float, offset_us: int | None = None) -> Now:
    """`seconds` after T0, on both clocks."""
    return Now(T0 + round(seconds * SECOND), 1000.0 + seconds, offset_us)


def schedule(name: str = "tick", calendar: str = "minutely", **more: object) -> Schedule:
    uid = hashlib.sha256(name.encode()).digest()[:16]
    return Schedule(uid=uid, name=name, calendars=[calendar], steps=["true"], **more)  # type: ignore[arg-type]


def body(*schedules: Schedule) -> bytes:
    return SCHEDULE_SET.encode(ScheduleSet(schedules=list(schedules)))


def new_set(generation: int, *schedules: Schedule) -> NewSet:
    encoded = body(*schedules)
    return NewSet(generation, hashlib.sha256(encoded).digest(), encoded)


def state(**more: object) -> JournalState:
    lanes = {lane: LaneFacts() for lane in Lane}
    more.setdefault("since", dict.fromkeys(more.get("cursors", ()), T0))  # type: ignore[call-overload]
    return replace(JournalState(UID, b"s" * 16, lanes=lanes), **more)  # type: ignore[arg-type]


def stored(*schedules: Schedule) -> StoredSet:
    return StoredSet(1, b"h", body(*schedules), T0)


class Shell:
    """Carries effects out as the agent would, and keeps what was reported."""

    def __init__(self, held: JournalState, at: float = 0.0) -> None:
        self.worker = Worker(held, HOST, now(at))
        self.held = held
        self.refuse: set[bytes] = set()
        self.transactions: list[Transaction] = []
        self.effects: list[Effect] = []
        self.handle(Opened(()), at)

    def handle(self, event: object, at: float, offset_us: int | None = None) -> list[Effect]:
        """Hand an event in; commits succeed. Returns what is left to do, in order."""
        todo = self.worker.handle(event, now(at, offset_us))  # type: ignore[arg-type]
        done: list[Effect] = []
        while todo:
            effect = todo.pop(0)
            if isinstance(effect, Commit):
                change = effect.transaction
                self.transactions.append(change)
                self.held = replace(
                    self.held,
                    cursors={**self.held.cursors, **change.cursors},
                    since={**self.held.since, **change.since},
                )
                claims = frozenset(
                    (claim.run_id, claim.attempt)
                    for claim, _ in effect.transaction.claims
                    if claim.run_id not in self.refuse
                )
                todo = self.worker.handle(Committed(effect, claims), now(at)) + todo
            elif isinstance(effect, Recall):
                todo = self.worker.handle(Recalled(self.held), now(at)) + todo
            else:
                done.append(effect)
        self.effects += done
        return done

    def records(self) -> list[Record]:
        """All state records so far."""
        return [
            STATE_RECORD.decode(record)  # type: ignore[misc]
            for change in self.transactions
            for record in (*(r for _, rs in change.claims for r in rs), *change.state)
        ]

    def of(self, kind: type) -> list[Record]:
        return [record for record in self.records() if isinstance(record, kind)]

    def spawned(self) -> list[Spawn]:
        return [effect for effect in self.effects if isinstance(effect, Spawn)]


def running(at: float = 60.0) -> tuple[Shell, tuple[bytes, int]]:
    """A worker whose minutely schedule has started a run."""
    shell = Shell(state(current_set=stored(schedule()), cursors={schedule().uid: T0}))
    shell.handle(Tick(), at)
    (spawn,) = shell.spawned()
    return shell, (spawn.order.run_id, 1)


# -- what is due ----------------------------------------------------------------------------------


def test_a_slot_is_claimed_before_anything_is_spawned() -> None:
    worker = Worker(
        state(current_set=stored(schedule()), cursors={schedule().uid: T0}), HOST, now(0)
    )
    worker.handle(Opened(()), now(0))
    (commit,) = worker.handle(Tick(), now(60))
    assert isinstance(commit, Commit)
    ((claim, _),) = commit.transaction.claims
    assert commit.transaction.cursors == {schedule().uid: T0 + MINUTE}
    (spawn,) = worker.handle(Committed(commit, frozenset({(claim.run_id, 1)})), now(60))
    assert isinstance(spawn, Spawn)
    assert spawn.order.slot == T0 + MINUTE


def test_a_claim_that_was_there_already_starts_nothing() -> None:
    shell, key = running()
    again = Shell(state(current_set=stored(schedule()), cursors={schedule().uid: T0}))
    again.refuse = {key[0]}
    assert again.handle(Tick(), 60) == []
    assert again.worker.runs == {}
    assert shell.worker.runs


def test_nothing_starts_early_nor_before_the_runner_is_open() -> None:
    shell = Shell(state(current_set=stored(schedule()), cursors={schedule().uid: T0}))
    shell.handle(Tick(), 59.999999)
    assert shell.spawned() == []
    closed = Worker(
        state(current_set=stored(schedule()), cursors={schedule().uid: T0}), HOST, now(0)
    )
    assert closed.handle(Tick(), now(60)) == []
    assert closed.next_due(now(59.9)) == 1.0


def test_two_schedules_with_one_calendar_both_start() -> None:
    both = (schedule("one"), schedule("two"))
    cursors = {one.uid: T0 for one in both}
    shell = Shell(state(current_set=stored(*both), cursors=cursors))
    shell.handle(Tick(), 60)
    assert {s.order.env["BARTO_SCHEDULE"] for s in shell.spawned()} == {"one", "two"}


def test_of_several_slots_the_newest_starts_and_the_others_are_missed() -> None:
    shell = Shell(
        state(current_set=stored(schedule(calendar="*:*:0/10")), cursors={schedule().uid: T0})
    )
    shell.handle(Tick(), 31)
    (spawn,) = shell.spawned()
    assert spawn.order.slot == T0 + 30 * SECOND
    (missed,) = shell.of(Decided)
    assert isinstance(missed, Decided)
    assert (missed.first_slot, missed.last_slot, missed.count) == (
        T0 + 10 * SECOND,
        T0 + 20 * SECOND,
        2,
    )
    assert missed.verdict == Verdict.MISSED
    assert missed.reason.startswith("too late")


def test_a_slot_older_than_start_within_is_missed_where_nothing_is_caught_up() -> None:
    spec = schedule(missed="none")
    shell = Shell(state(current_set=stored(spec), cursors={spec.uid: T0}))
    shell.handle(Tick(), 91)
    assert shell.spawned() == []
    (missed,) = shell.of(Decided)
    assert isinstance(missed, Decided)
    assert missed.count == 1


def test_slots_from_before_the_worker_came_up_say_so() -> None:
    shell = Shell(
        state(current_set=stored(schedule()), cursors={schedule().uid: T0 - 5 * MINUTE}), at=30
    )
    shell.handle(Tick(), 61)
    missed = [(r.count, r.reason) for r in shell.of(Decided) if isinstance(r, Decided)]
    assert missed == [(5, "the worker was down")]
    assert len(shell.spawned()) == 1


def test_a_slot_whose_schedule_still_runs_is_skipped() -> None:
    shell, _ = running()
    shell.handle(Tick(), 120)
    (skipped,) = shell.of(Decided)
    assert isinstance(skipped, Decided)
    assert (skipped.verdict, skipped.count) == (Verdict.SKIPPED, 1)
    assert len(shell.spawned()) == 1


def test_after_offline_max_without_a_server_slots_are_missed() -> None:
    shell = Shell(
        state(
            current_set=stored(schedule()),
            cursors={schedule().uid: T0},
            contact=T0 - 8 * 86_400 * SECOND,
        )
    )
    shell.handle(Tick(), 60)
    assert shell.spawned() == []
    (missed,) = shell.of(Decided)
    assert isinstance(missed, Decided)
    assert "offline_max" in missed.reason


def test_a_long_absence_is_counted_and_not_gone_through() -> None:
    years = 50 * 365 * 86_400
    shell = Shell(
        state(
            current_set=stored(schedule(calendar="*:*:*")),
            cursors={schedule().uid: T0 - years * SECOND},
        )
    )
    shell.handle(Tick(), 0.5)
    counts = [r.count for r in shell.of(Decided) if isinstance(r, Decided)]
    assert counts == [years - 1]
    assert [spawn.order.slot for spawn in shell.spawned()] == [T0]


def test_a_stopping_worker_starts_nothing() -> None:
    shell = Shell(state(current_set=stored(schedule()), cursors={schedule().uid: T0}))
    shell.handle(Stop(), 1)
    shell.handle(Tick(), 60)
    assert shell.spawned() == []
    assert shell.worker.next_due(now(59.9)) == 1.0


def test_the_next_tick_comes_with_the_next_slot_or_chunk_and_within_a_second() -> None:
    shell, key = running()
    assert shell.worker.next_due(now(60.2)) == 1.0
    assert round(shell.worker.next_due(now(119.75)), 6) == 0.25
    assert shell.worker.next_due(now(120.5)) <= 1.0
    shell.handle(OutputRead(*key, 20, (Frame(0, 1, T0, b"x"),)), 60.2)
    assert round(shell.worker.next_due(now(60.2)), 6) == 0.05
    assert shell.worker.next_due(now(61)) == 0.0


def test_a_schedule_that_never_elapses_leaves_the_worker_at_peace() -> None:
    shell = Shell(state(current_set=stored(schedule(calendar="2001-01-01"))))
    assert shell.worker.next_due(now(0)) == 1.0


# -- clocks ---------------------------------------------------------------------------------------


def test_while_the_clock_reads_earlier_than_before_nothing_starts() -> None:
    shell = Shell(
        state(
            current_set=stored(schedule()), cursors={schedule().uid: T0}, newest=T0 + 3600 * SECOND
        )
    )
    shell.handle(Tick(), 60)
    assert shell.spawned() == []
    assert [e.message for e in shell.effects if isinstance(e, Note)] == [
        "the clock reads earlier than before; nothing starts until it is put right"
    ]
    shell.handle(Tick(), 61)
    assert len([e for e in shell.effects if isinstance(e, Note)]) == 1


def test_a_clock_that_was_put_right_is_trusted_again() -> None:
    shell = Shell(
        state(current_set=stored(schedule()), cursors={schedule().uid: T0}, newest=T0 + 50 * SECOND)
    )
    shell.handle(Tick(), 1)
    shell.handle(Tick(), 60)
    assert len(shell.spawned()) == 1
    assert shell.of(ClockBack) == []


def test_after_two_minutes_an_earlier_clock_is_accepted_and_cursors_come_back() -> None:
    ahead = T0 + 3600 * SECOND
    shell = Shell(
        state(current_set=stored(schedule()), cursors={schedule().uid: ahead}, newest=ahead)
    )
    shell.handle(Tick(), 1)
    shell.handle(Tick(), 1 + CLOCK_PATIENCE_S)
    assert [r.now for r in shell.of(ClockBack) if isinstance(r, ClockBack)] == [T0 + 121 * SECOND]
    assert shell.transactions[-1].cursors == {schedule().uid: T0 + 121 * SECOND}
    shell.handle(Tick(), 180)
    assert len(shell.spawned()) == 1


def test_an_earlier_clock_that_the_server_then_agrees_with_is_accepted() -> None:
    shell = Shell(state(current_set=stored(schedule()), newest=T0 + 3600 * SECOND))
    shell.handle(Tick(), 1, offset_us=20)
    assert shell.of(ClockBack) == [], "that was measured before the clock was wrong"
    shell.handle(Tick(), 2, offset_us=21)
    assert len(shell.of(ClockBack)) == 1


# -- sets -----------------------------------------------------------------------------------------


def test_slots_of_a_new_set_count_strictly_after_it_was_taken_on() -> None:
    shell = Shell(state())
    shell.handle(new_set(1, schedule()), 60)
    assert shell.spawned() == []
    (applied,) = shell.of(SetApplied)
    assert isinstance(applied, SetApplied)
    assert (applied.generation, applied.at) == (1, T0 + MINUTE)
    assert shell.transactions[-1].new_set is not None
    shell.handle(Tick(), 120)
    assert [spawn.order.slot for spawn in shell.spawned()] == [T0 + 2 * MINUTE]


def test_what_the_old_set_has_due_is_decided_before_the_new_one_counts() -> None:
    shell = Shell(state(current_set=stored(schedule()), cursors={schedule().uid: T0}))
    shell.handle(new_set(2), 60)
    assert len(shell.spawned()) == 1
    assert shell.worker.timetables == {}
    assert shell.worker.generation == 2


def test_a_schedule_that_stays_keeps_its_cursor() -> None:
    shell = Shell(state(current_set=stored(schedule()), cursors={schedule().uid: T0}))
    shell.handle(new_set(2, schedule(nice=5)), 30)
    assert schedule().uid not in shell.transactions[-1].cursors
    shell.handle(Tick(), 60)
    assert len(shell.spawned()) == 1


def test_a_set_that_is_not_newer_is_passed_over() -> None:
    shell = Shell(state(current_set=stored(schedule()), cursors={schedule().uid: T0}))
    shell.handle(new_set(1), 30)
    assert shell.worker.timetables
    assert shell.transactions == []


def test_a_stored_set_that_cannot_be_read_is_said() -> None:
    shell = Shell(state(current_set=StoredSet(1, b"h", b"\xff", T0)))
    assert [e.message for e in shell.effects if isinstance(e, Note)] == [
        "a set of schedules cannot be read"
    ]


def test_from_when_slots_count_is_told_where_the_journal_does_not_know() -> None:
    known, unknown = schedule("known"), schedule("unknown")
    shell = Shell(
        state(current_set=stored(known, unknown), cursors={known.uid: T0 + MINUTE}, since={})
    )
    shell.handle(Tick(), 70)
    (applied,) = shell.of(SetApplied)
    assert isinstance(applied, SetApplied)
    assert applied.generation == 1
    assert dict(zip(applied.schedules, applied.since, strict=True)) == {
        known.uid: T0,
        unknown.uid: T0 + 70 * SECOND,
    }
    assert [len(one) for one in applied.timings] == [16, 16]
    shell.handle(Tick(), 120)
    assert len(shell.of(SetApplied)) == 1
    assert len(shell.spawned()) == 2


def test_a_set_that_comes_before_the_runner_is_open_waits() -> None:
    worker = Worker(state(), HOST, now(0))
    assert worker.handle(new_set(1, schedule()), now(1)) == []
    worker.handle(Opened(()), now(2))
    effects = worker.handle(Tick(), now(3))
    assert any(isinstance(effect, Commit) for effect in effects)
    assert worker.generation == 1


def test_a_set_or_calendar_that_cannot_be_read_is_said_and_harms_nothing_else() -> None:
    shell = Shell(state(current_set=stored(schedule()), cursors={schedule().uid: T0}))
    shell.handle(NewSet(2, b"", b"\xff\xff"), 1)
    assert shell.worker.generation == 1
    shell.handle(new_set(3, schedule("bad", "25:00"), schedule()), 2)
    assert [t.spec.name for t in shell.worker.timetables.values()] == ["tick"]
    assert {e.message for e in shell.effects if isinstance(e, Note)} >= {
        "a set of schedules cannot be read",
        "a calendar cannot be read here",
    }


def test_a_zone_that_this_host_does_not_know_harms_nothing_else() -> None:
    shell = Shell(state())
    shell.handle(new_set(1, schedule("far", timezone="Mars/Olympus"), schedule()), 1)
    assert [t.spec.name for t in shell.worker.timetables.values()] == ["tick"]


def test_a_long_reason_fits_a_record() -> None:
    verdict, reason = verdict_of(step_ended(None, None, "x" * 100_000), over())
    assert (verdict, len(reason)) == (Verdict.FAILED, 8192)


def test_contact_with_the_server_is_written_down_once_an_hour() -> None:
    shell = Shell(state())
    shell.handle(Contact(), 0)
    assert shell.transactions == [], "its time is not known yet"
    for seconds in (1, 2, 3602):
        shell.handle(Contact(T0 + seconds * SECOND + 5), seconds)
    assert [t.contact for t in shell.transactions] == [T0 + SECOND + 5, T0 + 3602 * SECOND + 5]


# -- commands -------------------------------------------------------------------------------------


def test_a_command_gets_its_environment_and_the_schedules_own() -> None:
    spec = schedule(env={"A": "1", "PATH": "/bin"}, run_as="www", timeout_us=5 * SECOND)
    shell = Shell(state(current_set=stored(spec), cursors={spec.uid: T0}))
    shell.handle(Tick(), 60.25)
    (spawn,) = shell.spawned()
    env = spawn.order.env
    assert (env["A"], env["PATH"], env["LANG"]) == ("1", "/bin", "C.UTF-8")
    assert env["BARTO_SLOT"] == rfc3339(T0 + MINUTE)
    assert (env["BARTO_LATE"], env["BARTO_WORKER"]) == ("0.250", "vader")
    assert spawn.order.steps == (("/bin/sh", "-c", "true"),)
    assert (spawn.order.user, spawn.order.timeout) == ("www", 5.0)


def test_a_moment_is_written_with_the_decimals_it_needs() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
    assert rfc3339(1) == "1970-01-01T00:00:00.000001Z"


def test_a_run_is_reported_from_its_start_to_its_end() -> None:
    shell, key = running()
    shell.handle(StepStarted(*key, 0, 42, T0 + MINUTE), 60)
    shell.handle(OutputRead(*key, 17, (Frame(0, 1, T0 + MINUTE, b"hi"),)), 60)
    shell.handle(StepEnded(*key, 0, 0, None, T0 + MINUTE, T0 + MINUTE + 5, None), 60)
    totals = {1: StreamTotals(2, 1, b"sha"), 2: StreamTotals(0, 0, b"none")}
    done = shell.handle(AttemptEnded(*key, T0 + MINUTE + 6, False, False, 0, totals), 60)
    assert done == [Forget(*key)]
    kinds = [type(record) for record in shell.records()]
    assert kinds == [Claimed, Started, Status, Ended]
    ended = shell.records()[-1]
    assert isinstance(ended, Ended)
    assert (ended.verdict, ended.reason, ended.output_seq) == (Verdict.OK, "", 1)
    assert ended.totals[0].bytes_ == 2
    assert shell.transactions[-1].ended == [key]
    assert shell.worker.runs == {}


def test_sealed_output_is_durable_before_the_keeper_may_drop_it() -> None:
    shell, key = running()
    assert shell.handle(OutputRead(*key, 17, (Frame(0, 1, T0, b"hi"),)), 60) == []
    assert shell.handle(Tick(), 60.1) == [Taken(*key, 17)]
    (record,) = shell.transactions[-1].output
    assert isinstance(record, bytes)
    assert OUTPUT_RECORD.decode(record).data == b"hi"  # type: ignore[union-attr]
    shell.handle(OutputRead(*key, 17, ()), 60.2)
    assert shell.handle(Tick(), 60.4) == []


def test_output_that_fills_a_chunk_in_the_middle_of_an_event_is_not_taken_whole() -> None:
    shell, key = running()
    frames = (Frame(0, 1, T0, b"x" * 40_000),)
    assert shell.handle(OutputRead(*key, 40_015, frames), 60) == []
    (record,) = shell.transactions[-1].output
    assert isinstance(record, bytes)
    assert len(OUTPUT_RECORD.decode(record).data) == 32_768  # type: ignore[union-attr]


def verdict_of(*events: object) -> tuple[Verdict, str]:
    shell, key = running()
    for event in events:
        shell.handle(replace(event, run_id=key[0]), 61)  # type: ignore[type-var]
    ended = shell.records()[-1]
    assert isinstance(ended, Ended)
    return Verdict(ended.verdict), ended.reason


def step_ended(code: int | None, signal: int | None = None, reason: str | None = None) -> StepEnded:
    return StepEnded(b"", 1, 0, code, signal, 1, 2, reason)


def over(**more: object) -> AttemptEnded:
    return replace(AttemptEnded(b"", 1, 3, False, False, 0, {}), **more)  # type: ignore[arg-type]


def test_each_end_has_its_verdict() -> None:
    assert verdict_of(step_ended(0), over()) == (Verdict.OK, "")
    assert verdict_of(step_ended(77), over()) == (Verdict.FAILED, "exit 77")
    assert verdict_of(step_ended(None, 9), over()) == (Verdict.FAILED, "killed by signal 9")
    memory = "out of memory: the kernel killed 1 process"
    killed = verdict_of(step_ended(None, 9, memory), over())
    assert killed == (Verdict.FAILED, f"killed by signal 9 ({memory})")
    assert verdict_of(step_ended(None, None, "could not start: no"), over()) == (
        Verdict.FAILED,
        "could not start: no",
    )
    assert verdict_of(step_ended(None, 15), over(timed_out=True))[0] is Verdict.TIMED_OUT
    assert verdict_of(step_ended(None, 15), over(cancelled=True))[0] is Verdict.CANCELLED
    assert verdict_of(step_ended(0), over(orphans_killed=2)) == (
        Verdict.OK,
        "2 processes that it left behind were killed",
    )
    assert verdict_of(step_ended(1), over(orphans_killed=1))[1] == (
        "exit 1; 1 processes that it left behind were killed"
    )


def test_the_first_fault_of_several_steps_is_the_reason() -> None:
    spec = schedule(continue_on_error=True)
    spec = Schedule(
        uid=spec.uid, name="tick", calendars=["minutely"], steps=["a", "b", "c"],
        continue_on_error=True,
    )  # fmt: skip
    shell = Shell(state(current_set=stored(spec), cursors={spec.uid: T0}))
    shell.handle(Tick(), 60)
    run_id = shell.spawned()[0].order.run_id
    for step, code in enumerate((0, 3, 4)):
        shell.handle(StepEnded(run_id, 1, step, code, None, 1, 2, None), 61)
    shell.handle(AttemptEnded(run_id, 1, 3, False, False, 0, {}), 61)
    assert [r.step for r in shell.of(Status) if isinstance(r, Status)] == [1, 2, 3]
    ended = shell.records()[-1]
    assert isinstance(ended, Ended)
    assert ended.reason == "step 2: exit 3"


def test_an_attempt_that_did_not_start_is_interrupted() -> None:
    assert verdict_of(NotStarted(b"", 1, 3, "the deadline passed", True)) == (
        Verdict.INTERRUPTED,
        "did not start: the deadline passed",
    )
    assert verdict_of(NotStarted(b"", 1, 3, "may or may not have started", False)) == (
        Verdict.INTERRUPTED,
        "may or may not have started",
    )
    assert verdict_of(StepStarted(b"", 1, 0, 9, 1), NotStarted(b"", 1, 3, "", False)) == (
        Verdict.INTERRUPTED,
        "it had started, and its end was not seen",
    )


def test_what_is_told_of_a_run_that_is_not_known_is_dropped() -> None:
    shell = Shell(state())
    assert shell.handle(StepStarted(b"?" * 16, 1, 0, 1, 1), 1) == []
    assert shell.handle(OutputRead(b"?" * 16, 1, 1, ()), 1) == []
    assert shell.handle(StepEnded(b"?" * 16, 1, 0, 0, None, 1, 1, None), 1) == []
    assert shell.handle(AttemptEnded(b"?" * 16, 1, 1, False, False, 0, {}), 1) == [
        Forget(b"?" * 16, 1)
    ]
    assert shell.handle(NotStarted(b"?" * 16, 1, 1, "", True), 1) == [Forget(b"?" * 16, 1)]
    assert shell.handle(HeldBack(b"?" * 16, 1, ()), 1) == []


# -- restarts -------------------------------------------------------------------------------------


def restarted(shell: Shell, boot: bytes = BOOT) -> tuple[Worker, OpenRun]:
    """The worker that finds in its journal what `shell` has left there."""
    ((claim, _),) = [claim for t in shell.transactions for claim in t.claims]
    position, progress = 0, b""
    for change in shell.transactions:
        for found in change.progress.values():
            position, progress = found
    run = OpenRun(claim, position, progress)
    held = state(
        current_set=stored(schedule()),
        cursors={schedule().uid: T0 + MINUTE},
        open_runs=[run],
        newest=T0 + MINUTE,
    )
    return Worker(held, replace(HOST, boot_id=boot), now(70)), run


def test_a_run_that_the_keeper_holds_is_taken_up_where_it_was_left() -> None:
    shell, key = running()
    shell.handle(StepStarted(*key, 0, 42, T0), 60)
    shell.handle(OutputRead(*key, 17, (Frame(0, 1, T0, b"hi"),)), 60)
    shell.handle(Tick(), 60.1)
    worker, run = restarted(shell)
    assert run.position == 17
    (resume,) = worker.handle(Opened((Known(*key, RunState.RUNNING, 17),)), now(71))
    assert resume == Resume(*key, 17)
    assert worker.handle(HeldBack(*key, ()), now(71)) == []
    # What is told again is not reported again.
    assert worker.handle(StepStarted(*key, 0, 42, T0), now(71)) == []
    assert worker.runs[key].chunker.chunk_no == 1


def test_an_end_that_is_told_before_its_run_is_taken_up_is_not_forgotten() -> None:
    shell, key = running()
    worker, _ = restarted(shell)
    assert worker.handle(AttemptEnded(*key, 5, False, False, 0, {}), now(71)) == []
    assert worker.handle(NotStarted(*key, 5, "", True), now(71)) == []
    (resume,) = worker.handle(Opened((Known(*key, RunState.ENDED, 0),)), now(72))
    assert resume == Resume(*key, 0)


def test_a_slot_is_skipped_while_the_run_from_before_the_restart_goes_on() -> None:
    shell, key = running()
    worker, _ = restarted(shell)
    worker.handle(Opened((Known(*key, RunState.RUNNING, 0),)), now(71))
    (commit,) = worker.handle(Tick(), now(120))
    assert isinstance(commit, Commit)
    assert not commit.transaction.claims


def test_a_slot_is_not_skipped_for_a_run_whose_end_is_yet_to_be_told() -> None:
    """The keeper holds it as over: the slots wait until its end was read."""
    shell, key = running()
    worker, _ = restarted(shell)
    worker.handle(Opened((Known(*key, RunState.ENDED, 0),)), now(119))
    worker.handle(HeldBack(*key, ()), now(119))
    assert worker.handle(Tick(), now(120)) == []
    assert worker.next_due(now(120)) == 1.0  # the end comes by itself
    worker.handle(AttemptEnded(*key, 5, False, False, 0, {}), now(120.1))
    (commit,) = worker.handle(Tick(), now(120.1))
    assert isinstance(commit, Commit)
    ((claim, _),) = commit.transaction.claims
    assert claim.slot == T0 + 120 * SECOND


def test_a_set_that_comes_before_such_an_end_waits_for_it() -> None:
    """Else a schedule that it removes would leave slots undecided."""
    shell, key = running()
    worker, _ = restarted(shell)
    worker.handle(Opened((Known(*key, RunState.ENDED, 0),)), now(119))
    worker.handle(HeldBack(*key, ()), now(119))
    body = SCHEDULE_SET.encode(ScheduleSet(schedules=[]))
    assert worker.handle(NewSet(9, b"h" * 32, body), now(121)) == []
    worker.handle(AttemptEnded(*key, 5, False, False, 0, {}), now(121.1))
    effects = worker.handle(Tick(), now(121.1))
    (commit,) = [effect for effect in effects if isinstance(effect, Commit)]
    ((claim, _),) = commit.transaction.claims
    assert claim.slot == T0 + 120 * SECOND
    assert commit.transaction.new_set is not None


def test_a_step_that_was_reported_before_the_restart_is_not_reported_again() -> None:
    shell, key = running()
    ended = StepEnded(*key, 0, 3, None, 1, 2, None)
    shell.handle(ended, 61)
    worker, _ = restarted(shell)
    worker.handle(Opened((Known(*key, RunState.ENDED, 0),)), now(71))
    worker.handle(HeldBack(*key, ()), now(71))
    assert worker.handle(ended, now(71)) == []
    (commit,) = worker.handle(AttemptEnded(*key, 5, False, False, 0, {}), now(71))
    assert isinstance(commit, Commit)
    record = STATE_RECORD.decode(commit.transaction.state[0])
    assert isinstance(record, Ended)
    assert record.reason == "exit 3"


def settled(shell: Shell, boot: bytes) -> str:
    worker, run = restarted(shell, boot)
    key = run.claim.run_id, 1
    assert worker.handle(Opened(()), now(71)) == [Resume(*key, run.position, lost=True)]
    (commit,) = worker.handle(HeldBack(*key, ()), now(71))
    assert isinstance(commit, Commit)
    record = STATE_RECORD.decode(commit.transaction.state[0])
    assert isinstance(record, Ended)
    assert record.verdict == Verdict.INTERRUPTED
    return record.reason


def test_a_claim_that_the_keeper_never_saw_did_not_start_if_it_is_of_this_boot() -> None:
    assert settled(running()[0], BOOT) == "did not start"
    assert settled(running()[0], b"other boot id..!") == "may or may not have started"


def test_a_run_that_had_started_and_is_gone_was_interrupted() -> None:
    shell, key = running()
    shell.handle(StepStarted(*key, 0, 42, T0), 60)
    assert settled(shell, b"other boot id..!") == "it had started, and its end was not seen"


def test_what_the_keeper_holds_of_nobody_is_forgotten() -> None:
    worker = Worker(state(), HOST, now(0))
    assert worker.handle(Opened((Known(b"?" * 16, 1, RunState.ENDED, 0),)), now(0)) == [
        Forget(b"?" * 16, 1)
    ]


def test_when_the_keeper_is_lost_and_found_its_runs_go_on() -> None:
    shell, key = running()
    shell.handle(OutputRead(*key, 17, (Frame(0, 1, T0, b"hi"),)), 60)
    (resume,) = shell.handle(Opened((Known(*key, RunState.RUNNING, 17),)), 61)
    assert resume == Resume(*key, 0)
    shell.handle(HeldBack(*key, (HeldChunk(0, 1, 0, 0),)), 61)
    assert key in shell.worker.runs


def test_a_set_of_very_many_schedules_is_reported_in_records_that_fit() -> None:
    shell = Shell(state())
    many = [schedule(f"s{number}", "2001-01-01") for number in range(4500)]
    encoded = SCHEDULE_SET.encode(ScheduleSet(schedules=many))
    shell.handle(NewSet(1, b"h", encoded), 1)
    told = [r for r in shell.of(SetApplied) if isinstance(r, SetApplied)]
    assert sum(len(one.schedules) for one in told) == 4500
    assert sum(len(one.since) for one in told) == 4500
    assert max(len(STATE_RECORD.encode(one)) for one in told) < 60_000
