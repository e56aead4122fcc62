"""Does every planned start have exactly one line in the history? What is late, unknown, lost?

The slots of a schedule on a worker are known from its trigger and from when that counted; runs,
ranges of verdicts and what waits must cover them once each, up to the worker's cursor. Whatever
is missing or told twice is found here, and named (DESIGN section 4).

Where the cursor is, the worker does not say: a slot that is decided proves that all before it are.
"""

from __future__ import annotations

import enum
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from bartos.nearest import nearest
from bartos.plan import WorkerFacts, without_workers
from bartos.schedules import Definition
from bartos.store.orders import Ordered
from bartos.store.port import Applied, GapRow, RunRow, RunSlot, SlotRange, WaitingRow
from libbarto.errors import CalendarError
from libbarto.identity import Kind, occurrence_id
from libbarto.message.v2.record import Lane, Verdict
from libbarto.schedule import Timetable
from libbarto.timing import spec_of_timing

LATE_US: Final = 10_000_000
"""How far a connected worker's cursor may be behind a slot before that is *late*."""
STUCK_SKIPS: Final = 2
STUCK_TIMES: Final = 3
STUCK_RUNS: Final = 20
STUCK_LEAST_US: Final = 10_000_000
"""A run that took no longer than this is not called stuck for taking long."""

JOURNAL_LOST: Final = "its worker's journal was lost"
RECORDS_LOST: Final = "its worker's records were lost"
NOT_HEARD_OF: Final = "its worker was not heard of for too long"

_FIRST_BLOCK: Final = 16
_LAST_BLOCK: Final = 4096
_ALMANAC: Final = 512
NO_BOOT: Final = bytes(16)


# -- slots ----------------------------------------------------------------------------------------


class Slots:
    """The slots of a timetable, for one who asks for each in turn: they are found in blocks, which
    grow as long as the questions go on where the last block ended.

    >>> from libbarto.message.v2.schedule import Schedule
    >>> spec = Schedule(uid=bytes(16), name="tick", calendars=["*:0/15"], steps=[])
    >>> slots = Slots(Timetable(spec, bytes(16)))
    >>> slots.next_after(0), slots.is_slot(900_000_000), slots.count(0, 3_600_000_000)
    (900000000, True, (4, 900000000, 3600000000))
    """

    def __init__(self, timetable: Timetable) -> None:
        self.timetable = timetable
        self._block: list[int] = []
        self._after = self._until = 0
        """The block has all slots in (after, until]; none where they are equal."""
        self._ended = False
        """There is no slot after the block."""
        self._size = _FIRST_BLOCK

    @property
    def on_boot(self) -> bool:
        """It starts once in each boot: nobody can tell when."""
        return self.timetable.spec.on_boot

    def next_after(self, instant: int) -> int | None:
        """The first slot strictly after `instant`, or None."""
        if not self._after <= instant < self._until:
            if self._after < self._until <= instant and self._ended:
                return None
            self._fill(instant)
            if not self._block:
                return None
        return self._block[bisect_right(self._block, instant)]

    def _fill(self, after: int) -> None:
        if self._until:
            self._size = min(_LAST_BLOCK, 2 * self._size)
        self._block = self.timetable.due(after, _FOREVER, self._size)
        self._ended = len(self._block) < self._size
        self._after = after
        self._until = self._block[-1] if self._block else after

    def is_slot(self, instant: int) -> bool:
        """Is this instant a slot?"""
        return self.next_after(instant - 1) == instant

    def count(self, after: int, until: int) -> tuple[int, int, int] | None:
        """How many slots lie in (after, until], the first and the last; None for none."""
        if after >= until:
            return None
        first = self.next_after(after)
        if first is None or first > until:
            return None
        if until < self._until:
            begin, end = bisect_left(self._block, first), bisect_right(self._block, until)
            return end - begin, first, self._block[end - 1]
        return self.timetable.count(after, until)

    def number(self, after: int, until: int) -> int:
        """How many slots lie in (after, until]."""
        found = self.count(after, until)
        return 0 if found is None else found[0]


_FOREVER: Final = 1 << 62


class Almanac:
    """Slots by trigger; those that are the same on every worker are shared by all of them."""

    def __init__(self, timings: Mapping[bytes, str]) -> None:
        self._timings = timings
        self._known: dict[tuple[bytes, bytes, bytes], Slots | None] = {}

    def slots(self, span: Applied) -> Slots | None:
        """The slots of a span's trigger; None where that is not at hand, or cannot be read."""
        text = self._timings.get(span.timing)
        if text is None:
            return None
        drawn = "R" in text or '"anchor_drawn":true' in text
        key = (span.timing, *((span.worker_uid, span.schedule_uid) if drawn else (b"", b"")))
        if key not in self._known:
            if len(self._known) >= _ALMANAC:
                self._known.pop(next(iter(self._known)))
            self._known[key] = _read(text, span)
        return self._known[key]


def _read(text: str, span: Applied) -> Slots | None:
    try:
        return Slots(Timetable(spec_of_timing(text, span.schedule_uid), span.worker_uid))
    except (CalendarError, ValueError, KeyError):
        return None


# -- what is found --------------------------------------------------------------------------------


class Fault(enum.StrEnum):
    """What may be wrong with a history."""

    HOLE = "hole"
    OVERLAP = "overlap"
    TWICE = "twice"
    WRONG_COUNT = "wrong count"
    UNPLANNED = "unplanned"
    UNCOUNTABLE = "uncountable"


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault: `count` planned starts from `first` to `last`, and what is wrong with them."""

    fault: Fault
    worker_uid: bytes
    schedule_uid: bytes
    first: int
    last: int
    count: int
    text: str


@dataclass(frozen=True, slots=True)
class Undecided:
    """Planned starts that have no verdict: *late*, *unknown*, or *lost* and not stored so yet."""

    word: str
    worker_uid: bytes
    schedule_uid: bytes
    first: int
    last: int
    count: int
    reason: str = ""
    joins: SlotRange | None = None
    """What is stored as lost right before, for the same reason."""


@dataclass(slots=True)
class Account:
    """What became of planned starts: how many of each verdict (a word, and why in short), which
    have none, and what is wrong."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    undecided: list[Undecided] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def add(self, other: Account) -> None:
        """Take another account in."""
        self.counts.update(other.counts)
        self.undecided += other.undecided
        self.findings += other.findings


@dataclass(frozen=True, slots=True)
class View:
    """From where one looks: `now` is by the worker's clock; `gaps` are its records that are lost;
    only slots in (`since`, `until`] are of interest."""

    now: int
    connected: bool = False
    lost_after_us: int = 30 * 86_400_000_000
    gaps: Sequence[GapRow] = ()
    since: int | None = None
    until: int | None = None


Cover: TypeAlias = RunSlot | SlotRange | WaitingRow


def first_of(cover: Cover) -> tuple[int, int]:
    """By what covers are sorted before a `Tiling` is fed with them."""
    if isinstance(cover, SlotRange):
        return cover.first_slot, 0
    return cover.slot, 1


def covers_slots(cover: Cover) -> bool:
    """Does it cover slots of a calendar, at the time of the slot? A retry's run does already."""
    match cover:
        case SlotRange():
            return cover.run_id is None
        case WaitingRow():
            return cover.kind == Kind.CALENDAR and cover.attempt == 1
        case _:
            return cover.kind == Kind.CALENDAR


def shortly(reason: str) -> str:
    """Why, as a word or two to count by.

    >>> shortly("overlap: it was still running")
    'overlap'
    """
    return reason.partition(":")[0]


# -- tiles ----------------------------------------------------------------------------------------


class Tiling:
    """Lays covers over the slots of one span, in the order of their first slots, and finds what is
    not covered, or covered twice."""

    def __init__(self, span: Applied, slots: Slots, view: View) -> None:
        self.span = span
        self.view = view
        self.account = Account()
        self._slots = slots
        self.after = max(span.from_at, span.kept_from, view.since or span.from_at)
        """What lies up to here is not looked at."""
        ends = [end for end in (span.until_at, view.until) if end is not None]
        self.end: int | None = min(ends, default=None)
        self._position = self.after
        """Up to here all slots are covered, or found not to be."""
        self._range: SlotRange | None = None
        self._inside = 0
        self._lost: SlotRange | None = None
        self._single: Cover | None = None
        self._ahead: list[RunSlot] = []
        self._boots: dict[bytes, RunSlot] = {}

    @property
    def over(self) -> bool:
        """There is nothing to look at."""
        return self.end is not None and self.after >= self.end

    def feed(self, covers: Iterable[Cover]) -> None:
        """More covers, none of which begins before those that were fed."""
        for cover in covers:
            if not covers_slots(cover) or not self._reaches_in(cover):
                continue
            if self._slots.on_boot:
                self._booted(cover)
            elif isinstance(cover, RunSlot) and cover.ahead:
                # The cursor has passed it only if it has passed something behind it.
                self._ahead.append(cover)
            else:
                self._catch_up()
                if isinstance(cover, SlotRange):
                    self._lay_range(cover)
                else:
                    self._lay_single(cover)

    def _reaches_in(self, cover: Cover) -> bool:
        last = cover.last_slot if isinstance(cover, SlotRange) else cover.slot
        return last > self.after and (self.end is None or first_of(cover)[0] <= self.end)

    def _catch_up(self, cursor: int | None = None) -> None:
        """Lay the runs that were ahead, all of them or those up to the cursor."""
        ahead, self._ahead = self._ahead, []
        for run in ahead:
            if cursor is None or run.slot <= cursor:
                self._lay_single(run)
            else:
                self._ahead.append(run)

    def _lay_single(self, cover: RunSlot | WaitingRow) -> None:
        slot = cover.slot
        before, self._single = self._single, cover
        if isinstance(before, RunSlot | WaitingRow) and before.slot == slot:
            self._twice(before, cover)
            return
        if not self._slots.is_slot(slot):
            self._single = before
            self._unplanned(cover)
            return
        self._counted(cover)
        if self._range is not None and slot <= self._range.last_slot:
            self._inside += 1
            return
        self._end_range()
        self._undecided(self._position, slot - 1)
        self._position = max(self._position, slot)

    def _lay_range(self, cover: SlotRange) -> None:
        before = self._range
        if before is not None and cover.first_slot <= before.last_slot:
            last = min(cover.last_slot, before.last_slot)
            text = f"two ranges cover them: {_said(before)}, and {_said(cover)}"
            number = self._slots.number(cover.first_slot - 1, last)
            self._find(Fault.OVERLAP, cover.first_slot, last, number, text)
            self.account.counts[_key(cover)] += cover.count
            self._position = max(self._position, cover.last_slot)
            return
        self._end_range()
        if cover.first_slot <= self._position and self._position > self.after:
            text = f"a run and a range cover it: {_said(cover)}"
            self._find(Fault.OVERLAP, cover.first_slot, self._position, 1, text)
        else:
            self._undecided(self._position, cover.first_slot - 1)
        self._range, self._inside = cover, 0

    def _end_range(self) -> None:
        """The range that is open is behind: are there as many slots in it as it says?"""
        cover, self._range = self._range, None
        if cover is None:
            return
        last = cover.last_slot if self.end is None else min(cover.last_slot, self.end)
        first = max(cover.first_slot, self.after + 1)
        number = self._slots.number(first - 1, last) - self._inside
        self._position = max(self._position, last)
        self._lost = cover if cover.verdict is Verdict.LOST else None
        if (first, last) != (cover.first_slot, cover.last_slot):
            # The rest of it lies beyond what is looked at.
            self.account.counts[_key(cover)] += number
            return
        self.account.counts[_key(cover)] += cover.count
        if number != cover.count:
            ran = f" without the {self._inside} that ran" if self._inside else ""
            text = f"a range counts {cover.count}, there are {number}{ran}: {_said(cover)}"
            wrong = abs(number - cover.count)
            self._find(Fault.WRONG_COUNT, first, last, wrong, text)

    def _counted(self, cover: RunSlot | WaitingRow) -> None:
        self.account.counts[_key(cover)] += 1

    def _twice(self, before: RunSlot | WaitingRow, cover: RunSlot | WaitingRow) -> None:
        floating = occurrence_id(Kind.CALENDAR, self.span.schedule_uid, b"", cover.slot)
        if floating in (before.run_id, cover.run_id):
            return  # one of them is a start of the server's, that this worker took
        text = "it is there twice: two runs, or one that waits, of one planned start"
        self._find(Fault.TWICE, cover.slot, cover.slot, 1, text)

    def _unplanned(self, cover: RunSlot | WaitingRow) -> None:
        if isinstance(cover, RunSlot) and (
            cover.ahead or cover.run_id == floating_id(self.span.schedule_uid, cover.slot)
        ):
            return
        self._find(Fault.UNPLANNED, cover.slot, cover.slot, 1, "it was not planned for this time")

    def _undecided(self, after: int, until: int) -> None:
        """Slots in (after, until] that nothing covers, though what comes after them is decided."""
        found = self._slots.count(after, until)
        if found is None:
            return
        number, first, last = found
        if any(gap.lane is Lane.STATE and gap.at >= last for gap in self.view.gaps):
            self._leave("lost", found, RECORDS_LOST)
        else:
            self._find(Fault.HOLE, first, last, number, "no verdict, though later ones are decided")

    def _leave(self, word: str, found: tuple[int, int, int] | None, reason: str = "") -> None:
        if found is None or found[0] < 1:
            return
        number, first, last = found
        self.account.counts[word, shortly(reason)] += number
        uids = self.span.worker_uid, self.span.schedule_uid
        before = self._lost if word == "lost" else None
        joins = None
        if before is not None and before.last_slot == self._position and before.reason == reason:
            joins = before
        self.account.undecided.append(Undecided(word, *uids, first, last, number, reason, joins))

    def _find(self, fault: Fault, first: int, last: int, count: int, text: str) -> None:
        uids = self.span.worker_uid, self.span.schedule_uid
        self.account.findings.append(Finding(fault, *uids, first, last, count, text))

    def _booted(self, cover: Cover) -> None:
        self.account.counts[_key(cover)] += cover.count if isinstance(cover, SlotRange) else 1
        if isinstance(cover, RunSlot) and cover.boot_id != NO_BOOT:
            before = self._boots.setdefault(cover.boot_id, cover)
            if before is not cover:
                text = "it started twice in one boot"
                self._find(Fault.TWICE, before.slot, cover.slot, 2, text)

    # -- the end of it ----------------------------------------------------------------------------

    def finish(self) -> Account:
        """All covers were fed: what is left is late, unknown, lost, or a hole."""
        if self._slots.on_boot:
            return self.account
        span = self.span
        if span.until_at is not None and not span.torn:
            self._catch_up()
        elif self._range is not None:
            self._catch_up(self._range.last_slot)
        self._end_range()
        for run in self._ahead:
            self._counted(run)
        if span.until_at is None:
            self._not_yet()
        elif span.torn:
            assert self.end is not None
            self._leave("lost", self._without_ahead(self._position, self.end), JOURNAL_LOST)
        else:
            assert self.end is not None
            self._undecided(self._position, self.end)
        return self.account

    def _not_yet(self) -> None:
        """What is due beyond the cursor."""
        view = self.view
        due = view.now - LATE_US if self.end is None else min(view.now - LATE_US, self.end)
        if view.connected:
            self._leave("late", self._without_ahead(self._position, due))
            return
        given_up = min(due, view.now - view.lost_after_us)
        self._leave("lost", self._without_ahead(self._position, given_up), NOT_HEARD_OF)
        since = max(self._position, given_up)
        self._leave("unknown", self._without_ahead(since, due))

    def _without_ahead(self, after: int, until: int) -> tuple[int, int, int] | None:
        """The slots in (after, until], without those that have a run already."""
        found = self._slots.count(after, until)
        if found is None:
            return None
        number, first, last = found
        ran = {
            run.slot
            for run in self._ahead
            if after < run.slot <= until and self._slots.is_slot(run.slot)
        }
        return number - len(ran), first, last


def _key(cover: Cover) -> tuple[str, str]:
    match cover:
        case WaitingRow():
            return "waiting", cover.why
        case SlotRange():
            return cover.verdict.word, shortly(cover.reason)
        case _:
            return "running" if cover.verdict is None else cover.verdict.word, ""


def _said(cover: SlotRange) -> str:
    reason = f" ({cover.reason})" if cover.reason else ""
    return f"{cover.count} {cover.verdict.word}{reason}"


def floating_id(schedule_uid: bytes, slot: int) -> bytes:
    """The id of a start that the server gives to any one worker."""
    return occurrence_id(Kind.CALENDAR, schedule_uid, b"", slot)


def uncountable(span: Applied) -> Account:
    """The account of a span whose trigger is not known."""
    text = "its trigger is not known here: the worker is of an older version, or the database is"
    last = span.from_at if span.until_at is None else span.until_at
    uids = span.worker_uid, span.schedule_uid
    return Account(findings=[Finding(Fault.UNCOUNTABLE, *uids, span.from_at, last, 0, text)])


def account(
    spans: Iterable[Applied], almanac: Almanac, covers: Iterable[Cover], view: View
) -> Account:
    """The account of a schedule on a worker, all at once: of its spans and all that covers them."""
    total = Account()
    ordered = sorted(covers, key=first_of)
    for span in spans:
        slots = almanac.slots(span)
        if slots is None:
            total.add(uncountable(span))
            continue
        tiling = Tiling(span, slots, view)
        if not tiling.over:
            inside = [one for one in ordered if _in_span(one, span)]
            tiling.feed(inside)
            total.add(tiling.finish())
    return total


def _in_span(cover: Cover, span: Applied) -> bool:
    """Is it of this span? A range is where it begins."""
    first = first_of(cover)[0]
    return first > span.from_at and (span.until_at is None or first <= span.until_at)


def outside(spans: Sequence[Applied], covers: Iterable[Cover]) -> list[Finding]:
    """Runs of a calendar that began while their schedule did not count on their worker at all."""
    if not spans:
        return []
    uids = spans[0].worker_uid, spans[0].schedule_uid
    text = "it ran while its schedule was not in force there"
    return [
        Finding(Fault.UNPLANNED, *uids, cover.slot, cover.slot, 1, text)
        for cover in covers
        if isinstance(cover, RunSlot)
        and cover.kind == Kind.CALENDAR
        and not cover.ahead
        and cover.slot > spans[0].from_at
        and not any(_in_span(cover, span) for span in spans)
        and cover.run_id != floating_id(uids[1], cover.slot)
    ]


# -- what the server starts -----------------------------------------------------------------------


def account_of_orders(rows: Iterable[Ordered], view: View, kept_after: int) -> Account:
    """The account of what the server was to start: floating starts, follow-ups and orders by hand.
    Each is open, or has exactly one line; of one from before `kept_after` there may be none, as
    retention has dropped it."""
    account = Account()
    for row in rows:
        if (view.since is not None and row.slot <= view.since) or (
            view.until is not None and row.slot > view.until
        ):
            continue
        lines = [(verdict.word, shortly(reason)) for verdict, reason in row.undone]
        if row.ran:
            lines.append(("running" if row.verdict is None else row.verdict.word, ""))
        if not lines and not row.closed:
            lines.append(("waiting", "ordered"))
        account.counts.update(lines[:1])
        place = row.worker_uid, row.schedule_uid, row.slot, row.slot
        if not lines and row.slot > kept_after:
            text = "the server was to start it, and has no verdict of it"
            account.findings.append(Finding(Fault.HOLE, *place, 1, text))
        elif len(lines) > 1:
            text = f"it is there {len(lines)} times: {', '.join(word for word, _ in lines)}"
            account.findings.append(Finding(Fault.TWICE, *place, len(lines) - 1, text))
    return account


# -- stuck and idle -------------------------------------------------------------------------------


def is_stuck(run: RunRow, skipped: int, longest_us: Sequence[int], now: int) -> str | None:
    """Why a run that has not ended seems to hang; None where it does not.

    `skipped` planned starts of its schedule were skipped because of it; `longest_us` are how long
    its last runs took that ended ok, the last `STUCK_RUNS` of them. A command that is in no
    schedule has nothing in common with the one before.
    """
    if run.verdict is not None or run.kind == Kind.EXEC:
        return None
    if skipped >= STUCK_SKIPS:
        return f"{skipped} planned starts were skipped because of it"
    took = now - (run.claimed_at if run.started_at is None else run.started_at)
    usual = max(longest_us[:STUCK_RUNS], default=None)
    if usual is not None and took >= max(STUCK_TIMES * usual, STUCK_LEAST_US):
        return f"it takes {took / max(usual, 1):.0f} times as long as the longest of its last runs"
    return None


@dataclass(frozen=True, slots=True)
class Idle:
    """A schedule in force that means no worker that is known; `near` may be what was meant."""

    schedule: str
    workers: str
    near: str | None


def idle(definitions: Iterable[Definition], workers: Sequence[WorkerFacts]) -> list[Idle]:
    """The schedules that nobody carries out."""
    names = [worker.name for worker in workers]
    return [
        Idle(one.name, one.workers, nearest(one.selector.name or one.workers, names))
        for one in without_workers(definitions, workers)
    ]
