"""Spans of time in two units, wherever people read them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from barto_cli import times
from bartos import why_words
from bartos.web import words
from libbarto.brief import DAYS, MONTHS, two_units
from libbarto.realtime.units import WEEKDAYS

SIZES = {"d": 86_400, "h": 3600, "m": 60, "s": 1}


@given(some.integers(10, 10**9))
def test_two_units_are_the_span_as_far_as_they_go(seconds: int) -> None:
    large, rest, unit = two_units(seconds)
    said = int(large[:-1]) * SIZES[large[-1]] + rest * SIZES.get(unit, 0)
    assert said <= seconds < said + SIZES.get(unit, 1)


def test_command_line_pages_and_answers_say_the_same() -> None:
    for seconds, said in ((0.0123, "12ms"), (9.99, "9.9s"), (59, "59s")):
        assert times.duration(seconds) == words.duration(seconds) == said
        assert why_words.lasted(round(seconds * 1e6)) == said
    assert times.duration(90_061) == "1d01h"
    assert words.duration(90_061) == "1d 01h"
    assert why_words.lasted(90_061 * 10**6) == "1d1h"


def test_days_and_months_are_those_of_the_calendar() -> None:
    assert DAYS == WEEKDAYS
    assert len(set(MONTHS)) == 12
