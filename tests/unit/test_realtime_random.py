"""`R` is drawn from a seed: always the same, evenly, and pinned for ever."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Hashable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libbarto.identity import netstrings
from libbarto.realtime import Realtime
from libbarto.realtime.units import Random

GOLDEN = Path(__file__).parents[1] / "vectors" / "random.jsonl"
BASE = datetime(2026, 1, 1, tzinfo=UTC)


def draw(seed: bytes, text: str, field: str, n: int) -> int:
    """The rule of the specification, spelled out: docs/reference/calendar.md, "R"."""
    hashed = b""
    for part in (seed, text.encode(), field.encode()):
        hashed += str(len(part)).encode() + b":" + part + b","
    return int.from_bytes(hashlib.sha256(hashed).digest()[:8], "big") % n


def test_50_draws_are_pinned() -> None:
    lines = GOLDEN.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 50
    for line in lines:
        vector = json.loads(line)
        calendar = Realtime.parse(vector["expr"])
        assert str(calendar) == vector["normalized"]
        assert str(calendar.bind(bytes.fromhex(vector["seed"]))) == vector["bound"], vector


@given(st.binary(max_size=40))
def test_a_draw_follows_the_rule(seed: bytes) -> None:
    text = "*-*-* R:R(10..19):R"
    hour, minute, second = (
        draw(seed, text, "hour", 24),
        10 + draw(seed, text, "minute", 10),
        draw(seed, text, "second", 60),
    )
    wanted = f"*-*-* {hour:02}:{minute:02}:{second:02}"
    assert str(Realtime.parse("R:R(10..19):R").bind(seed)) == wanted


@given(st.binary(max_size=40))
def test_a_phase_follows_the_rule(seed: bytes) -> None:
    text = "*-R/3-01 00:R/15:00"
    month, minute = 1 + draw(seed, text, "month", 3), draw(seed, text, "minute", 15)
    wanted = f"*-{month:02}/3-01 00:{minute:02}/15:00"
    assert str(Realtime.parse("*-R/3-1 0:R/15").bind(seed)) == wanted


@given(
    st.sampled_from(
        [
            *("*-R-R R:R:R", "*-*~R", "*-*~R/7", "*-*-R/28", "*-*-R(1..31)", "*:R/45", "R/1:0"),
            *("*:*:R/20", "*:*:R/1", "Mon R(8..17):R Europe/Berlin", "*:*:R(3..7)"),
        ]
    ),
    st.binary(max_size=20),
)
def test_a_bound_calendar_has_no_r_elapses_and_reads_back(text: str, seed: bytes) -> None:
    calendar = Realtime.parse(text)
    bound = calendar.bind(seed)
    assert calendar.has_random
    assert not bound.has_random
    assert bound.bind(b"other") is bound
    assert bound.zone == calendar.zone
    assert calendar.bind(seed) == bound
    assert Realtime.parse(str(bound)) == bound
    at = bound.next_after(BASE)
    assert at is not None
    assert bound.matches(at)


def test_a_random_day_exists_in_every_month() -> None:
    calendar = Realtime.parse("*-*-R")
    for number in range(200):
        found = list(zip(calendar.bind(b"%d" % number).iterate(BASE), range(12), strict=False))
        assert [at.month for at, _ in found] in (
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
            [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 1],  # the first of January is the base itself
        )


def test_a_phase_that_no_second_value_follows_is_that_value() -> None:
    bound = {str(Realtime.parse("*:R/45").bind(b"%d" % n)) for n in range(500)}
    assert "*-*-* *:14/45:00" in bound
    assert "*-*-* *:15:00" in bound
    assert len(bound) == 45


def test_unbound_r_does_not_elapse() -> None:
    with pytest.raises(ValueError, match=r"'\*-\*-\* 02:R:00' has R, which is drawn by bind"):
        Realtime.parse("2:R").next_after(BASE)
    with pytest.raises(ValueError, match="has R"):
        Realtime.parse("2:R").elapse_after(0)


WORKERS = 100_000


def drawn(text: str) -> list[tuple[int, ...]]:
    """What each field with `R` begins with, for every worker of one schedule."""
    calendar = Realtime.parse(text)
    places = [n for n, field in enumerate(calendar.parts.fields) if isinstance(field, Random)]
    found = []
    for number in range(WORKERS):
        fields = calendar.bind(netstrings(b"the schedule's", b"%d" % number)).parts.fields
        found.append(tuple([fields[place][0][0] for place in places]))  # type: ignore[index]
    return found


def evenly(values: Iterable[Hashable], choices: int) -> bool:
    """Whether values are as even as chance makes them: a chi-squared test against all alike.

    It fails what chance makes in one of a thousand (Wilson and Hilferty's approximation).
    """
    counts = Counter(values)
    expected = WORKERS / choices
    seen = sum((count - expected) ** 2 for count in counts.values()) / expected
    seen += (choices - len(counts)) * expected
    spread = 2 / (9 * (choices - 1))
    return len(counts) <= choices and seen < (choices - 1) * (1 - spread + 3.09 * spread**0.5) ** 3


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("*-R-R R:R:R", (12, 28, 24, 60, 60)),
        ("*-R(3..11)-R(1..31) R(8..17):R(5..24):R(0..1)", (9, 31, 10, 20, 2)),
        ("*-R/3-R/7 R/6:R/15:R/20", (3, 7, 6, 15, 20)),
    ],
)
def test_100_000_workers_spread_evenly_and_each_field_by_itself(
    text: str, choices: tuple[int, ...]
) -> None:
    found = drawn(text)
    for place, of_field in enumerate(choices):
        assert evenly([draws[place] for draws in found], of_field), place
        for other, of_other in list(enumerate(choices))[:place]:
            pairs = [(draws[place], draws[other]) for draws in found]
            assert evenly(pairs, of_field * of_other), (place, other)


def test_schedules_of_one_worker_spread_evenly_too() -> None:
    calendar = Realtime.parse("2:R")
    minutes = [
        calendar.bind(netstrings(b"%d" % number, b"the worker's")).parts.minute
        for number in range(WORKERS)
    ]
    assert evenly(minutes, 60)


def test_what_is_uneven_is_seen() -> None:
    assert evenly([number % 60 for number in range(WORKERS)], 60)
    assert not evenly([number % 59 for number in range(WORKERS)], 60)
    assert not evenly([min(number % 60, 58) for number in range(WORKERS)], 60)
    assert not evenly([number % 61 for number in range(WORKERS)], 60)
