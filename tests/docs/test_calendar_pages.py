"""What the pages about calendars show is what the engine says."""

from __future__ import annotations

import doctest
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from libbarto.errors import CalendarError
from libbarto.realtime import Realtime, normalize, upcoming
from libbarto.realtime.grammar import SHORTHANDS
from libbarto.realtime.units import UNITS
from libbarto.realtime.zones import EPOCH
from tests.docs.test_pages import ROOT

PAGE = ROOT / "docs" / "reference" / "calendar.md"
LIBRARY = ROOT / "docs" / "howto" / "calendar-library.md"
Row = dict[str, str]


def tables() -> Iterator[list[Row]]:
    """The page's tables, each row by the words of its head, without the marks of code."""
    for text in re.findall(r"(?:^\|.*\n)+", PAGE.read_text(encoding="utf-8"), re.MULTILINE):
        head, _, *lines = (
            [cell.strip().strip("`").replace("\\*", "*") for cell in line.split("|")[1:-1]]
            for line in text.splitlines()
        )
        yield [dict(zip(head, cells, strict=True)) for cells in lines]


def rows(*head: str) -> list[Row]:
    """The rows of the table with this head."""
    return next(table for table in tables() if tuple(table[0]) == head)


def moment(text: str, zone: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def test_every_normalised_form_is_what_the_page_says() -> None:
    shown = rows("expression", "normalised form")
    assert len(shown) > 30
    assert [normalize(row["expression"]) for row in shown] == [
        row["normalised form"] for row in shown
    ]


def test_every_word_is_on_the_page() -> None:
    shown = {row["expression"].lower() for row in rows("expression", "normalised form")}
    assert set(SHORTHANDS) <= shown


@pytest.mark.parametrize("row", rows("expression", "zone", "after", "next"), ids=str)
def test_every_elapse_is_what_the_page_says(row: Row) -> None:
    zone = row["zone"]
    found = upcoming(row["expression"], moment(row["after"], zone), 5, zone)
    shown = ", ".join(f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}" for at in found)
    assert (shown or "never") == row["next"]


CHANGES = rows("expression", "dst_gap", "dst_repeat", "after, in UTC", "next, in UTC")


@pytest.mark.parametrize("row", CHANGES, ids=str)
def test_clocks_change_as_the_page_says(row: Row) -> None:
    calendar, zone, shown = Realtime.parse(row["expression"]), "Europe/Berlin", []
    at = (moment(row["after, in UTC"], "UTC") - EPOCH) // timedelta(microseconds=1)
    for _ in range(2):
        elapse = calendar.elapse_after(
            at, zone, dst_gap=row["dst_gap"], dst_repeat=row["dst_repeat"]
        )
        assert elapse is not None
        shown.append(f"{datetime.fromtimestamp(elapse // 1_000_000, UTC):%Y-%m-%d %H:%M}")
        at = elapse
    assert ", ".join(shown) == row["next, in UTC"]


def test_every_draw_is_what_the_page_says() -> None:
    for row in rows("expression", "seed", "drawn"):
        assert str(Realtime.parse(row["expression"]).bind(row["seed"].encode())) == row["drawn"]


@pytest.mark.parametrize("row", rows("expression", "message"), ids=str)
def test_every_refusal_is_what_the_page_says(row: Row) -> None:
    with pytest.raises(CalendarError) as caught:
        Realtime.parse(row["expression"])
    assert caught.value.message == row["message"]


def test_every_field_is_on_the_page() -> None:
    shown = rows("field", "values", "R` draws from")
    assert [row["field"] for row in shown] == [unit.name for unit in UNITS]


def test_the_library_s_examples_say_what_happens() -> None:
    failed, tried = doctest.testfile(str(LIBRARY), module_relative=False)
    assert failed == 0
    assert tried > 15


def test_what_is_said_of_systemd_is_what_differs() -> None:
    base = datetime(2026, 12, 31, 23, 56, tzinfo=UTC)
    assert [f"{at:%H:%M}" for at in islice(Realtime.parse("*:0/7").iterate(base), 2)] == [
        "00:00",
        "00:07",
    ]
    assert normalize("*-*~1,28") == "*-*~01,28 00:00:00"
    assert normalize("*:*:0/1,0.5") == "*-*-* *:*:00/1,00.500000"
