"""Chance plays with one worker: every slot is decided once, and nothing starts twice or early.

The bench is crashed, booted, put to sleep, its clock stepped, its journal failed, its policies
edited; what its records say is then compared with its timetables, slot by slot.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bartoc.clockwork import CLOCK_PATIENCE_S
from bartoc.events import Asked, Commit, Opened, RunnerGone, Tick
from bartoc.journal import merged
from bartoc.runner import Known, RunState
from libbarto.identity import Kind
from libbarto.message.v2.record import (
    Claimed,
    ClockBack,
    Decided,
    Ended,
    OfferRefused,
    SetApplied,
    Waiting,
)
from libbarto.message.v2.schedule import Schedule
from libbarto.schedule import Timetable
from tests.unit.worker_bench import SECOND, T0, UID, Bench, done, schedule, uid_of

NAMES = {"a": "*:*:0/20", "b": "minutely", "c": "*:*:0/45"}

policies = st.fixed_dictionaries(
    {
        "overlap": st.sampled_from(["skip", "queue", "replace", "allow"]),
        "missed": st.sampled_from(["latest", "all", "none"]),
        "catch_up_us": st.integers(10, 400).map(lambda n: n * SECOND),
        "start_within_us": st.integers(1, 60).map(lambda n: n * SECOND),
        "retries": st.integers(0, 2),
        "retry_delay_us": st.integers(1, 90).map(lambda n: n * SECOND),
        "rerun_interrupted": st.booleans(),
        "paused": st.sampled_from([False, False, False, True]),
    }
)
sets = st.fixed_dictionaries(dict.fromkeys(NAMES, policies))
actions = st.one_of(
    st.tuples(st.just("wait"), st.integers(1, 90)),
    st.tuples(st.just("wait"), st.integers(1, 90)),
    st.tuples(st.just("end"), st.integers(0, 1)),
    st.tuples(st.just("end"), st.integers(0, 1)),
    st.tuples(st.just("vanish"), st.booleans()),
    st.tuples(st.just("crash"), st.integers(0, 200)),
    st.tuples(st.just("crash in a commit"), st.booleans()),
    st.tuples(st.just("boot"), st.integers(0, 100)),
    st.tuples(st.just("sleep"), st.integers(1, 600)),
    st.tuples(st.just("step"), st.integers(-900, 900)),
    st.tuples(st.just("edit"), sets),
    st.tuples(st.just("order"), st.sampled_from(sorted(NAMES))),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
    st.tuples(st.just("ask"), st.integers(0, 5)),
    st.tuples(st.just("keeper"), st.booleans()),
    st.tuples(st.just("full"), st.none() | st.integers(1, 3)),
)


def wanted(chosen: dict[str, dict[str, Any]]) -> list[Schedule]:
    follower = schedule("f", None, after=uid_of("a"), when="always", overlap="queue")
    return [*(schedule(name, NAMES[name], **chosen[name]) for name in NAMES), follower]


class Play:
    """A worker that chance plays with; every start is looked at as it comes."""

    def __init__(self, first: dict[str, dict[str, Any]]) -> None:
        self.bench = Bench(*wanted(first))
        self.orders: list[bytes] = []
        self.boots = 0
        self.seen: set[tuple[bytes, int]] = set()
        self.cut = 0

    def play(self, what: str, how: Any) -> None:
        bench = self.bench
        match what:
            case "wait":
                bench.run_to(bench.at + how)
            case "end" if bench.alive:
                key = min(bench.alive)
                cancelled = key in bench.cancels
                bench.end(None if cancelled else how, key, cancelled=cancelled)
            case "vanish" if bench.alive:
                only = min(bench.alive)
                rest = {key: spawn for key, spawn in bench.alive.items() if key != only}
                bench.alive = {only: bench.alive[only]}
                bench.vanish(certain=how)
                bench.alive = {**rest, **bench.alive}
            case "crash":
                bench.at += how
                bench.begin()
            case "crash in a commit":
                self.crash_in_a_commit(how)
            case "boot":
                bench.at += how
                self.boots += 1
                bench.reboot(bytes([self.boots % 256]) * 16)
            case "sleep":
                bench.sleep(how)
            case "step":
                bench.step(how)
            case "edit":
                bench.take_on(*wanted(how))
            case "order":
                spec = next(s for s in wanted_specs(bench) if s.name == how)
                self.orders.append(bench.offer(spec, cause=bytes([len(self.orders) % 256])))
            case "cancel" if self.orders or bench.alive:
                runs = [*self.orders, *(key[0] for key in sorted(bench.alive))]
                bench.cancel(runs[how % len(runs)])
            case "ask" if self.orders:
                bench.handle(Asked(self.orders[how % len(self.orders)], 1))
            case "keeper":
                bench.handle(RunnerGone())
                bench.tick(bench.at + 3)
                known = tuple(Known(*key, RunState.RUNNING, 0) for key in bench.alive)
                bench.handle(Opened(known))
            case "full":
                bench.host = replace(bench.host, max_running=how)
                bench.begin()
        bench.handle(Tick())
        self.look()

    def crash_in_a_commit(self, committed: bool) -> None:
        """bartoc dies before or after a tick's commit, and starts nothing of it."""
        bench = self.bench
        bench.at += 21
        effects = bench.worker.handle(Tick(), bench.now)
        commits = [effect for effect in effects if isinstance(effect, Commit)]
        if committed and commits:
            done(bench.journal.commit(merged([one.transaction for one in commits])))
        bench.begin()

    def look(self) -> None:
        """At most once, never early, and each claimed before."""
        if self.cut == len(self.bench.spawned):
            return
        claims = {(one.run_id, one.attempt) for one in self.bench.of(Claimed)}
        for spawn in self.bench.spawned[self.cut :]:
            key = spawn.order.run_id, spawn.order.attempt
            assert key not in self.seen, "started twice"
            assert key in claims, "started without its claim"
            assert spawn.order.slot is None or spawn.order.slot <= self.bench.now.wall, "early"
            self.seen.add(key)
        self.cut = len(self.bench.spawned)

    def settle(self) -> None:
        """Let everything come to its end."""
        bench = self.bench
        bench.host = replace(bench.host, max_running=None)
        bench.begin()
        bench.run_to(bench.at + 2 * CLOCK_PATIENCE_S)
        for _ in range(12):
            bench.run_to(bench.at + 10)
            for key in sorted(bench.alive):
                bench.end(0, key, cancelled=key in bench.cancels)
        for order in self.orders:
            bench.handle(Asked(order, 1))
        self.look()


def wanted_specs(bench: Bench) -> list[Schedule]:
    return [timetable.spec for timetable in bench.worker.timetables.values()]


@settings(max_examples=60, deadline=None)
@given(sets, st.lists(actions, max_size=40))
def test_whatever_happens_every_slot_is_decided_once(
    first: dict[str, dict[str, Any]], played: list[tuple[str, Any]]
) -> None:
    play = Play(first)
    for what, how in played:
        play.play(what, how)
    play.settle()
    check(play)


def check(play: Play) -> None:
    """What the records say, as the server would read them, against the timetables."""
    bench = play.bench
    state = done(bench.journal.state())
    runs: dict[bytes, Counter[int]] = {uid_of(name): Counter() for name in NAMES}
    ranges: dict[bytes, list[tuple[int, int, int]]] = {uid_of(name): [] for name in NAMES}
    waits: dict[bytes, Waiting] = {}
    ends: dict[tuple[bytes, int], Ended] = {}
    claims: dict[bytes, int] = {}
    ones: Counter[bytes] = Counter()
    for record in bench.records:
        match record:
            case Claimed():
                waits.pop(record.run_id, None)
                assert claims.get(record.run_id, 0) + 1 == record.attempt
                claims[record.run_id] = record.attempt
                if record.kind == Kind.CALENDAR and record.attempt == 1:
                    runs[record.schedule_uid][record.slot] += 1
                elif record.attempt == 1:
                    ones[record.run_id] += 1
            case Waiting():
                waits[record.run_id] = record
            case Decided(run_id=None):
                ranges[record.schedule_uid].append(
                    (record.first_slot, record.last_slot, record.count)
                )
                for run_id, waiting in list(waits.items()):
                    same = waiting.kind == Kind.CALENDAR and waiting.attempt == 1
                    if (
                        same
                        and waiting.schedule_uid == record.schedule_uid
                        and record.first_slot == waiting.slot == record.last_slot
                    ):
                        del waits[run_id]
            case Decided(run_id=run_id):
                assert run_id is not None
                waits.pop(run_id, None)
                ones[run_id] += 1
            case Ended():
                key = record.run_id, record.attempt
                before = ends.get(key)
                assert before is None or (not before.final and before.verdict == record.verdict)
                ends[key] = record
                if record.final:
                    waits.pop(record.run_id, None)
            case OfferRefused():
                assert record.run_id not in claims
            case ClockBack(now=now):
                for uid, kept in ranges.items():
                    ranges[uid] = [
                        cut for one in kept if (cut := _cut(bench, uid, one, now)) is not None
                    ]
                waits = {
                    run_id: one
                    for run_id, one in waits.items()
                    if not (one.slot > now and one.kind == Kind.CALENDAR and one.attempt == 1)
                }
            case SetApplied():
                assert {uid_of(name) for name in NAMES} <= set(record.schedules)
                assert [one for one in record.since if one > record.at] == []
    assert set(waits) == set((state.waiting and {one.run_id for one in state.waiting}) or set())
    assert max(ones.values(), default=0) <= 1, "one verdict for each order and follow-up"
    for order in play.orders:
        told = order in claims or ones[order] or order in state.refusals or order in waits
        assert told, "an order without an answer"
    for key in play.seen:
        assert key in ends or key in bench.alive
    for run_id, attempt in claims.items():
        last = ends.get((run_id, attempt))
        assert last is None or last.final or run_id in waits
    for name in NAMES:
        _tiles(bench, uid_of(name), runs[uid_of(name)], ranges[uid_of(name)], waits)


def _cut(
    bench: Bench, uid: bytes, one: tuple[int, int, int], now: int
) -> tuple[int, int, int] | None:
    """What is left of a range up to `now`; slots that ran do not lie within."""
    first, last, _ = one
    timetable = bench.worker.timetables[uid]
    slots = timetable.due(first - 1, min(last, now), 1 << 20)
    return (slots[0], slots[-1], len(slots)) if slots else None


def _tiles(
    bench: Bench,
    uid: bytes,
    runs: Counter[int],
    ranges: list[tuple[int, int, int]],
    waits: dict[bytes, Waiting],
) -> None:
    timetable = Timetable(bench.worker.timetables[uid].spec, UID)
    cursor = bench.worker.books.cursors[uid]
    covered: Counter[int] = Counter(runs)
    for first, last, count in ranges:
        slots = timetable.due(first - 1, last, 1 << 20)
        assert len(slots) == count, "a range's count is exact"
        covered.update(slots)
    covered.update(
        one.slot
        for one in waits.values()
        if one.schedule_uid == uid and one.kind == Kind.CALENDAR and one.attempt == 1
    )
    expected = timetable.due(T0, cursor, 1 << 20)
    assert [slot for slot in expected if covered[slot] != 1] == []
    assert [slot for slot in covered if slot > cursor and slot not in runs] == []
