"""A question of "why" takes few reads, however many workers there are."""

from __future__ import annotations

from collections import Counter
from typing import Any

from bartos.asking_why import Asked, Asking
from bartos.plan import schedule_rows
from bartos.schedules import load_schedules
from bartos.store.orders import ALL_SCHEDULES, PauseRow
from libbarto.identity import schedule_uid
from tests.faces import NOON, SECOND, Barto, Store

TOML = """
[[schedule]]
name = "backup"
workers = "*"
every = "1h"
cmds = ["true"]
"""
HOUR = 3600 * SECOND


class Counting(Store):
    """A store that counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    async def applied(self, **wanted: Any) -> Any:
        self.asked["applied"] += 1
        return await super().applied(**wanted)

    async def timings(self, wanted: Any) -> Any:
        self.asked["timings"] += 1
        return await super().timings(wanted)


async def begun(workers: int) -> tuple[Barto, Counting]:
    """So many workers that were asleep from noon to midnight."""
    store = Counting()
    barto = Barto(store=store)
    definitions = load_schedules([("bartos.toml", TOML)])
    rows = schedule_rows(definitions, [], NOON)
    await store.replace_schedules(rows, NOON)
    barto.planner.load(rows)
    for number in range(workers):
        name = f"web{number}"
        await barto.worker(name)
        await barto.did_not_run(name, "backup", NOON, NOON + 12 * HOUR, 13, "asleep")
    return barto, store


async def test_a_start_that_thousands_missed_is_found_by_a_few_reads() -> None:
    barto, store = await begun(30)
    await Asking(barto.services).why(Asked("backup", at=NOON + HOUR))
    assert store.asked["applied"] < 10
    assert store.asked["timings"] < 10


async def test_of_two_pauses_the_longer_one_is_told() -> None:
    barto, _ = await begun(1)
    uid = schedule_uid("backup")
    barto.planner.pauses = {
        uid: PauseRow(uid, "backup", "ann", NOON, "short", barto.clock.now() + HOUR),
        ALL_SCHEDULES: PauseRow(ALL_SCHEDULES, "", "bob", NOON, "long", None),
    }
    answer = await Asking(barto.services).why(Asked("backup", "web0"))
    assert answer.facts.pause is not None
    assert answer.facts.pause.who == "bob"
