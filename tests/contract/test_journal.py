"""One suite for the journal on disk and its twin in memory."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from bartoc import journal_tables
from bartoc.ballast import BALLAST_BYTES
from bartoc.journal import (
    Claim,
    Held,
    HeldChunk,
    Journal,
    Moved,
    Room,
    StoredSet,
    Transaction,
    WaitingStart,
    merged,
)
from bartoc.journal_memory import MemoryJournal
from bartoc.journal_sqlite import SqliteJournal
from libbarto.errors import JournalError
from libbarto.identity import NO_TAG, next_tag
from libbarto.message.v2.record import (
    OUTPUT_RECORD,
    STATE_RECORD,
    Decided,
    Ended,
    Lane,
    Notice,
    Output,
    SetApplied,
    Verdict,
)

WORKER = b"w" * 16
SPOOL = b"s" * 16
SCHEDULE = b"x" * 16
BOOT = b"b" * 16

pytestmark = pytest.mark.real_loop


class Disk:
    """Where a journal lives: `open` gives the same one again, as after a crash."""

    def __init__(self, kind: str, path: Path) -> None:
        self._path = path / "journal.db"
        self._spools = 0
        self._memory = MemoryJournal(WORKER, SPOOL) if kind == "memory" else None

    def _mint(self) -> bytes:
        self._spools += 1
        return SPOOL if self._spools == 1 else bytes([self._spools]) * 16

    def open(self) -> Journal:
        return self._memory or SqliteJournal(self._path, WORKER, self._mint)


@pytest.fixture(params=["memory", "sqlite"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    return Disk(request.param, tmp_path)


Scenario = Callable[[Journal], Awaitable[None]]


def claim(number: int, attempt: int = 1) -> Claim:
    return Claim(bytes([number]) * 16, attempt, SCHEDULE, 1000 + number, 2000, BOOT, b"spec")


async def test_a_fresh_journal_holds_nothing(disk: Disk) -> None:
    state = await disk.open().load()
    assert (state.worker_uid, state.spool_id, state.epoch) == (WORKER, SPOOL, 0)
    assert state.current_set is None
    assert not state.cursors
    assert not state.open_runs
    assert state.lanes[Lane.STATE].first == 1
    assert state.lanes[Lane.STATE].last == 0


async def test_a_claim_is_made_once_and_its_records_with_it(disk: Disk) -> None:
    journal = disk.open()
    await journal.load()
    change = Transaction(claims=[(claim(1), [b"claimed"])])
    assert await journal.commit(change) == {(claim(1).run_id, 1)}
    assert await journal.commit(change) == frozenset()
    assert [r.data for r in await journal.read(Lane.STATE, 0, 1000)] == [b"claimed"]


async def test_all_of_a_transaction_is_there_after_a_crash(disk: Disk) -> None:
    journal = disk.open()
    await journal.load()
    stored = StoredSet(3, b"hash", b"body", 77)
    await journal.commit(
        Transaction(
            claims=[(claim(1), [b"c"])],
            state=[b"d"],
            output=[b"o"],
            cursors={SCHEDULE: 5},
            new_set=stored,
            newest=9,
            contact=8,
        )
    )
    await journal.store_epoch(4)
    again = disk.open()
    state = await again.load()
    assert state == await again.state()
    assert state.cursors == {SCHEDULE: 5}
    assert state.current_set == stored
    assert [run.claim for run in state.open_runs] == [claim(1)]
    assert (state.newest, state.contact, state.epoch) == (9, 8, 4)
    assert state.lanes[Lane.STATE].last == 2
    assert state.lanes[Lane.OUTPUT].last == 1


async def test_records_are_numbered_without_gaps_and_chained_by_tags(disk: Disk) -> None:
    journal = disk.open()
    await journal.load()
    await journal.commit(Transaction(output=[b"a", b"b"]))
    await journal.commit(Transaction(output=[b"c"]))
    first, second, third = await journal.read(Lane.OUTPUT, 0, 1000)
    assert (first.seq, second.seq, third.seq) == (1, 2, 3)
    assert first.tag == next_tag(NO_TAG, b"a")
    assert third.tag == next_tag(second.tag, b"c")
    assert await journal.tag_at(Lane.OUTPUT, 0) == NO_TAG
    assert await journal.tag_at(Lane.OUTPUT, 2) == second.tag
    assert await journal.tag_at(Lane.OUTPUT, 4) is None


async def test_reading_is_bounded_but_never_stuck(disk: Disk) -> None:
    journal = disk.open()
    await journal.load()
    await journal.commit(Transaction(output=[b"x" * 100, b"y" * 100, b"z" * 100]))
    assert [r.seq for r in await journal.read(Lane.OUTPUT, 0, 10)] == [1]
    assert [r.seq for r in await journal.read(Lane.OUTPUT, 0, 200)] == [1, 2]
    assert [r.seq for r in await journal.read(Lane.OUTPUT, 2, 999)] == [3]
    assert await journal.read(Lane.OUTPUT, 3, 999) == []


async def test_progress_of_an_open_run_is_kept_until_it_ends(disk: Disk) -> None:
    journal = disk.open()
    await journal.load()
    key = claim(1).run_id, 1
    await journal.commit(Transaction(claims=[(claim(1), [])]))
    await journal.commit(Transaction(progress={key: (42, b"where")}))
    (run,) = (await disk.open().load()).open_runs
    assert (run.position, run.progress) == (42, b"where")
    journal = disk.open()
    await journal.load()
    await journal.commit(Transaction(ended=[key], progress={(b"?" * 16, 1): (1, b"")}))
    assert (await journal.state()).open_runs == ()
    assert await journal.commit(Transaction(claims=[(claim(1), [])])) == frozenset()


def chunk(number: int) -> Held:
    data = b"%d\n" % number
    record = OUTPUT_RECORD.encode(
        Output(
            run_id=claim(1).run_id,
            attempt=1,
            chunk_no=number,
            step=1,
            offset=2 * number,
            first_line=number,
            lines=1,
            started_at=0,
            segments=b"",
            data=data,
        )
    )
    return Held(claim(1).run_id, 1, number, len(data), record)


async def test_chunks_held_back_come_back_in_order(disk: Disk) -> None:
    journal = disk.open()
    await journal.load()
    run = claim(1).run_id
    await journal.commit(Transaction(hold=[chunk(number) for number in (2, 0, 1)]))
    await journal.commit(Transaction(release=[(run, 1, 0), (run, 1, 9)]))
    assert await journal.held(run, 1) == [HeldChunk(1, 2, 2, 1), HeldChunk(2, 2, 4, 2)]
    assert await journal.held(run, 2) == []


async def test_chunks_held_back_become_records_where_they_are_named(disk: Disk) -> None:
    journal = disk.open()
    await journal.load()
    run = claim(1).run_id
    await journal.commit(Transaction(hold=[chunk(number) for number in (2, 1)]))
    await journal.commit(
        Transaction(output=[b"before", Moved(run, 1, 3), b"after"], hold=[chunk(3)])
    )
    told = [record.data for record in await journal.read(Lane.OUTPUT, 0, 10_000)]
    assert told == [b"before", *(chunk(number).record for number in (1, 2, 3)), b"after"]
    assert await journal.held(run, 1) == []
    assert (await journal.state()).lanes[Lane.OUTPUT].last == 5


async def test_the_room_counts_what_the_server_has_not_acknowledged(disk: Disk) -> None:
    journal = disk.open()
    await journal.load()
    assert journal.room() == Room()
    await journal.commit(Transaction(output=[b"x" * 100, b"y" * 10], state=[b"s"]))
    assert journal.room() == Room(waiting=110)
    await journal.acknowledge(Lane.OUTPUT, 1)
    assert journal.room().waiting == 10
    assert await journal.relieve() == Room(waiting=10)
    assert (await journal.state()).lanes[Lane.OUTPUT].first == 2
    await journal.load()
    assert journal.room().waiting == 10
    await journal.forget_acknowledged(Lane.OUTPUT, 1)
    assert journal.room().waiting == 10


async def test_a_new_spool_has_what_was_not_acknowledged_and_no_cursors(disk: Disk) -> None:
    journal = disk.open()
    await journal.load()
    before = (await journal.state()).spool_id
    applied = STATE_RECORD.encode(SetApplied(generation=1, at=5))
    end = Ended(run_id=claim(1).run_id, attempt=1, verdict=0, ended_at=7, output_seq=3)
    ended = STATE_RECORD.encode(end)
    stored = StoredSet(4, b"hash", b"body", 77)
    waiting = waits(2, spec=b"")
    await journal.commit(
        Transaction(
            claims=[(claim(1), [applied])],
            state=[ended],
            output=[chunk(number).record for number in range(4)],
            cursors={SCHEDULE: 5},
            new_set=stored,
            waiting=[waiting],
        )
    )
    await journal.store_epoch(7)
    await journal.acknowledge(Lane.STATE, 1)
    await journal.acknowledge(Lane.OUTPUT, 1)
    await journal.renew("asked for")
    state = await journal.load()
    assert state.spool_id != before
    assert (state.epoch, state.cursors, state.waiting) == (7, {}, ())
    assert state.current_set is None
    assert state.pending_set is not None
    assert (state.pending_set.generation, state.pending_set.body) == (4, b"body")
    assert [run.claim for run in state.open_runs] == [claim(1)]
    told = [
        STATE_RECORD.decode(record.data) for record in await journal.read(Lane.STATE, 0, 10_000)
    ]
    notices = [one for one in told if isinstance(one, Notice)]
    assert [one.kind for one in notices] == ["spool_renewed"]
    assert "asked for" in notices[0].text
    assert msgspec.structs.replace(end, output_seq=2) in told
    (given_up,) = [one for one in told if isinstance(one, Decided)]
    assert (given_up.verdict, given_up.first_slot) == (Verdict.MISSED, waiting.slot)
    assert len(told) == 3
    output = [record.data for record in await journal.read(Lane.OUTPUT, 0, 10_000)]
    assert output == [chunk(number).record for number in (1, 2, 3)]
    await journal.commit(Transaction(new_set=StoredSet(5, b"h", b"b", 78)))
    state = await journal.state()
    assert state.pending_set is None
    assert state.current_set == StoredSet(5, b"h", b"b", 78)


async def test_only_acknowledged_records_are_pruned_and_the_chain_goes_on(disk: Disk) -> None:
    journal = disk.open()
    await journal.load()
    await journal.commit(Transaction(state=[b"a", b"b", b"c"], newest=100))
    tags = [record.tag for record in await journal.read(Lane.STATE, 0, 99)]
    await journal.acknowledge(Lane.STATE, 2)
    assert await journal.prune(1_000_000, 50) == 0
    assert await journal.prune(0, 50) == 2
    facts = (await journal.state()).lanes[Lane.STATE]
    assert (facts.first, facts.last, facts.before_tag) == (3, 3, tags[1])
    assert await journal.tag_at(Lane.STATE, 2) == tags[1]
    assert await journal.tag_at(Lane.STATE, 1) is None
    await journal.acknowledge(Lane.STATE, 3)
    assert await journal.prune(1_000_000, 101) == 1
    facts = (await journal.state()).lanes[Lane.STATE]
    assert (facts.first, facts.last, facts.tag) == (4, 3, tags[2])


async def test_an_acknowledgement_never_falls_unless_the_server_was_restored(disk: Disk) -> None:
    journal = disk.open()
    await journal.load()
    await journal.commit(Transaction(state=[b"a", b"b"]))
    await journal.acknowledge(Lane.STATE, 2)
    await journal.acknowledge(Lane.STATE, 1)
    assert (await journal.state()).lanes[Lane.STATE].acknowledged == 2
    await journal.forget_acknowledged(Lane.STATE, 1)
    assert (await journal.state()).lanes[Lane.STATE].acknowledged == 1


async def test_nothing_up_to_the_floor_is_claimed_again(disk: Disk) -> None:
    journal = disk.open()
    await journal.load()
    await journal.commit(Transaction(claims=[(claim(1), []), (claim(2), [])]))
    await journal.commit(Transaction(ended=[(claim(1).run_id, 1)]))
    await journal.prune(0, 0, floor=1002)
    assert await journal.commit(Transaction(claims=[(claim(1), []), (claim(3), [])])) == {
        (claim(3).run_id, 1)
    }
    await journal.prune(0, 0, floor=0)
    assert (await journal.state()).floor == 1002
    assert {run.claim.run_id for run in (await journal.state()).open_runs} == {
        claim(2).run_id,
        claim(3).run_id,
    }


async def test_merged_transactions_do_what_they_did_alone(disk: Disk) -> None:
    journal = disk.open()
    await journal.load()
    stored = StoredSet(1, b"h", b"b")
    both = merged(
        [
            Transaction(claims=[(claim(1), [b"1"])], cursors={SCHEDULE: 1}, newest=5),
            Transaction(state=[b"2"], output=[b"3"], cursors={SCHEDULE: 2}, new_set=stored),
        ]
    )
    assert await journal.commit(both) == {(claim(1).run_id, 1)}
    state = await journal.state()
    assert (state.cursors, state.newest, state.current_set) == ({SCHEDULE: 2}, 5, stored)
    assert [r.data for r in await journal.read(Lane.STATE, 0, 99)] == [b"1", b"2"]
    only = Transaction(state=[b"4"])
    assert merged([only]) is only


def waits(number: int, **more: object) -> WaitingStart:
    run_id = bytes([number]) * 16
    start = WaitingStart(run_id, 1, 0, SCHEDULE, 1000 + number, b"c", "queue", 7, 8, 9, b"spec")
    return replace(start, **more)  # type: ignore[arg-type]


async def test_what_is_decided_and_not_claimed_is_there_after_a_crash(disk: Disk) -> None:
    journal = disk.open()
    await journal.load()
    await journal.commit(
        Transaction(
            cursors={SCHEDULE: 5},
            since={SCHEDULE: 3, b"?" * 16: 3},
            waiting=[waits(1), waits(2, until=None)],
            refusals={b"r" * 16: 4},
            verdicts={b"v" * 16: 1002},
            boots={SCHEDULE: BOOT},
        )
    )
    await journal.commit(
        Transaction(waiting=[waits(2, why="retry", attempt=2)], unwaiting=[waits(1).run_id])
    )
    state = await disk.open().load()
    assert state.since == {SCHEDULE: 3}, "only a schedule with a cursor has one"
    assert list(state.waiting) == [waits(2, why="retry", attempt=2)]
    assert (state.refusals, state.verdicts) == ({b"r" * 16: 4}, {b"v" * 16: 1002})
    assert state.boots == {SCHEDULE: BOOT}


async def test_a_refusal_never_falls(disk: Disk) -> None:
    journal = disk.open()
    await journal.load()
    for number in (3, 2):
        await journal.commit(Transaction(refusals={b"r" * 16: number}))
    assert (await journal.state()).refusals == {b"r" * 16: 3}


async def test_claims_beyond_their_cursor_are_told(disk: Disk) -> None:
    journal = disk.open()
    await journal.load()
    await journal.commit(
        Transaction(
            claims=[(claim(1), []), (claim(2), []), (claim(2, 2), []), (claim(3), [])],
            ended=[(claim(3).run_id, 1)],
            cursors={SCHEDULE: 1003},
        )
    )
    assert (await journal.state()).ahead == ()
    await journal.commit(Transaction(cursors={SCHEDULE: 1001}))
    assert list((await journal.state()).ahead) == [
        (claim(2).run_id, SCHEDULE, 1002),
        (claim(3).run_id, SCHEDULE, 1003),
    ]


async def test_a_claim_below_the_floor_is_told_as_too_old_unless_its_run_waited(disk: Disk) -> None:
    journal = disk.open()
    await journal.load()
    await journal.commit(Transaction(waiting=[waits(2)]))
    await journal.prune(0, 0, floor=1005)
    claims = [(claim(number), [b"claimed"]) for number in (1, 2, 3)]
    made = await journal.commit(
        Transaction(
            claims=claims,
            too_old={claim(number).run_id: b"too old" for number in (1, 2)},
            unwaiting=[claim(2).run_id],
        )
    )
    assert made == {(claim(2).run_id, 1)}
    assert [r.data for r in await journal.read(Lane.STATE, 0, 99)] == [b"too old", b"claimed"]
    assert not (await journal.state()).waiting


async def test_no_cursor_is_set_below_the_floor(disk: Disk) -> None:
    journal = disk.open()
    await journal.load()
    await journal.prune(0, 0, floor=1005)
    await journal.commit(Transaction(cursors={SCHEDULE: 3}, since={SCHEDULE: 2}))
    state = await journal.state()
    assert (state.cursors, state.since) == ({SCHEDULE: 1005}, {SCHEDULE: 1005})


async def test_refusals_and_verdicts_of_what_is_too_old_are_pruned(disk: Disk) -> None:
    journal = disk.open()
    await journal.load()
    old, new = (slot.to_bytes(6, "big") + bytes(10) for slot in (1, 2))  # milliseconds
    await journal.commit(
        Transaction(refusals={old: 1, new: 1}, verdicts={b"o" * 16: 2000, b"n" * 16: 2001})
    )
    await journal.prune(0, 0, floor=2000)
    state = await journal.state()
    assert (state.refusals, state.verdicts) == ({new: 1}, {b"n" * 16: 2001})


async def test_the_records_of_claims_stand_where_they_belong(disk: Disk) -> None:
    journal = disk.open()
    await journal.load()
    change = merged(
        [
            Transaction(state=[b"1", b"3"], claims=[(claim(1), [b"2"])], places=[1]),
            Transaction(state=[b"5", b"6"], claims=[(claim(1), [b"no"]), (claim(2), [b"4"])]),
        ]
    )
    assert await journal.commit(change) == {(claim(1).run_id, 1), (claim(2).run_id, 1)}
    found = [r.data for r in await journal.read(Lane.STATE, 0, 99)]
    assert found == [b"1", b"2", b"3", b"4", b"5", b"6"]


def test_of_merged_transactions_the_later_word_counts() -> None:
    change = merged(
        [
            Transaction(waiting=[waits(1), waits(2)], refusals={b"r": 2}, boots={b"s": b"1"}),
            Transaction(unwaiting=[waits(1).run_id, waits(3).run_id], refusals={b"r": 1}),
            Transaction(waiting=[waits(3)], boots={b"s": b"2"}),
        ]
    )
    assert [start.run_id[0] for start in change.waiting] == [1, 2, 3]
    assert [run_id[0] for run_id in change.unwaiting] == [1]
    assert (change.refusals, change.boots) == ({b"r": 2}, {b"s": b"2"})


async def test_a_journal_of_the_first_release_opens_with_all_that_it_held(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    connection = sqlite3.connect(path)
    connection.executescript(journal_tables._STEPS[0])
    connection.execute(
        "INSERT INTO meta VALUES (1, ?, ?, 4, 9, 8, 2, 3, x'68', x'62', 5)", (WORKER, SPOOL)
    )
    connection.execute("INSERT INTO cursor VALUES (?, 6)", (SCHEDULE,))
    for lane in Lane:
        connection.execute(
            "INSERT INTO lane (lane, tag, before_tag) VALUES (?, ?, ?)", (lane, NO_TAG, NO_TAG)
        )
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    journal = SqliteJournal(path, WORKER, lambda: b"another".ljust(16))
    state = await journal.load()
    assert (state.spool_id, state.epoch, state.cursors) == (SPOOL, 4, {SCHEDULE: 6})
    assert state.current_set == StoredSet(3, b"h", b"b", 5)
    assert (state.since, state.waiting) == ({}, ())
    await journal.commit(Transaction(waiting=[waits(1)]))
    assert list((await journal.load()).waiting) == [waits(1)]


async def test_a_commit_that_fails_in_the_twin_changes_nothing() -> None:
    journal = MemoryJournal(WORKER, SPOOL)
    journal.fail_next = True
    with pytest.raises(JournalError):
        await journal.commit(Transaction(state=[b"a"]))
    assert (await journal.state()).lanes[Lane.STATE].last == 0
    await journal.close()


async def test_a_journal_that_is_not_open_says_so(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "j.db", WORKER, lambda: SPOOL)
    with pytest.raises(JournalError, match="not open"):
        await journal.commit(Transaction())


async def test_the_file_is_private(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "j.db", WORKER, lambda: SPOOL)
    await asyncio.gather(journal.load())
    assert (tmp_path / "j.db").stat().st_mode & 0o777 == 0o600


async def test_a_commit_for_which_there_is_no_room_changes_nothing(tmp_path: Path) -> None:
    """A limit on the file's pages stands for a full disk: SQLite says the same (SQLITE_FULL)."""
    ballast = tmp_path / "j.db.ballast"
    journal = SqliteJournal(tmp_path / "j.db", WORKER, lambda: SPOOL)
    await journal.load()
    assert ballast.stat().st_size == BALLAST_BYTES
    await journal._do(lambda: journal._opened().execute("PRAGMA max_page_count = 60").fetchall())
    big = Transaction(claims=[(claim(1), [b"c" * 1000])], output=[b"x" * 500_000])
    with pytest.raises(JournalError, match="full"):
        await journal.commit(big)
    assert ballast.stat().st_size == 0
    assert journal.room().scarce
    state = await journal.load()
    assert state.open_runs == ()
    assert (state.lanes[Lane.STATE].last, state.lanes[Lane.OUTPUT].last) == (0, 0)
    assert await journal.commit(big) == {(claim(1).run_id, 1)}
    assert not (await journal.relieve()).scarce
    assert ballast.stat().st_size == BALLAST_BYTES
    await journal.close()
