"""An interval is due at its anchor plus whole intervals, whoever asks and since when."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libbarto.errors import CalendarError
from libbarto.realtime.interval import Every

GOLDEN = Path(__file__).parents[1] / "vectors" / "interval.jsonl"
SECOND = 1_000_000
INSTANTS = st.integers(-(1 << 55), 1 << 55)
INTERVALS = st.integers(1, 1 << 50)


@given(INTERVALS, INSTANTS, INSTANTS)
def test_what_elapses_lies_whole_intervals_from_the_anchor(
    every: int, anchor: int, instant: int
) -> None:
    interval = Every(every, anchor)
    following, preceding = interval.elapse_after(instant), interval.elapse_before(instant)
    assert (following - anchor) % every == (preceding - anchor) % every == 0
    assert instant < following <= instant + every
    assert instant - every <= preceding < instant
    assert interval.elapse_after(preceding) == (
        instant if (instant - anchor) % every == 0 else following
    )


@given(st.integers(1, 50), st.integers(-99, 99), st.integers(-300, 300), st.integers(0, 300))
def test_a_count_is_what_going_through_finds(
    every: int, anchor: int, after: int, length: int
) -> None:
    wanted = [t for t in range(after + 1, after + length + 1) if (t - anchor) % every == 0]
    assert Every(every, anchor).count(after, after + length) == len(wanted)


def test_nothing_lies_in_a_span_that_ends_before_it_begins() -> None:
    assert Every(5).count(100, 0) == 0


@pytest.mark.parametrize("every", [0, -1])
def test_an_interval_is_positive(every: int) -> None:
    with pytest.raises(CalendarError):
        Every(every)


def test_what_is_not_drawn_binds_to_itself() -> None:
    interval = Every(5, 2)
    assert interval.bind(b"seed") is interval


def test_what_is_not_bound_does_not_elapse() -> None:
    interval = Every(5, drawn=True)
    for ask in (interval.elapse_after, interval.elapse_before):
        with pytest.raises(ValueError, match="bind"):
            ask(0)
    with pytest.raises(ValueError, match="bind"):
        interval.count(0, 1)


def phase(seed: bytes, text: str, choices: int) -> int:
    """The rule, spelled out."""
    hashed = b""
    for part in (seed, text.encode(), b"anchor"):
        hashed += str(len(part)).encode() + b":" + part + b","
    return int.from_bytes(hashlib.sha256(hashed).digest()[:8], "big") % choices


@given(st.binary(max_size=40))
def test_a_phase_follows_the_rule(seed: bytes) -> None:
    drawn = Every(5400 * SECOND, 7, drawn=True).bind(seed)
    assert drawn == Every(5400 * SECOND, 7 + phase(seed, "1h30m", 5400) * SECOND)
    short = Every(250_000, drawn=True).bind(seed)
    assert short == Every(250_000, phase(seed, "250ms", 250_000))
    assert Every(1_999_999, drawn=True).bind(seed).anchor_us == 0  # one whole second: one choice


def test_phases_are_pinned() -> None:
    lines = GOLDEN.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 20
    for line in lines:
        vector = json.loads(line)
        drawn = Every(vector["every_us"], drawn=True).bind(bytes.fromhex(vector["seed"]))
        assert drawn.anchor_us == vector["phase_us"], vector


def test_a_fleet_spreads_evenly() -> None:
    interval = Every(60 * SECOND, drawn=True)
    found = Counter(interval.bind(b"%d" % number).anchor_us for number in range(60_000))
    assert len(found) == 60
    # 59 degrees of freedom: above 103.3 in one case of a thousand.
    assert sum((count - 1000) ** 2 / 1000 for count in found.values()) < 103.3
