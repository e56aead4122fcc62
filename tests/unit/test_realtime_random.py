"""`R` is drawn from a seed: always the same, evenly, and pinned for ever."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libbarto.realtime import Realtime

GOLDEN = Path(__file__).parents[1] / "vectors" / "random.jsonl"
BASE = datetime(2026, 1, 1, tzinfo=UTC)


def draw(seed: bytes, text: str, field: str, n: int) -> int:
    """The rule of the specification, spelled out: calendar.md section 0.2."""
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


def test_100_000_workers_spread_evenly() -> None:
    calendar, count = Realtime.parse("2:R"), 100_000
    minutes = Counter(
        calendar.bind(b"16:schedule-backup,,%d:%d," % (len(str(n)), n)).parts.minute
        for n in range(count)
    )
    assert len(minutes) == 60
    expected = count / 60
    chi_squared = sum((seen - expected) ** 2 / expected for seen in minutes.values())
    assert chi_squared < 98.3  # 59 degrees of freedom: beyond this in one of a thousand
