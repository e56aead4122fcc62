"""Durations and sizes are read as people write them, and read back as they are printed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libbarto.errors import UserError
from libbarto.quantity import (
    DURATION_LIMIT,
    SIZE_LIMIT,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("90s", 90),
        ("1h30m", 5400),
        ("1h 30min", 5400),
        (" 2 h ", 7200),
        ("250ms", 0.25),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("1.5h", 5400),
        ("3us", 0.000_003),
        ("0.0000005s", None),
        ("1s1s", 2),
    ],
)
def test_a_duration_is_read(text: str, seconds: float | None) -> None:
    if seconds is None:
        with pytest.raises(UserError):
            parse_duration(text)
    else:
        assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", " ", "5", "h", "1h5", "-1s", "1h,2m", "1 2s", "１s"])
def test_what_is_no_duration_is_told_how_one_is_written(text: str) -> None:
    with pytest.raises(UserError, match="is no duration; write"):
        parse_duration(text)


def test_an_unknown_unit_of_time_is_named() -> None:
    with pytest.raises(UserError, match='no unit "H"'):
        parse_duration("1H")


def test_a_duration_beyond_a_thousand_years_is_a_mistake() -> None:
    with pytest.raises(UserError, match="too long"):
        parse_duration("99999999w")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (5400, "1h30m"), (0.25, "250ms"), (86_461.5, "1d1m1s500ms"), (1e-6, "1us")],
)
def test_a_duration_is_printed_in_the_units_that_fit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(0, round(DURATION_LIMIT) * 100_000))
def test_a_duration_reads_back(microseconds: int) -> None:
    seconds = microseconds / 1_000_000
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("17", 17),
        ("17B", 17),
        ("1kB", 1000),
        ("1KB", 1000),
        ("10MiB", 10 * 1024**2),
        ("1 GB", 10**9),
        ("1.5KiB", 1536),
        ("2TiB", 2 * 1024**4),
        ("0.0005kB", 1),
    ],
)
def test_a_size_is_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1B", "1 MiB 2", "1,5MB"])
def test_what_is_no_size_is_told_how_one_is_written(text: str) -> None:
    with pytest.raises(UserError, match="is no size; write"):
        parse_size(text)


def test_a_unit_that_could_be_two_is_asked_about() -> None:
    with pytest.raises(UserError, match=r"MiB \(1024\) or MB \(1000\)\?"):
        parse_size("10M")


def test_an_unknown_unit_of_size_is_named() -> None:
    with pytest.raises(UserError, match='no unit "bits"'):
        parse_size("10bits")


def test_a_size_beyond_an_exbibyte_is_a_mistake() -> None:
    with pytest.raises(UserError, match="too large"):
        parse_size("9999999TiB")


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (1, "1B"), (1000, "1kB"), (1024, "1KiB"), (10 * 1024**2, "10MiB"), (1500, "1500B")],
)
def test_a_size_is_printed_in_the_largest_unit_that_fits(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(0, SIZE_LIMIT) | st.integers(0, 2000).map(lambda n: n * 1024**2))
def test_a_size_reads_back(size: int) -> None:
    assert parse_size(format_size(size)) == size
