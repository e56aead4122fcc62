"""One suite for the journal on disk and its twin in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bartoc.journal import (
    Claim,
    Held,
    Journal,
    MemoryJournal,
    StoredSet,
    Transaction,
    merged,
)
from bartoc.journal_sqlite import SqliteJournal
from libbarto.errors import ConfigError, JournalError
from libbarto.identity import NO_TAG, next_tag
from libbarto.message.v2.record import Lane

WORKER = b"w" * 16
SPOOL = b"s" * 16
SCHEDULE = b"x" * 16
BOOT = b"b" * 16

pytestmark = pytest.mark.real_loop


class Disk:
    """Where a journal lives: `open` gives the same one again, as after a crash."""

    def __init__(self, kind: str, path: Path) -> None:
        self._path = path / "journal.db"
        self._memory = MemoryJournal(WORKER, SPOOL) if kind == "memory" else None

    def open(self) -> Journal:
        return self._memory or SqliteJournal(self._path, WORKER, lambda: SPOOL)


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


async def test_chunks_held_back_come_back_in_order(disk: Disk) -> None:
    journal = disk.open()
    await journal.load()
    run = claim(1).run_id
    chunks = [Held(run, 1, number, 3, b"rec") for number in (2, 0, 1)]
    await journal.commit(Transaction(hold=chunks))
    await journal.commit(Transaction(release=[(run, 1, 0), (run, 1, 9)]))
    assert [h.chunk_no for h in await journal.held(run, 1)] == [1, 2]
    assert await journal.held(run, 2) == []


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


async def test_a_journal_of_another_worker_is_refused(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "j.db", WORKER, lambda: SPOOL)
    await journal.load()
    await journal.close()
    with pytest.raises(ConfigError, match="another worker"):
        await SqliteJournal(tmp_path / "j.db", b"v" * 16, lambda: SPOOL).load()


async def test_a_journal_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal = SqliteJournal(path, WORKER, lambda: SPOOL)
    await journal.load()
    await journal._do(lambda: journal._opened().execute("PRAGMA user_version = 99"))
    await journal.close()
    with pytest.raises(ConfigError, match="newer bartoc"):
        await SqliteJournal(path, WORKER, lambda: SPOOL).load()


async def test_a_file_that_is_no_journal_is_an_error_of_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(JournalError, match=r"j\.db"):
        await SqliteJournal(path, WORKER, lambda: SPOOL).load()


async def test_the_file_is_private(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "j.db", WORKER, lambda: SPOOL)
    await asyncio.gather(journal.load())
    assert (tmp_path / "j.db").stat().st_mode & 0o777 == 0o600
