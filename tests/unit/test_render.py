"""Tables fit and are never cut in a pipe; nothing that is shown can harm a terminal."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barto_cli.render import (
    Column,
    Format,
    Listing,
    Row,
    Screen,
    by_state,
    csv_lines,
    cut,
    json_text,
    lines_of,
    short_ids,
    table,
    text_of,
    width_of,
)
from barto_cli.times import UTC_ZONE
from libbarto.harmless import safe, safe_lines

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
PIPE = Screen(UTC_ZONE, NOW)
TERMINAL = Screen(UTC_ZONE, NOW, terminal=True, width=40, colour=True)
COLUMNS = (
    Column("when", "WHEN", least=None),
    Column("text", "TEXT", useful=1, least=6),
    Column("name", "NAME", useful=2, least=4),
    Column("size", "SIZE", right=True, least=None),
)
HARMFUL = [
    "\x1b[31m",
    "\x1b]0;title\x07",
    "\x1b]52;c;aGk=\x07",
    "\x1bP$q\x1b\\",
    "\x9b31m",
    "\x9d0;x\x9c",
    "a\rb",
    "a\bb",
    "\x07",
    "\x00",
    "\x7f",
    "\x0e",
    "\u202e",
    "\u2066x\u2069",
    "\u200f",
    "\u061c",
    "\u2028",
    "\u2029",
    "\ufeff",
    "\u200b",
    "\u2060",
    "\xad",
    "\ufff9",
    "\U000e0041",
    "\ud800",
]


def rendered(rows: Sequence[Row], screen: Screen) -> list[str]:
    return list(table(COLUMNS, rows, screen))


def row(text: str = "x", name: str = "n", size: int = 1) -> Row:
    return {"when": "12:00", "text": text, "name": name, "size": size}


def test_words_stand_left_and_numbers_right_with_air_between() -> None:
    assert rendered([row("ab", "web1", 5), row("abcdef", "w", 12345)], PIPE) == [
        "WHEN   TEXT    NAME   SIZE",
        "12:00  ab      web1      5",
        "12:00  abcdef  w     12345",
    ]


def test_nothing_is_no_table() -> None:
    assert rendered([], PIPE) == []


def test_in_a_pipe_nothing_is_cut_and_nothing_coloured() -> None:
    (_, line) = rendered([row("x" * 1000)], PIPE)
    assert "x" * 1000 in line
    assert "\x1b" not in line


def test_on_a_terminal_the_least_useful_column_becomes_narrower_first() -> None:
    lines = rendered([row("x" * 100, "n" * 14, 123)], TERMINAL)
    assert width_of(lines[1]) == 40
    assert lines[1].split() == ["12:00", "x" * 10 + "…", "n" * 14, "123"]


def test_columns_that_may_not_shrink_stay_whole() -> None:
    narrow = Screen(UTC_ZONE, NOW, terminal=True, width=25)
    (_, line) = rendered([row("x" * 100, "n" * 20, 123)], narrow)
    assert line.split() == ["12:00", "xxxxx…", "nnn…", "123"]


def test_where_columns_cannot_be_side_by_side_a_row_takes_several_lines() -> None:
    narrow = Screen(UTC_ZONE, NOW, terminal=True, width=10)
    lines = rendered([row("x" * 100, "n" * 20, 123)], narrow)
    assert lines[:4] == ["WHEN", "  TEXT", "  NAME", "  SIZE"]
    assert lines[4:] == ["12:00", "  xxxxxxx…", "  nnnnnnn…", "   123"]


def test_headers_are_dim_and_only_states_have_colour() -> None:
    columns = [Column("verdict", "VERDICT", colour=by_state("verdict")), Column("name", "NAME")]
    rows = [{"verdict": "failed", "name": "web1"}, {"verdict": "odd", "name": "web1"}]
    header, failed, odd = table(columns, rows, TERMINAL)
    assert header == "\x1b[2mVERDICT  NAME\x1b[0m"
    assert failed == "\x1b[31mfailed\x1b[0m   web1"
    assert odd == "odd      web1"


@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), min_size=1, max_size=5))
def test_columns_stand_below_one_another_whatever_the_script(
    texts: list[tuple[str, str]],
) -> None:
    columns = [Column("a", "A"), Column("b", "B", right=True)]
    lines = list(table(columns, [{"a": a, "b": b + "."} for a, b in texts], PIPE))
    assert len({width_of(line) for line in lines}) == 1


@given(st.text(), st.integers(0, 20))
def test_a_cut_text_fits_and_is_a_beginning(text: str, width: int) -> None:
    shorter = cut(text, width)
    assert width_of(shorter) <= width or shorter == text
    if shorter != text:
        assert text.startswith(shorter.removesuffix("…"))


@pytest.mark.parametrize(("text", "width"), [("日本語", 6), ("e\u0301", 1), ("abc", 3), ("🚀", 2)])
def test_width_is_that_of_the_terminal(text: str, width: int) -> None:
    assert width_of(text) == width


@pytest.mark.parametrize("text", HARMFUL)
def test_what_could_harm_is_shown_as_an_escape(text: str) -> None:
    for shown in (safe(text), safe_lines(text), rendered([row(text)], PIPE)[1]):
        assert all(character.isprintable() for character in shown), ascii(shown)


@given(st.text())
def test_no_control_is_left_in_any_text(text: str) -> None:
    assert all(unicodedata.category(c) not in {"Cc", "Cs", "Zl", "Zp"} for c in safe(text))
    left = safe_lines(text).replace("\n", "").replace("\t", "")
    assert all(unicodedata.category(c) not in {"Cc", "Cs", "Zl", "Zp"} for c in left)


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Mn"])))
def test_readable_text_is_shown_as_it_is(text: str) -> None:
    assert safe(text) == text


def test_scripts_that_need_joiners_keep_them() -> None:
    assert safe("می\u200cخواهم 👨\u200d👩") == "می\u200cخواهم 👨\u200d👩"


def test_line_breaks_of_output_stay() -> None:
    assert safe_lines("a\tb\r\nc\n") == "a\tb\nc\n"
    assert safe_lines("10%\r20%\n") == "10%\\x0d20%\n"


def test_bytes_that_are_no_text_are_shown_as_escapes() -> None:
    assert text_of(b"a\xff\xc3\xa4") == "a\\xffä"


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none() | st.booleans()))
def test_json_reads_back_and_has_no_control_in_it(value: dict[str, object]) -> None:
    text = json_text(value)
    assert json.loads(text) == value
    assert all(unicodedata.category(c) not in {"Cc", "Cs"} for c in text)


def test_json_has_times_and_bytes_as_programs_want_them() -> None:
    assert json.loads(json_text({"t": NOW, "b": b"\xff", "f": float("nan")})) == {
        "t": "2026-11-24T12:00:00Z",
        "b": {"base64": "/w=="},
        "f": "nan",
    }


def test_every_form_has_every_row() -> None:
    rows = [row('ä,"b"\n', "x", 1), row("c", "y", 2)]
    listing = Listing(COLUMNS, rows, ("when", "text", "name", "size"))

    def text(form: Format) -> str:
        return "\n".join(lines_of(listing, form, PIPE))

    assert json.loads(text(Format.JSON)) == rows
    assert [json.loads(line) for line in text(Format.JSONL).split("\n")] == rows
    records = list(csv.reader(io.StringIO(text(Format.CSV))))
    assert records == [
        ["when", "text", "name", "size"],
        ["12:00", 'ä,"b"\n', "x", "1"],
        ["12:00", "c", "y", "2"],
    ]


def test_no_rows_are_an_empty_array_and_a_header() -> None:
    empty = Listing(COLUMNS, [])
    assert list(lines_of(empty, Format.JSON, PIPE)) == ["[]"]
    assert list(lines_of(empty, Format.JSONL, PIPE)) == []
    assert list(lines_of(empty, Format.CSV, PIPE)) == ["when,text,name,size"]


def test_csv_is_harmless_on_a_terminal_only() -> None:
    rows = [{"a": "\x1b[31m", "b": None, "c": [1], "d": True, "e": b"\xff", "f": NOW}]
    keys = list("abcdef")
    assert list(csv_lines(keys, rows, harmless=False))[1] == (
        "\x1b[31m,,[1],true,\\xff,2026-11-24T12:00:00Z"
    )
    assert list(csv_lines(keys, rows, harmless=True))[1].startswith("\\x1b[31m,")


@given(st.sets(st.uuids().map(str), max_size=20))
def test_short_ids_are_beginnings_that_no_other_has(ids: set[str]) -> None:
    short = short_ids(ids)
    assert set(short) == ids
    for whole, beginning in short.items():
        assert [one for one in ids if one.startswith(beginning)] == [whole]
        assert len(beginning) >= 18
        assert not beginning.endswith("-")


def test_ids_of_one_instant_are_told_apart() -> None:
    one = "019a0000-0000-8abc-8000-000000000001"
    two = "019a0000-0000-8abc-8000-000000000002"
    assert short_ids([one, two]) == {one: one, two: two}
