"""What errors say, and to whom."""

from __future__ import annotations

import pytest

from libbarto.errors import CalendarError, ConnectionClosed, SelectorError, marked


def test_a_closed_connection_says_its_code_and_reason() -> None:
    assert str(ConnectionClosed()) == "connection closed (1006)"
    assert str(ConnectionClosed(1000, "bye")) == "connection closed (1000: bye)"


def test_the_mark_stands_under_the_fault() -> None:
    for kind in (CalendarError, SelectorError):
        error = kind("wrong here", "abc def", 4, 7)
        assert str(error) == "wrong here\n    abc def\n        ^^^"
        assert (error.start, error.end) == (4, 7)
        assert str(kind("all of it", "abc")).endswith("\n    ^^^")


def test_a_long_text_is_shown_around_the_fault() -> None:
    shown = marked("wrong", "x" * 500 + "!" + "y" * 500, 500, 501).splitlines()
    assert shown[1].strip().startswith("...") and shown[1].endswith("...")
    assert shown[1][shown[2].index("^")] == "!"


@pytest.mark.parametrize("length", [1, 75, 76, 77, 200, 10_000])
def test_the_mark_is_within_80_columns_wherever_the_fault_is(length: int) -> None:
    text = "".join(chr(33 + n % 90) for n in range(length))
    for start in {0, 1, 23, 24, length // 2, length - 30, length - 1, length} & {
        *range(length + 1)
    }:
        for width in (0, 1, 5, 80, length):
            end = min(start + width, length)
            _, line, mark = marked("wrong", text, start, end).splitlines()
            assert max(len(line), len(mark)) <= 80
            first, stop = mark.index("^"), len(mark)
            shown = line[first:stop].removesuffix("...")
            assert text[start : max(end, start + 1)].startswith(shown)
            assert shown or start == length


def test_control_characters_are_not_passed_on() -> None:
    assert "\x1b" not in marked("wrong", "a\x1b[31mb", 1, 2)
