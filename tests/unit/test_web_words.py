"""How times, durations and amounts read on a page."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as some
from markupsafe import Markup

from bartos.web import words
from bartos.web.assets import ASSETS
from libbarto.harmless import UNSAFE

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def test_a_time_is_said_as_far_as_it_has_to_be() -> None:
    assert words.short_time(NOW, BERLIN, NOW) == "13:00:00"
    # 23:30 in London is tomorrow in Berlin.
    assert words.short_time(NOW + timedelta(hours=11.5), BERLIN, NOW) == "Wed 25 Nov 00:30"
    assert words.short_time(NOW.replace(year=2027), BERLIN, NOW) == "Wed 24 Nov 2027 13:00"


def test_a_time_in_full_has_its_zone() -> None:
    assert words.long_time(NOW, UTC, "UTC") == "Tue 24 Nov 2026 12:00:00 UTC"
    told = words.long_time(NOW, BERLIN, "Europe/Berlin")
    assert told == "Tue 24 Nov 2026 13:00:00 Europe/Berlin (UTC+01:00)"


def test_a_span_says_its_day_once() -> None:
    late = NOW + timedelta(hours=20)
    assert words.span(NOW, NOW + timedelta(minutes=5), UTC, NOW) == ("12:00", "12:05")
    assert words.span(NOW, late, UTC, NOW) == ("12:00", "Wed 25 Nov 08:00")
    assert words.span(late, late + timedelta(minutes=9), UTC, NOW) == ("Wed 25 Nov 08:00", "08:09")


def test_where_no_zone_has_rules_a_time_stays_as_it_is() -> None:
    far = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert words.in_zone(far, timezone(timedelta(hours=14))) == far
    assert words.short_time(far, BERLIN, NOW).endswith("9999 23:59")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, ""),
        (0, "0ms"),
        (0.9999, "999ms"),
        (9.99, "9.9s"),
        (59.9, "59s"),
        (60, "1m 00s"),
        (3599, "59m 59s"),
        (86_399, "23h 59m"),
        (1e9, "11574d 01h"),
        (-90, "-1m 30s"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float | None, said: str) -> None:
    assert words.duration(seconds) == said


def test_distances_are_rough() -> None:
    assert [words.from_now(one) for one in (0, 42, -3700, 90_000)] == [
        "now",
        "in 42s",
        "1h ago",
        "in 1d",
    ]
    assert words.elapsed(111_731.9) == "31:02:11"


@given(some.integers(0, 1 << 62))
def test_an_amount_of_bytes_is_short(number: int) -> None:
    said = words.size(number)
    assert said.split(" ")[1] in {"B", "kB", "MB", "GB"}
    if number < 10**12:
        assert len(said) <= 8


def test_counts_have_words() -> None:
    assert words.count(1204) == "1,204"
    assert words.count(1, "line") == "1 line"
    assert words.count(0, "entry", "entries") == "0 entries"


def test_what_a_template_writes_is_harmless() -> None:
    assert words.shown("a\x1bb") == "a\\x1bb"
    assert words.shown(None) == ""
    markup = Markup("<b>\n</b>")
    assert words.shown(markup) is markup
    assert words.lines("<\n\x07") == "&lt;\n\\x07"


def test_the_script_finds_the_same_characters_harmful() -> None:
    found = re.search(r'const unsafe = "([^"]*)";', ASSETS["barto.js"].data.decode())
    assert found is not None
    written = re.sub(
        r"\\\\(?:x(\w{2})|u(\w{4})|u\{(\w+)\})",
        lambda code: chr(int(code[1] or code[2] or code[3], 16)),
        found[1],
    )
    assert written == UNSAFE


def test_paths_are_quoted() -> None:
    assert words.segment("a/b c?#\udcff") == "a/b%20c%3F%23%3F"
    assert words.body({"on": 'a"b'}) == '{"on": "a\\"b"}'
    assert words.iso(NOW.astimezone(BERLIN)) == "2026-11-24T12:00:00Z"
