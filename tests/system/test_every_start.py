"""Every planned start has exactly one line, whatever happens to server, workers, links, clocks and
configuration: the ledger proves it after each of these days."""

from __future__ import annotations

from collections import Counter

from bartoc.journal_memory import MemoryJournal
from bartos.audit import Asked, AuditPage
from bartos.ledger import JOURNAL_LOST, Fault
from bartos.store.port import RunFilter
from libbarto.message.v2.record import Verdict
from libbarto.testing import FakeClock
from tests.system.world import World, named

TOML = """
[[schedule]]
name = "often"
workers = "*"
on_calendar = "*:0/10"
cmds = ["echo tick"]

[[schedule]]
name = "drawn"
workers = "*"
on_calendar = ["*:R", "Mon..Fri *:0/30"]
missed = "all"
catch_up = "3h"
cmds = ["true"]

[[schedule]]
name = "slow"
workers = "luke"
every = "15m"
overlap = "queue"
cmds = ["sleep 2000"]

[[schedule]]
name = "slower"
workers = "luke"
every = "5m"
cmds = ["sleep 700"]
"""
EDITED = TOML.replace('"*:0/10"', '"*:0/7"')
WITHOUT = EDITED[: EDITED.index('[[schedule]]\nname = "slow"')]


async def proof(barto: World, **asked: object) -> AuditPage:
    assert barto.server is not None
    return await barto.server.audit.page(Asked(**asked))  # type: ignore[arg-type]


def words(page: AuditPage) -> Counter[str]:
    """How many planned starts have each word."""
    counts: Counter[str] = Counter()
    for (word, _), count in page.account.counts.items():
        counts[word] += count
    return counts


async def test_a_day_with_restarts_cuts_and_edits_is_proven(barto: World) -> None:
    await barto.start_server(TOML)
    luke, leia = barto.add_worker("luke"), barto.add_worker("leia")
    await barto.clock.advance(hours=2, minutes=3)
    await barto.stop_server(crash=True)
    await barto.clock.advance(minutes=30)
    await barto.start_server()
    await luke.crash()
    await barto.clock.advance(minutes=47)
    luke.start()
    await barto.clock.advance(hours=1)
    leia.link.cut()
    await barto.clock.advance(hours=3, minutes=20)
    page = await proof(barto)
    assert page.account.findings == []
    assert words(page)["unknown"] >= 30, "nobody has heard of leia"
    await barto.configure(EDITED)
    await barto.clock.advance(minutes=31)
    leia.link.restore()
    await barto.clock.advance(minutes=20)
    await barto.configure(WITHOUT)
    await barto.clock.advance(hours=1)
    await barto.configure(EDITED)
    await barto.clock.advance(hours=1)
    await luke.crash()
    await barto.stop_server()
    leia.link.cut()
    barto.clock.suspend(10 * 3600)
    await barto.clock.advance(hours=1)
    await barto.start_server()
    leia.link.restore()
    luke.start()
    await barto.clock.advance(hours=2)
    page = await proof(barto)
    assert page.account.findings == []
    counts = words(page)
    assert page.pairs == 6
    assert not counts["late"] + counts["unknown"] + counts["lost"]
    assert {"ok", "skipped", "missed"} <= set(counts)
    # The same, counted by hand: every run and range of the store is in it, once.
    runs = await barto.store.runs(RunFilter(limit=100_000))
    ranges = await barto.store.ranges(RunFilter(limit=100_000))
    waits = await barto.store.waiting()
    in_store = len(runs) + sum(row.count for row in ranges) + len(waits)
    assert counts.total() == in_store > 500
    await barto.close()


async def test_a_history_that_lost_a_line_is_found_out(barto: World) -> None:
    await barto.start_server(TOML)
    barto.add_worker("leia")
    await barto.clock.advance(hours=2)
    runs = await barto.store.runs(RunFilter(schedule="often", limit=100))
    del barto.store._runs[runs[3].run_id]
    (finding,) = (await proof(barto)).account.findings
    assert (finding.fault, finding.first, finding.count) == (Fault.HOLE, runs[3].slot, 1)
    await barto.close()


async def test_clocks_that_go_back_and_forth_leave_no_hole(barto: World) -> None:
    await barto.start_server(TOML)
    clock = FakeClock(barto.clock.now())
    barto.add_worker("luke", clock)
    for step in (0, 3600, -1800, -3600, 72 * 366 * 86_400, -72 * 366 * 86_400, 1800):
        clock.step(step)
        await barto.clock.advance(minutes=43)
        page = await proof(barto)
        assert page.account.findings == [], step
        assert words(page)["late"] <= 0 or step < 0, step
    await barto.clock.advance(hours=2)
    page = await proof(barto)
    assert page.account.findings == []
    assert words(page)["late"] == 0
    await barto.close()


async def test_where_a_journal_is_lost_what_it_had_decided_is_lost(barto: World) -> None:
    await barto.start_server(TOML)
    leia = barto.add_worker("leia")
    await barto.clock.advance(hours=1)
    leia.link.cut()
    await barto.clock.advance(hours=1)
    await leia.crash()
    leia.journal = MemoryJournal(named("worker leia"), named("another spool"))
    row = await barto.store.worker_named("leia")
    assert barto.server is not None and row is not None
    await barto.server.reset_worker(row, "the operator", "its disk is gone")
    leia.link.restore()
    leia.start()
    await barto.clock.advance(minutes=50)
    page = await proof(barto)
    assert page.account.findings == []
    lost = [one for one in page.account.undecided if one.word == "lost"]
    assert {one.reason for one in lost} == {JOURNAL_LOST}
    assert sum(one.count for one in lost) >= 6
    await barto.server.audit.keep_lost()
    rows = await barto.store.ranges(RunFilter(verdicts=frozenset({Verdict.LOST})))
    assert sum(row.count for row in rows) == sum(one.count for one in lost)
    assert (await proof(barto)).account.undecided == []
    await barto.close()


async def test_a_worker_that_never_comes_back_is_given_up_and_may_come_back(barto: World) -> None:
    await barto.start_server(TOML)
    leia = barto.add_worker("leia")
    await barto.clock.advance(hours=1)
    leia.link.cut()
    await leia.crash()
    barto.clock.step(31 * 86_400)
    await barto.clock.advance(hours=2)
    page = await proof(barto)
    counts = page.account.counts
    assert counts["lost", "its worker was not heard of for too long"] > 100
    assert words(page)["unknown"] > 1000
    assert (await barto.store.ranges(RunFilter()))[0].verdict is Verdict.LOST, "it is stored"
    leia.link.restore()
    leia.start()
    await barto.clock.advance(minutes=30)
    page = await proof(barto)
    assert page.account.findings == []
    assert not words(page)["lost"] + words(page)["unknown"]
    await barto.close()


async def test_a_run_that_hangs_is_stuck_and_a_late_worker_late(barto: World) -> None:
    toml = (
        TOML + '\n[[schedule]]\nname = "nobody"\nworkers = "lukee"\nevery = "1h"\ncmds = ["true"]\n'
    )
    await barto.start_server(toml)
    luke = barto.add_worker("luke")
    await barto.clock.advance(minutes=11, seconds=30)
    assert barto.server is not None
    outlook = await barto.server.watch.look()
    assert [(one.run.schedule, one.why[:2]) for one in outlook.stuck] == [("slower", "2 ")]
    assert [(one.schedule, one.near) for one in outlook.idle] == [("nobody", "luke")]
    luke.link.stall()
    await barto.clock.advance(seconds=14)
    await luke.crash()
    await barto.clock.advance(minutes=30)
    outlook = await barto.server.watch.look()
    assert outlook.count("unknown") > 5
    await barto.close()
