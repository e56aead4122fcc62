"""What would a changed configuration do? What it adds, changes and removes, where and when.

Nothing is put in force here: two lists of definitions and the workers that are known go in, and
what a person wants to see before saying yes comes out. Instants are microseconds since 1970, UTC.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Final

from bartos.check import Report, check
from bartos.plan import Plan, WorkerFacts, changes, removes_too_much, set_body, spec_of
from bartos.schedules import Definition, Policies, definition_json
from libbarto.identity import calendar_seed
from libbarto.quantity import format_duration, format_size
from libbarto.realtime import Realtime
from libbarto.realtime.preview import Rules, Start, is_span, starts
from libbarto.schedule import Timetable
from libbarto.settings import Fault
from libbarto.toml_text import toml_text

MINUTE_US: Final = 60_000_000
DAY_US: Final = 86_400_000_000
NEXT: Final = 10
"""Planned starts that are shown."""
BUSIEST: Final = 3
"""Minutes that are shown."""
SAMPLED: Final = 256
"""Workers whose own times (`R`) are looked at; of more, so many stand for all."""
NOTHING: Final = "none"

_DURATIONS: Final = frozenset(
    ("timeout", "kill_after", "catch_up", "retry_delay", "start_within", "offline_max", "every")
)
_NO_KEYS: Final = frozenset({"parent", "same_worker"})


@dataclass(frozen=True, slots=True)
class Key:
    """A key whose value differs, with both values as TOML writes them; "none" for no value."""

    name: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Change:
    """A schedule that is "added", "changed" or "removed".

    `workers` are the names of those that it means (meant, for one that is removed); `gained` and
    `lost` are those that it did not mean before, or does not any more.
    """

    kind: str
    name: str
    trigger: str
    enabled: bool
    floating: bool
    workers: tuple[str, ...]
    gained: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    keys: tuple[Key, ...] = ()
    was: str = ""
    """What it was called before, where that is another name under one `id`."""


@dataclass(frozen=True, slots=True)
class Planned:
    """Something of `schedule` starts at `at`, or on each worker at a time of its own up to
    `until`; on `workers` of them."""

    at: int
    until: int
    zone: str
    note: str
    schedule: str
    workers: int


@dataclass(frozen=True, slots=True)
class Minute:
    """In the minute that begins `at`, so many runs start; `schedules` are theirs, most first."""

    at: int
    starts: int
    schedules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """All that a changed configuration would do. With faults it would do nothing."""

    report: Report
    changes: tuple[Change, ...] = ()
    unchanged: int = 0
    known: int = 0
    """How many workers are known."""
    told: int = 0
    """How many of them would get a new version of their schedules."""
    needs_yes: bool = False
    """It removes so much that a reload waits for `bartos reload --yes`."""
    next_starts: tuple[Planned, ...] = ()
    """The next ones of what is added or changed."""
    busiest: tuple[Minute, ...] = ()
    """The fullest minutes of the day to come, most first."""
    busiest_before: int = 0
    """How many start in the fullest minute as things are."""
    estimated: bool = False
    """Whether some of these numbers stand for more workers than were looked at."""

    @property
    def faulty(self) -> bool:
        """Whether the configuration cannot be used."""
        return bool(self.report.faults)


def preview(
    old: Sequence[Definition],
    new: Sequence[Definition],
    known: Sequence[WorkerFacts] | None,
    now: int,
    *,
    faults: Iterable[Fault] = (),
    zone_given: bool = True,
) -> Preview:
    """What putting `new` in the place of `old` would do; with `faults`, only what they are.

    `known` are the workers, None where nobody can be asked for them.
    """
    wrong = tuple(faults)
    report = check(new, wrong, known, now, zone_given=zone_given)
    workers = known or ()
    if wrong:
        return Preview(report)
    told = _changes(old, new, workers)
    touched = {change.name for change in told if change.kind != "removed"}
    before, after = Plan(old), Plan(new)
    matched = after.matched(workers)
    mine = [it for it in new if it.name in touched and it.enabled]
    load = Load(new, matched, now)
    load_before = Load(old, before.matched(workers), now)
    return Preview(
        Report(
            (),
            _about(report.warnings, touched),
            report.schedules,
            _about(report.notes, touched),
        ),
        told,
        len(new) - len(touched),
        len(workers),
        sum(set_body(before.set_for(it)) != set_body(after.set_for(it)) for it in workers),
        removes_too_much(old, new),
        tuple(islice(_next(mine, matched, now), NEXT)),
        load.busiest(),
        max(load_before.minutes.values(), default=0),
        load.estimated,
    )


def _about(found: Iterable[Fault], names: Iterable[str]) -> tuple[Fault, ...]:
    """What is said of these schedules."""
    starts_with = tuple(f'schedule "{name}": ' for name in names)
    return tuple(fault for fault in found if fault.message.startswith(starts_with))


# -- what changes ---------------------------------------------------------------------------------


def _changes(
    old: Sequence[Definition], new: Sequence[Definition], workers: Sequence[WorkerFacts]
) -> tuple[Change, ...]:
    found = changes(old, new)
    was = {it.uid: it for it in old}
    by_name = {it.name: it for it in new}
    names_before = {it.name: it for it in old}
    told: list[Change] = []
    for kind, names, source in (
        ("added", found.added, by_name),
        ("changed", found.changed, by_name),
        ("removed", found.removed, names_before),
    ):
        for name in names:
            definition = source[name]
            here = _meant(definition, workers)
            before = was.get(definition.uid)
            change = Change(
                kind,
                name,
                trigger_text(definition),
                definition.enabled,
                definition.floating,
                here,
            )
            if kind == "changed" and before is not None:
                there = _meant(before, workers)
                change = Change(
                    kind,
                    name,
                    change.trigger,
                    change.enabled,
                    change.floating,
                    here,
                    gained=tuple(sorted(set(here) - set(there))),
                    lost=tuple(sorted(set(there) - set(here))),
                    keys=key_changes(before, definition),
                    was=before.name if before.name != name else "",
                )
            told.append(change)
    return tuple(told)


def _meant(definition: Definition, workers: Sequence[WorkerFacts]) -> tuple[str, ...]:
    """The names of the workers that a definition means, whether it is in force or not."""
    matches = definition.selector.matches
    return tuple(sorted(it.name for it in workers if matches(it.name, it.words)))


def key_changes(old: Definition, new: Definition) -> tuple[Key, ...]:
    """The keys whose values differ: what a schedule is first, then how it runs."""
    before, after = _flat(old), _flat(new)
    keys = sorted(
        dict.fromkeys((*before, *after)),
        key=lambda key: key.partition(".")[0] in Policies.model_fields,
    )
    return tuple(
        Key(key, _shown(key, before.get(key)), _shown(key, after.get(key)))
        for key in keys
        if before.get(key) != after.get(key)
    )


def _flat(definition: Definition) -> dict[str, object]:
    """The keys of a definition, those of `retain` and `env` each for itself."""
    flat: dict[str, object] = {}
    for key, value in json.loads(definition_json(definition)).items():
        if key in _NO_KEYS:
            continue
        if isinstance(value, dict):
            flat.update({f"{key}.{name}": item for name, item in value.items()})
        else:
            flat[key] = value
    return flat


def _shown(key: str, value: object) -> str:
    """A value as TOML writes it, as a person would have written it."""
    if value is None or value == []:
        return NOTHING
    if isinstance(value, int | float) and not isinstance(value, bool):
        if key in _DURATIONS or key.startswith("retain."):
            return toml_text(format_duration(value))
        if key == "output_max":
            return toml_text(format_size(int(value)))
    if isinstance(value, list) and len(value) == 1:
        return toml_text(value[0])
    return toml_text(value)


def trigger_text(definition: Definition) -> str:
    """When a definition is due, in one line as the configuration has it."""
    for key in ("on_calendar", "cron", "at"):
        texts: tuple[str, ...] = getattr(definition, key)
        if texts:
            zone = "" if definition.timezone == "UTC" else f" {definition.timezone}"
            return f"{key} {', '.join(texts)}{zone}"
    if definition.every is not None:
        return f"every {format_duration(definition.every)}"
    return f"after {definition.after} ({definition.when})"


# -- when -----------------------------------------------------------------------------------------


def _next(
    definitions: Sequence[Definition], matched: Mapping[str, list[WorkerFacts]], now: int
) -> Iterator[Planned]:
    """The planned starts of definitions after `now`, in order of time."""
    return merge(
        *(_starts_of(it, matched.get(it.name, []), now) for it in definitions),
        key=lambda start: (start.at, start.schedule),
    )


def _starts_of(
    definition: Definition, workers: Sequence[WorkerFacts], now: int
) -> Iterator[Planned]:
    count = min(1, len(workers)) if definition.floating else len(workers)
    for start in planned_starts(definition, workers, now):
        yield Planned(start.at, start.until, start.zone, start.note, definition.name, count)


def planned_starts(
    definition: Definition, workers: Sequence[WorkerFacts], now: int
) -> Iterator[Start]:
    """When it starts; where each worker has a time of its own, the span, or those of the first."""
    uid = b"" if definition.floating or not workers else workers[0].uid
    if definition.calendars:
        calendars = [Realtime.parse(text) for text in definition.calendars]
        drawn = [it for it in calendars if it.has_random]
        if not all(map(is_span, drawn)):
            seed = calendar_seed(definition.uid, uid)
            calendars = [it.bind(seed) for it in calendars]
        rules = Rules(definition.timezone, definition.dst_gap, definition.dst_repeat)
        yield from starts(calendars, now, rules)
        return
    table = Timetable(spec_of(definition), uid)
    at = table.next_after(now)
    while at is not None:
        yield Start(at, at, definition.timezone)
        at = table.next_after(at)


class Load:
    """How many runs start in each minute of the day after `now`, as far as it is planned.

    What starts once for all at one time is counted once and multiplied; what each worker draws
    for itself is counted for each, up to a number that stands for the rest.
    """

    def __init__(
        self,
        definitions: Iterable[Definition],
        matched: Mapping[str, list[WorkerFacts]],
        now: int,
    ) -> None:
        self.estimated = False
        self.by_minute: dict[int, Counter[str]] = {}
        for definition in definitions:
            workers = matched.get(definition.name, [])
            if definition.enabled and workers and definition.after is None:
                self._count(definition, workers, now)
        self.minutes = {minute: count.total() for minute, count in self.by_minute.items()}

    def _count(self, definition: Definition, workers: Sequence[WorkerFacts], now: int) -> None:
        uids = [worker.uid for worker in workers]
        spec = spec_of(definition)
        drawn = spec.anchor_drawn or any(Realtime.parse(it).has_random for it in spec.calendars)
        if definition.floating:
            uids = [b""]
        elif not drawn:
            self._add(definition, Timetable(spec, uids[0]), now, len(uids))
            return
        looked = uids if len(uids) <= SAMPLED else uids[:: -(-len(uids) // SAMPLED)]
        self.estimated = self.estimated or len(looked) < len(uids)
        for number, uid in enumerate(looked):
            # Each stands for its share, so that the sum is the number of all.
            share = (number + 1) * len(uids) // len(looked) - number * len(uids) // len(looked)
            self._add(definition, Timetable(spec, uid), now, share)

    def _add(self, definition: Definition, table: Timetable, now: int, times: int) -> None:
        for minute, count in per_minute(table.next_after, table.count, now, now + DAY_US):
            self.by_minute.setdefault(minute, Counter())[definition.name] += count * times

    def busiest(self) -> tuple[Minute, ...]:
        """The minutes in which most starts, fullest first, then by time; none where nothing is."""
        ordered = sorted(self.minutes.items(), key=lambda item: (-item[1], item[0]))
        return tuple(
            Minute(
                minute * MINUTE_US,
                count,
                tuple(name for name, _ in self.by_minute[minute].most_common()),
            )
            for minute, count in ordered[:BUSIEST]
        )


def per_minute(
    next_after: Callable[[int], int | None],
    count: Callable[[int, int], tuple[int, int, int] | None],
    after: int,
    until: int,
) -> Iterator[tuple[int, int]]:
    """The minutes of (after, until] in which something is due, and how often, without a step for
    each of many slots in one minute."""
    slot = next_after(after)
    while slot is not None and slot <= until:
        minute = slot // MINUTE_US
        end = min((minute + 1) * MINUTE_US - 1, until)
        second = next_after(slot)
        if second is None or second > end:
            yield minute, 1
            slot = second
            continue
        counted = count(slot - 1, end)
        assert counted is not None  # the slot itself is in it
        yield minute, counted[0]
        slot = next_after(end)
