"""Output as it looks: colours and weight are drawn, whatever else a sequence asks for is not."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartos.ansi import COLUMNS_MAX, PLAIN, Run, Style, drawn, plain

CORPUS = Path(__file__).parents[1] / "vectors" / "ansi.json"
CASES = json.loads(CORPUS.read_text(encoding="utf-8"))

HARMFUL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

SEQUENCES = st.lists(
    st.one_of(
        st.sampled_from(
            ["\x1b[", "\x1b]", "\x1bP", "\x1b", "\x9b", "\x9d", "\x07", "\x1b\\", "\r", "\x08", "m"]
        ),
        st.sampled_from(["31", ";", ":", "38;5;", "48;2;", "K", "1", "0", "999999", "\u202e", "ß"]),
        st.text(max_size=4),
    ),
    max_size=12,
).map("".join)


def test_the_corpus_is_large() -> None:
    assert len(CASES) >= 200


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_a_line_of_the_corpus_is_drawn_as_it_says(case: dict[str, object]) -> None:
    runs, _ = drawn(str(case["text"]))
    assert [[run.text, run.classes] for run in runs] == case["runs"]


@given(SEQUENCES)
def test_nothing_that_is_shown_can_do_anything(text: str) -> None:
    runs, _ = drawn(text)
    for run in runs:
        assert (
            re.search("[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", run.text) is None
        )
        assert re.fullmatch("[a-z0-9 ]*", run.classes)


@given(SEQUENCES)
def test_what_is_drawn_is_drawn_as_itself(text: str) -> None:
    shown = plain(text)
    assert shown == "".join(run.text for run in drawn(text)[0])
    assert plain(shown) == shown


@given(st.text(st.characters(categories=["L", "N", "P"])))
def test_text_without_sequences_is_as_it_was(text: str) -> None:
    assert plain(text) == text


def test_a_style_goes_on_in_the_next_line() -> None:
    _, style = drawn("\x1b[32mgreen")
    assert style == Style(ink=2)
    assert drawn("still", style)[0] == [Run("still", "ink i2")]
    assert drawn("\x1b[0m", style) == ([], PLAIN)


def test_a_progress_bar_shows_its_end() -> None:
    assert plain("10 %\r20 %\r100 % done") == "100 % done"
    assert plain("downloading\r\x1b[Kdone") == "done"
    assert plain("abc\x08\x08X") == "aXc"


@pytest.mark.parametrize("begin", ["\x90", "\x98", "\x9d", "\x9f", "\x9b", "\x1b]", "\x1b["])
def test_thousands_of_sequences_that_never_end_hold_nobody_up(begin: str) -> None:
    began = time.process_time()
    assert "\x1b" not in plain(begin * (COLUMNS_MAX // len(begin)))
    assert time.process_time() - began < 1.0  # it is a few hundredths; once it was nine seconds


def test_what_never_ends_is_shown_as_text() -> None:
    assert plain("\x1b]0;title of a window") == "]0;title of a window"
    assert plain("\x1b[1;3") == "[1;3"


@pytest.mark.parametrize(
    ("given_style", "classes"),
    [
        (Style(flags=frozenset({"turned"})), "turned"),
        (Style(ink=1, flags=frozenset({"turned"})), "paper p1"),
        (Style(ink=1, paper=2, flags=frozenset({"turned", "bold"})), "ink i2 paper p1 bold"),
        (Style(paper=3, flags=frozenset({"turned"})), "ink i3 turned"),
    ],
)
def test_colours_are_turned_around(given_style: Style, classes: str) -> None:
    assert given_style.classes == classes
