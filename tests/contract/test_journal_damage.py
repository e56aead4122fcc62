"""Whatever becomes of the journal's file: the worker goes on, nothing corrupt is delivered, and
nothing is delivered that was not written."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bartoc.journal import Claim, Held, JournalState, StoredSet, Transaction, WaitingStart
from bartoc.journal_sqlite import SqliteJournal
from bartoc.starting import RUN_SPEC, RunSpec
from libbarto.errors import JournalError
from libbarto.identity import Kind, occurrence_id
from libbarto.message.v2.record import (
    OUTPUT_RECORD,
    STATE_RECORD,
    Claimed,
    Cut,
    Decided,
    Ended,
    Lane,
    Notice,
    Output,
    Record,
    Verdict,
)
from libbarto.message.v2.segment import Segment, pack

pytestmark = pytest.mark.real_loop

WORKER = b"w" * 16
OLD = b"o" * 16
NEW = b"n" * 16
TICK = b"tick" * 4
BOOT = b"b" * 16
T0 = 1_800_000_000_000_000
VARIANTS = 500


def run_id(number: int) -> bytes:
    return occurrence_id(Kind.CALENDAR, TICK, WORKER, T0 + number)


def claimed(number: int) -> bytes:
    return STATE_RECORD.encode(
        Claimed(
            run_id=run_id(number),
            attempt=1,
            kind=Kind.CALENDAR,
            schedule_uid=TICK,
            schedule="tick",
            slot=T0 + number,
            at=T0 + number,
        )
    )


def printed(number: int, chunk_no: int) -> bytes:
    data = b"run %06d chunk %06d\n" % (number, chunk_no) * 20
    return OUTPUT_RECORD.encode(
        Output(
            run_id=run_id(number),
            attempt=1,
            chunk_no=chunk_no,
            step=1,
            offset=chunk_no * len(data),
            first_line=chunk_no * 20,
            lines=20,
            started_at=T0,
            segments=pack([Segment(stream=1, length=len(data))]),
            data=data,
        )
    )


def ended(number: int, output_seq: int) -> bytes:
    return STATE_RECORD.encode(
        Ended(
            run_id=run_id(number), attempt=1, verdict=Verdict.OK, ended_at=T0, output_seq=output_seq
        )
    )


def claim(number: int) -> Claim:
    spec = RUN_SPEC.encode(RunSpec(schedule="tick", commands=["true"]))
    return Claim(run_id(number), 1, TICK, T0 + number, T0 + number, BOOT, spec)


def journal_at(path: Path) -> SqliteJournal:
    return SqliteJournal(path, WORKER, lambda: NEW, lambda: T0 + 1_000_000)


RUNS = 30
RUNNING = 29
"""The last run has not ended."""


@dataclass(frozen=True)
class Original:
    """A journal as it was before it was damaged, with half of it in the write-ahead log."""

    directory: Path
    state: JournalState
    unsafe: dict[Lane, list[bytes]]


async def written(directory: Path) -> Original:
    path = directory / "journal.db"
    journal = SqliteJournal(path, WORKER, lambda: OLD)
    await journal.load()
    await journal.store_epoch(7)
    await journal.commit(
        Transaction(cursors={TICK: T0}, new_set=StoredSet(3, b"h", b"body" * 50, T0), newest=T0)
    )
    for number in range(RUNS):
        await journal.commit(
            Transaction(
                claims=[(claim(number), [claimed(number)])],
                cursors={TICK: T0 + number},
                newest=T0 + number,
            )
        )
        key = run_id(number), 1
        await journal.commit(
            Transaction(output=[printed(number, 0)], progress={key: (99, b"so far")})
        )
        if number < RUNNING:
            last = 2 * number + 2
            await journal.commit(
                Transaction(output=[printed(number, 1)], state=[ended(number, last)], ended=[key])
            )
        if number == RUNS // 2:
            await journal._do(
                lambda: journal._opened().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            )
    waits = WaitingStart(
        run_id(99), 1, 0, TICK, T0 + 99, b"", "queue", T0, T0, None, claim(99).spec
    )
    await journal.commit(
        Transaction(
            waiting=[waits],
            refusals={b"r" * 16: 4},
            verdicts={b"v" * 16: T0},
            boots={TICK: BOOT},
            hold=[Held(run_id(RUNNING), 1, 7, 400, printed(RUNNING, 7))],
        )
    )
    await journal.acknowledge(Lane.STATE, 20)
    await journal.acknowledge(Lane.OUTPUT, 20)
    state = await journal.state()
    unsafe = {
        lane: [record.data for record in await journal.read(lane, 20, 1 << 30)] for lane in Lane
    }
    copy = directory / "copy"
    copy.mkdir()
    copy_files(directory, copy)  # before it is closed: the log stays as it is
    await journal.close()
    (copy / "journal.db-shm").unlink()
    return Original(copy, state, unsafe)


def copy_files(directory: Path, copy: Path) -> None:
    for file in directory.glob("journal.db*"):
        shutil.copy(file, copy)


def remove_files(directory: Path) -> None:
    for file in directory.glob("journal.db*"):
        file.unlink()


Damage = Callable[[Path, random.Random], None]


def flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def truncate(path: Path, rng: random.Random) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(rng.choice([rng.randrange(size), rng.randrange(size // 4096) * 4096]))


def zero_a_page(path: Path, rng: random.Random) -> None:
    page = rng.randrange(path.stat().st_size // 4096)
    with path.open("r+b") as file:
        file.seek(page * 4096)
        file.write(bytes(4096))


def garbage_in_the_header(path: Path, rng: random.Random) -> None:
    with path.open("r+b") as file:
        file.write(rng.randbytes(rng.choice([16, 50, 100])))


def garbage_somewhere(path: Path, rng: random.Random) -> None:
    with path.open("r+b") as file:
        file.seek(rng.randrange(path.stat().st_size))
        file.write(rng.randbytes(rng.randrange(1, 5000)))


def swap_pages(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    one, other = (rng.randrange(len(data) // 4096) * 4096 for _ in range(2))
    kept = data[one : one + 4096]
    data[one : one + 4096] = data[other : other + 4096]
    data[other : other + 4096] = kept
    path.write_bytes(data)


def flip_in_the_log(path: Path, rng: random.Random) -> None:
    flip(path.with_name("journal.db-wal"), rng)


def truncate_the_log(path: Path, rng: random.Random) -> None:
    truncate(path.with_name("journal.db-wal"), rng)


def lose_the_log(path: Path, rng: random.Random) -> None:
    path.with_name("journal.db-wal").unlink()


DAMAGES: tuple[Damage, ...] = (
    *(flip, flip, flip, flip, truncate, zero_a_page, garbage_in_the_header, garbage_somewhere),
    *(swap_pages, flip_in_the_log, truncate_the_log, lose_the_log),
)


async def delivered(journal: SqliteJournal) -> dict[Lane, list[Record]]:
    """All that a server would be sent."""
    found: dict[Lane, list[Record]] = {}
    for lane in Lane:
        codec = STATE_RECORD if lane is Lane.STATE else OUTPUT_RECORD
        records = await journal.read(lane, 0, 1 << 30)
        assert [record.seq for record in records] == list(range(1, len(records) + 1))
        found[lane] = [codec.decode(record.data) for record in records]  # type: ignore[misc]
    return found


async def goes_on(path: Path, original: Original) -> str:
    """Open a damaged journal, and hold it to what it must be; what became of it."""
    journal = journal_at(path)
    state = await journal.load()
    aside = [one for one in path.parent.glob("journal.db.damaged-*") if one.name[-4:] != "-wal"]
    if state.spool_id == OLD:
        assert not aside
        assert state == original.state, "it is as it was, to the bit"
        for lane in Lane:
            held = await journal.read(lane, 20, 1 << 30)
            assert [record.data for record in held] == original.unsafe[lane]
        outcome = "as it was"
    else:
        assert (state.spool_id, state.epoch, len(aside)) == (NEW, 7, 1)
        assert state.current_set is None
        assert not state.cursors and not state.waiting
        kind = _is_honest(await delivered(journal), original)
        assert {run.claim for run in state.open_runs} <= {
            run.claim for run in original.state.open_runs
        }
        outcome = kind
    # It works.
    made = await journal.commit(Transaction(claims=[(claim(77), [claimed(77)])]))
    assert made == {(run_id(77), 1)}
    await journal.close()
    again = journal_at(path)
    reloaded = await again.load()
    assert reloaded.spool_id == state.spool_id, "once is enough"
    await again.close()
    return outcome


def _is_honest(told: dict[Lane, list[Record]], original: Original) -> str:
    """Is all of it what was written and not yet delivered, once, or our own word about the rest?"""
    notice, *state = told[Lane.STATE][-1:] + told[Lane.STATE][:-1]
    assert isinstance(notice, Notice)
    written = Counter(
        STATE_RECORD.encode(_without_number(STATE_RECORD.decode(data)))  # type: ignore[arg-type]
        for data in original.unsafe[Lane.STATE]
    )
    for record in state:
        own_word = (isinstance(record, Ended) and record.verdict == Verdict.INTERRUPTED) or (
            isinstance(record, Decided) and record.verdict == Verdict.MISSED
        )
        encoded = STATE_RECORD.encode(_without_number(record))
        assert own_word or written[encoded] == 1, record
        written[encoded] -= 1
        if isinstance(record, Ended) and record.output_seq:
            last = told[Lane.OUTPUT][record.output_seq - 1]
            assert isinstance(last, Output | Cut)
    chunks = Counter(original.unsafe[Lane.OUTPUT])
    for one in told[Lane.OUTPUT]:
        assert isinstance(one, Cut) or chunks[OUTPUT_RECORD.encode(one)] == 1
        chunks[OUTPUT_RECORD.encode(one)] -= 1
    return notice.kind


def _without_number(record: Record) -> Record:
    if isinstance(record, Ended):
        fields = {name: getattr(record, name) for name in record.__struct_fields__}
        return Ended(**{**fields, "output_seq": 0})
    return record


@pytest.mark.parametrize("part", range(10))
async def test_whatever_is_damaged_the_worker_goes_on(tmp_path: Path, part: int) -> None:
    source = tmp_path / "source"
    source.mkdir()
    original = await written(source)
    outcomes: Counter[str] = Counter()
    for number in range(part, VARIANTS, 10):
        rng = random.Random(number)
        directory = tmp_path / f"variant{number}"
        shutil.copytree(original.directory, directory)
        path = directory / "journal.db"
        damage = DAMAGES[number // 10 % len(DAMAGES)]
        damage(path, rng)
        try:
            outcomes[await goes_on(path, original)] += 1
        except BaseException as error:
            error.add_note(f"variant {number}: {damage.__name__}")
            raise
        shutil.rmtree(directory)
    assert outcomes["journal_salvaged"] > 10


def make_empty(path: Path) -> None:
    path.write_bytes(b"")


def make_gone(path: Path) -> None:
    path.unlink()
    path.with_name("journal.db-wal").unlink()


def make_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "something").write_text("in it")


def make_newer(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (make_empty, "journal_lost"),
        (make_gone, "journal_lost"),
        (make_a_directory, "journal_lost"),
        (make_newer, "journal_salvaged"),
    ],
)
async def test_a_file_that_is_none_is_set_aside(
    tmp_path: Path, damage: Callable[[Path], None], kind: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    original = await written(source)
    path = original.directory / "journal.db"
    damage(path)
    if damage is make_gone:
        journal = journal_at(path)
        state = await journal.load()
        assert (state.spool_id, state.epoch) == (NEW, 7)
        (notice,) = (await delivered(journal))[Lane.STATE]
        assert isinstance(notice, Notice)
        assert notice.kind == kind
        assert "it is gone" in notice.text
        await journal.close()
    else:
        assert await goes_on(path, original) == kind


async def test_another_workers_journal_is_set_aside_and_nothing_of_it_told(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    theirs = SqliteJournal(path, b"x" * 16, lambda: b"y" * 16)
    await theirs.load()
    await theirs.commit(Transaction(claims=[(claim(1), [claimed(1)])]))
    await theirs.close()
    journal = journal_at(path)
    assert (await journal.load()).worker_uid == WORKER
    (notice,) = (await delivered(journal))[Lane.STATE]
    assert isinstance(notice, Notice)
    assert "another worker" in notice.text
    await journal.close()


async def test_what_is_intact_is_taken_over_whole(tmp_path: Path) -> None:
    """The header alone is broken: nothing is lost but the cursors, and what waited."""
    source = tmp_path / "source"
    source.mkdir()
    original = await written(source)
    path = original.directory / "journal.db"
    path.with_name("journal.db-wal").unlink()
    path.with_name("journal.db.witness").unlink()
    whole = journal_at(path)
    before = await whole.load()
    unsafe = [record.data for record in await whole.read(Lane.OUTPUT, 0, 1 << 30)]
    await whole.close()
    with path.open("r+b") as file:
        file.write(b"not a database, is it?")
    journal = journal_at(path)
    after = await journal.load()
    assert after.spool_id == NEW
    assert after.pending_set == replace(before.current_set, applied_at=-1)  # type: ignore[type-var]
    assert after.open_runs == before.open_runs
    assert [r.data for r in await journal.read(Lane.OUTPUT, 0, 1 << 30)] == unsafe
    await journal.close()


async def test_a_claim_that_was_salvaged_is_never_made_again(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    original = await written(source)
    path = original.directory / "journal.db"
    make_newer(path)
    journal = journal_at(path)
    await journal.load()
    for number in range(RUNS):
        assert not await journal.commit(Transaction(claims=[(claim(number), [])]))
    await journal.close()


async def test_what_the_keeper_holds_and_no_claim_tells_of_is_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = journal_at(path)
    await journal.load()
    await journal.close()
    (tmp_path / "runs" / f"{run_id(5).hex()}.1").mkdir(parents=True)
    path.unlink()
    journal = journal_at(path)
    await journal.load()
    end, _ = (await delivered(journal))[Lane.STATE]
    assert isinstance(end, Ended)
    assert (end.run_id, end.attempt, end.verdict) == (run_id(5), 1, Verdict.INTERRUPTED)
    assert not await journal.commit(Transaction(claims=[(claim(5), [])]))
    await journal.close()


async def test_a_gap_within_a_runs_output_is_marked_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = journal_at(path)
    await journal.load()
    await journal.commit(Transaction(output=[printed(1, number) for number in range(5)]))
    await journal._do(
        lambda: journal._opened().execute(
            "UPDATE record SET data = zeroblob(10) WHERE lane = 1 AND seq = 3"
        )
    )
    with pytest.raises(JournalError, match="record 3"):
        await journal.read(Lane.OUTPUT, 0, 1 << 30)
    await journal.load()
    _, two, cut, *rest = (await delivered(journal))[Lane.OUTPUT]
    assert isinstance(cut, Cut) and isinstance(two, Output)
    first, last = OUTPUT_RECORD.decode(printed(1, 2)), rest[0]
    assert isinstance(first, Output) and isinstance(last, Output)
    assert (cut.from_offset, cut.to_offset) == (first.offset, last.offset)
    assert (cut.lines, cut.first_line) == (20, 40)
    assert cut.reason == "the worker's journal was damaged"
    await journal.close()


async def test_a_journal_that_vanishes_while_it_is_open_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = journal_at(path)
    await journal.load()
    await journal.commit(Transaction(claims=[(claim(1), [claimed(1)])]))
    remove_files(tmp_path)
    with pytest.raises(JournalError, match="vanished"):
        await journal.commit(Transaction(state=[claimed(2)]))
    state = await journal.load()
    assert [run.claim for run in state.open_runs] == [claim(1)]
    assert state.lanes[Lane.STATE].last == 1
    await journal.close()


async def test_a_swap_that_a_crash_cut_short_is_finished(tmp_path: Path) -> None:
    """The new journal is whole, the old one still in its place: it does not come back."""
    source = tmp_path / "source"
    source.mkdir()
    original = await written(source)
    path = original.directory / "journal.db"
    other = journal_at(tmp_path / "new.db")
    await other.load()
    await other.commit(Transaction(state=[claimed(3)]))
    await other.close()
    shutil.copy(tmp_path / "new.db", path.with_name("journal.db.new"))
    journal = journal_at(path)
    state = await journal.load()
    assert (state.spool_id, state.lanes[Lane.STATE].last) == (NEW, 1)
    await journal.close()
