"""Calendar expressions are read, printed and refused as the specification says."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, date, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libbarto.errors import CalendarError
from libbarto.realtime import Realtime, normalize, upcoming

VECTORS = Path(__file__).parents[1] / "vectors" / "calendar.jsonl"


def vectors() -> list[dict[str, Any]]:
    return [json.loads(line) for line in VECTORS.read_text(encoding="utf-8").splitlines()]


def fault(text: str) -> CalendarError:
    with pytest.raises(CalendarError) as caught:
        Realtime.parse(text)
    return caught.value


def accepted(text: str) -> bool:
    try:
        Realtime.parse(text)
    except CalendarError:
        return False
    return True


def check_read_or_refused(text: str) -> None:
    """Nothing but a CalendarError that fits a terminal; what is read is printed and read again."""
    try:
        calendar = Realtime.parse(text)
    except CalendarError as error:
        assert 0 <= error.start <= error.end <= max(len(text), error.start)
        assert len(error.message) < 300
        assert error.message.isprintable()
        _, shown, mark = str(error).split("\n")
        assert shown.isprintable()
        assert max(len(shown), len(mark)) <= 80
        str(error).encode()
    else:
        assert text.isascii()
        assert Realtime.parse(str(calendar)) == calendar


# The 1,500 measured answers.


def test_no_measured_answer_is_left_out() -> None:
    assert len(vectors()) == 1500 == 1260 + 240


def test_zone_data_is_the_edition_that_the_vectors_were_measured_with() -> None:
    zones = resources.files("tzdata").joinpath("zoneinfo", "tzdata.zi").read_text(encoding="utf-8")
    assert zones.splitlines()[0] == "# version 2025b"


def test_every_measured_elapse_agrees() -> None:
    checked, wrong = 0, []
    for vector in vectors():
        if vector.get("valid") is False:
            continue
        scale = 1 if vector.get("unit") == "us" else 1_000_000
        calendar, at, found = Realtime.parse(vector["expr"]), vector["base"] * scale, []
        for _ in range(5):
            elapse = calendar.elapse_after(at, vector["tz"])
            if elapse is None:
                break
            found.append(at := elapse)
        checked += 1
        if found != [instant * scale for instant in vector["next"]]:
            wrong.append((vector, found))
    assert wrong == []
    assert checked == 1260


def test_every_measured_elapse_agrees_as_aware_datetimes() -> None:
    checked = 0
    for vector in vectors():
        if vector.get("valid") is False:
            continue
        scale = 1 if vector.get("unit") == "us" else 1_000_000
        microseconds = vector["base"] * scale
        base = datetime.fromtimestamp(microseconds // 1_000_000, UTC).replace(
            microsecond=microseconds % 1_000_000
        )
        found = upcoming(vector["expr"], base, 5, vector["tz"])
        seconds = [round(at.timestamp() * 1_000_000) // scale for at in found]
        assert seconds == vector["next"], vector
        checked += 1
    assert checked == 1260


def test_every_measured_normalised_form_agrees_and_reads_back() -> None:
    checked = 0
    for vector in vectors():
        if vector.get("valid") is False:
            continue
        calendar = Realtime.parse(vector["expr"])
        assert str(calendar) == vector["normalized"], vector
        assert Realtime.parse(str(calendar)) == calendar
        checked += 1
    assert checked == 1260


def test_every_measured_rejection_agrees() -> None:
    rejected = [vector["expr"] for vector in vectors() if vector.get("valid") is False]
    assert len(rejected) == 240
    assert [text for text in rejected if accepted(text)] == []


# What is read, and how it is printed.


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("Wed..Sat,Tue 12-10-15 1:2:3", "Tue..Sat 2012-10-15 01:02:03"),
        ("30,2024..2026/2-*-1", "2024..2026/2,2030-*-01 00:00:00"),
        ("*:*:05.50/1.25", "*-*-* *:*:05.500000/1.250000"),
        ("@1395716396 Europe/Berlin", "2014-03-25 02:59:56 UTC"),
        ("Mon @5", "Mon 1970-01-01 00:00:05 UTC"),
        ("@  5", "1970-01-01 00:00:05 UTC"),
        ("Mon,", "Mon *-*-* 00:00:00"),
        ("Mon-Fri", "Mon..Fri *-*-* 00:00:00"),
        ("Mon, 10:00 utc", "Mon *-*-* 10:00:00 UTC"),
        ("Mon  UTC", "Mon *-*-* 00:00:00 UTC"),
        ("Sun,Mon,Tue,Wed,Thu,Fri,Sat 1:0", "*-*-* 01:00:00"),
        ("*-*~*", "*-*-* 00:00:00"),
        ("70..69-1-1", "1970..2069-01-01 00:00:00"),
        ("99..2000-1-1", "1999..2000-01-01 00:00:00"),
        ("*:0..60/7", "*-*-* *:00..56/7:00"),
        ("*:50..61/15", "*-*-* *:50:00"),
        ("5..5/3:0", "*-*-* 05:00:00"),
        ("1..10/10:0", "*-*-* 01:00:00"),
        ("*:*:5..5/3", "*-*-* *:*:05"),
        ("*:*:0..1.5", "*-*-* *:*:00..01"),
        ("*:*:0/0.0000005", "*-*-* *:*:00/0.000001"),
        ("*:*:0/1,5,7..9", "*-*-* *:*:*"),
        ("1..5,3,3:0", "*-*-* 01..05,03:00:00"),
        ("0010:00", "*-*-* 10:00:00"),
        ("yearly Asia/Tokyo", "*-01-01 00:00:00 Asia/Tokyo"),
        ("bi-ANNUALLY", "*-01,07-01 00:00:00"),
    ],
)
def test_the_grammar_of_systemd_is_read(text: str, printed: str) -> None:
    assert normalize(text) == printed
    assert Realtime.parse(printed) == Realtime.parse(text)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("*,*,* 10:R:R", "*-*-* 10:R:R"),
        ("*,*,R", "*-*-R 00:00:00"),
        ("2027,1..3,1", "2027-01..03-01 00:00:00"),
        ("Mon *,1/3,1 4:0", "Mon *-01/3-01 04:00:00"),
        ("* * 10:00:00", "*-*-* 10:00:00"),
        ("* 10:00", "*-*-* 10:00:00"),
        ("Mon * 10:00", "Mon *-*-* 10:00:00"),
        ("* *-2-1", "*-02-01 00:00:00"),
        ("*-R-R R:R", "*-R-R R:R:00"),
        ("*-*~R", "*-*~R 00:00:00"),
        ("*-*-R(1..31)", "*-*-R(01..31) 00:00:00"),
        ("*:R(0..59)", "*-*-* *:R:00"),
        ("*:R(5..5)", "*-*-* *:05:00"),
        ("*:*:R(5..5)", "*-*-* *:*:05"),
        ("R(1..5):R/15:R/1", "*-*-* R(01..05):R/15:R/1"),
    ],
)
def test_what_is_ours_is_read(text: str, printed: str) -> None:
    assert normalize(text) == printed
    assert Realtime.parse(printed) == Realtime.parse(text)


def test_a_list_holds_241_values() -> None:
    assert str(Realtime.parse(",".join(["1"] * 241) + ":0")) == "*-*-* 01:00:00"
    error = fault(",".join(["1"] * 242) + ":0")
    assert error.message == "a list holds at most 241 values"
    assert error.start == 481


def test_a_calendar_is_a_value() -> None:
    daily = Realtime.parse("daily")
    assert daily == Realtime.parse("*-*-*")
    assert hash(daily) == hash(Realtime.parse("0:0"))
    assert daily != Realtime.parse("daily UTC")
    assert (daily.zone, Realtime.parse("daily UTC").zone) == (None, "UTC")
    assert repr(daily) == "Realtime.parse('*-*-* 00:00:00')"
    daily.next_after(datetime(2026, 1, 1, tzinfo=UTC))
    assert pickle.loads(pickle.dumps(daily)) == daily
    with pytest.raises(AttributeError):
        daily.parts = daily.parts  # type: ignore[misc]  # that it fails is the point


# What is refused, and what is said.


@pytest.mark.parametrize(
    ("text", "marked", "said"),
    [
        ("", "", "at least one of weekdays, a date and a time"),
        (" UTC", " UTC", "at least one of"),
        (" 10:00", " ", "a blank in front"),
        ("caf\u00e9", "\u00e9", "only ASCII"),
        ("\uff11\uff10:00", "\uff11", "only ASCII"),
        ("Fri..Mon", "Fri..Mon", "write Fri..Sun,Mon"),
        ("Tue,Sun..Tue 1:0", "Sun..Tue", "write Sun,Mon..Tue"),
        ("Tues", "Tues", "write Tue"),
        ("Mon,Tues", "Tues", "a weekday is Mon to Sun or Monday to Sunday; write Tue"),
        ("Mon,,Tue", "", "a weekday is Mon to Sun"),
        ("Mon..Wed..Fri", "Mon..Wed..Fri", "got Mon..Wed..Fri"),
        ("Mon,Mon..Wedn", "Mon..Wedn", "; write Wed"),
        ("Mon,Xyz", "Xyz", "a weekday is"),
        ("Mon,Frday", "Frday", "did you mean Friday?"),
        ("Mond", "Mond", "write Mon"),
        ("dayly", "dayly", "did you mean daily?"),
        ("dayli", "dayli", "did you mean daily?"),
        ("mondey", "mondey", "did you mean Monday?"),
        ("month", "month", "did you mean monthly?"),
        ("weekdays 10:00", "weekdays", "got weekdays; write Mon..Fri"),
        ("noon", "noon", "write 12:00"),
        ("Mon 10pm", "10pm", "hours are 0 to 23: for 10pm write 22:00"),
        ("12am", "12am", "for 12am write 00:00"),
        ("10:30pm", "10:30pm", "for 10:30pm write 22:30"),
        ("Mon 10:00 PM", "Mon 10:00 PM", "for 10:00 PM write 22:00"),
        ("every 15 minutes", "every 15 minutes", 'write it as every = "15m"'),
        ("every hour", "every hour", 'write it as every = "1h"'),
        ("daily 10:00", "daily", "daily stands alone"),
        ("daily  UTC", "daily", "daily stands alone"),
        ("Mon *", "*", "a lone * needs a time"),
        ("*", "*", "a lone * needs a time"),
        ("* *", "*", "a lone * needs a time"),
        ("*-*-* *", "*", "a lone * needs a time"),
        ("Mon * *-*-*", "*-*-*", "has no place here"),
        ("10", "10", "write 10:00 for an hour, *-*-10 for a day"),
        ("10:00 *-*-*", "*-*-*", "has no place here: weekdays stand first"),
        ("10:00 Mon", "Mon", "weekdays stand first"),
        ("10:00 ", " ", "no blank is valid after a time"),
        ("10:00  UTC", " ", "one blank is valid after a time"),
        ("10:00 europe/berlin", "europe/berlin", "did you mean Europe/Berlin?"),
        ("10:00 Berlin", "Berlin", "did you mean Europe/Berlin?"),
        ("10:00 Nowhere/Else", "Nowhere/Else", "no time zone is named Nowhere/Else"),
        (f"10:00 {'z' * 70}", "z" * 70, "no time zone is named zzz"),
        ("10:00 UTC UTC", "UTC", "a zone stands once"),
        ("Europe/Berlin", "Europe/Berlin", "a zone stands once"),
        ("@daily", "@daily", "write daily"),
        ("@reboot", "@reboot", 'at = "boot"'),
        ("@x", "@x", "whole seconds since 1970"),
        ("@1.5", "@1.5", "whole seconds since 1970"),
        ("@1 10:00", "@1 10:00", "stands alone"),
        ("@1 ", "@1 ", "stands alone"),
        ("@7258118400", "@7258118400", "up to 2199"),
        ("24:00", "24", "hour is 0 to 23, got 24; midnight is 00:00"),
        ("*-*-* 25:00:00", "25", "hour is 0 to 23, got 25"),
        ("*:*:60", "60", "second is 0 to 59.999999, got 60"),
        ("*:*:59.9999995", "59.9999995", "second is 0 to 59.999999"),
        ("*-*~29", "29", "day from the month's end is 1 to 28, got 29"),
        ("100-1-1", "100", "year is 1970 to 2199"),
        ("*:*/5", "*/5", "write 0/5"),
        ("*-*/2-1", "*/2", "write 1/2"),
        ("*:*:*/5", "*/5", "write 0/5"),
        ("*-*-1,*", "*", "* stands alone in its field"),
        ("*-*-?", "?", "write *"),
        ("*:r", "r", "upper case"),
        ("*:x,5", "x", "minute is 0 to 59, got x"),
        ("*-*-1,", "", "and one is missing here"),
        ("*-*-1..2..3", "1..2..3", "day is 1 to 31, got 1..2..3"),
        ("1.5:0", "1.5", "only seconds have decimals, not the hour"),
        ("22..5:0", "22..5", "write 22..23,0..5"),
        ("23..0:0", "23..0", "write 23,0"),
        ("*:*:9..5", "9..5", "write 9..59,0..5"),
        ("2030..2020-1-1", "2030..2020", "a range runs upward"),
        ("9..70:0", "9..70", "hour is 0 to 23"),
        ("70..9:0", "70..9", "hour is 0 to 23"),
        ("*:59/1", "/1", "nothing repeats after 59; leave /1 out"),
        ("*~1/1", "/1", "day from the month's end is 1 to 28, so nothing repeats"),
        ("*:0/0", "/0", "a repetition of 0"),
        ("*:*:0/0.0000001", "/0.0000001", "a repetition of 0"),
        ("*:*:5..5", "5..5", "a range of seconds spans at least one"),
        ("*-*-1..5/99999999999", "/99999999999", "too large"),
        ("0:0:1..5/3000", "/3000", "too large"),
        ("*:0" + "9" * 5000, "9" * 5000, "too large"),
        ("2-3-4-5", "2-3-4-5", "a date is year-month-day"),
        ("2~3-4", "2~3-4", "a date is year-month-day"),
        ("1:2:3:4", "1:2:3:4", "a time is hour:minute or hour:minute:second"),
        ("R-1-1", "R", "R has no place in a year"),
        ("*:R,5", "R,5", "R is a whole minute"),
        ("*:R/0", "R/0", "the n of R/n is 1 to 60"),
        ("*-*-R/29", "R/29", "the n of R/n is 1 to 28"),
        ("*:R(5..99)", "R(5..99)", "within 0..59"),
        ("*:R(9..5)", "R(9..5)", "within 0..59"),
        ("2024-01-01T10:00:00Z", "2024-01-01T10:00:00Z", "write 2024-01-01 10:00:00"),
        ("0 2 * * 1-5", "0 2 * * 1-5", 'cron = "0 2 * * 1-5"'),
        ("*/5 * * * *", "*/5 * * * *", "looks like a crontab line"),
        ("1:0 2:0 3:0 4:0 5:0 6:0", "2:0", "has no place here"),
        ("\x00\x1b[2J", "\x00\x1b[2J", "got ??[2J"),
    ],
)
def test_an_error_marks_the_fault_and_says_what_is_valid(text: str, marked: str, said: str) -> None:
    error = fault(text)
    assert said in error.message
    assert error.text == text
    stretch = text[error.start : error.end].lstrip("0")
    assert stretch == marked.lstrip("0")[:80] or (len(marked) > 80 and marked.startswith(stretch))
    assert error.message in str(error)
    assert "^" in str(error)
    assert str(error).isprintable() or "\n" in str(error)


def test_an_unknown_default_zone_is_named_with_the_one_that_was_meant() -> None:
    with pytest.raises(CalendarError, match=r"'Europe/Berln'; did you mean Europe/Berlin\?"):
        upcoming("daily", datetime(2026, 1, 1, tzinfo=UTC), 1, "Europe/Berln")
    with pytest.raises(CalendarError, match=r"no time zone is named '\.\./\.\./etc/passwd'"):
        upcoming("daily", datetime(2026, 1, 1, tzinfo=UTC), 1, "../../etc/passwd")
    with pytest.raises(CalendarError, match="xxx\\.\\.\\.'"):
        upcoming("daily", datetime(2026, 1, 1, tzinfo=UTC), 1, "x" * 10_000)


@pytest.mark.parametrize("text", [None, True, 5, b"daily", ["daily"], object()])
def test_what_is_no_text_is_no_expression(text: Any) -> None:
    with pytest.raises(CalendarError, match="an expression is text, not"):
        Realtime.parse(text)


@pytest.mark.parametrize("moment", [None, True, 5, "2026-01-01", date(2026, 1, 1)])
def test_what_is_no_datetime_is_refused_by_name(moment: Any) -> None:
    daily = Realtime.parse("daily")
    for ask in (daily.next_after, daily.previous_before, daily.matches):
        with pytest.raises(
            TypeError,
            match=f"expected an aware datetime, got {moment!r}".replace("(", r"\(").replace(
                ")", r"\)"
            ),
        ):
            ask(moment)


@pytest.mark.parametrize(
    "zone",
    [
        *(None, True, 5, b"UTC", ["UTC"], "", " ", "UTC ", "utc", ".", "..", "Europe", "zones"),
        *(
            "../../etc/passwd",
            "/etc/localtime",
            "Europe/../UTC",
            "Europe//Berlin",
            "Europe/Berlin/",
        ),
        *("Europe/Berlin\0", "\ud800", "\x1b[2J", "Zürich", "localtime", "posix/UTC", "right/UTC"),
        *("EST5EDT,M3.2.0,M11.1.0", ":UTC", "x" * 100_000),
    ],
    ids=lambda zone: repr(zone)[:20],
)
def test_what_is_no_zone_is_refused(zone: Any) -> None:
    daily, base = Realtime.parse("daily"), datetime(2026, 1, 1, tzinfo=UTC)
    for ask in (daily.next_after, daily.previous_before, daily.matches):
        with pytest.raises(CalendarError, match="time zone is") as caught:
            ask(base, zone)
        assert len(str(caught.value)) < 400
        assert str(caught.value).replace("\n", "").isprintable()
    with pytest.raises(CalendarError, match="time zone is"):
        daily.elapse_after(0, zone)
    if isinstance(zone, str):
        assert not accepted(f"daily {zone}") or zone == "utc"


def test_a_negative_number_of_elapses_is_refused() -> None:
    with pytest.raises(ValueError, match="n is 0 or more, not -1"):
        upcoming("daily", datetime(2026, 1, 1, tzinfo=UTC), -1)


PIECES = st.sampled_from(
    [
        *"0123456789*,.-/~:@ R?TZ+()#\t\n\x00é",
        *("Mon", "Fri", "..", "UTC", " ", "10:00", "*-*-*", "~1", "R(1..5)", "Europe/Berlin"),
    ]
)


@settings(max_examples=500)
@given(st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=60))
def test_any_text_is_read_or_refused_with_a_calendar_error(text: str) -> None:
    check_read_or_refused(text)


NASTY = "0123456789*,.-/~:@ R()rTZ+#\t\n\r\x00\x1b\x7fé\u0660\uff11\u2028\ud800\U0001f600"
EXPRESSIONS = [vector["expr"] for vector in vectors()]


@settings(max_examples=400)
@given(st.sampled_from(EXPRESSIONS), st.data())
def test_a_text_that_was_changed_a_little_is_read_or_refused(
    text: str, data: st.DataObject
) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        stop = data.draw(st.integers(start, min(len(text), start + 4)))
        new = data.draw(st.text(NASTY, max_size=3) | st.just(text[start:stop] * 2))
        text = text[:start] + new + text[stop:]
    check_read_or_refused(text)


@pytest.mark.parametrize("length", [65_536, 1_048_576])
@pytest.mark.parametrize("frame", ["{}", "*:{}", "{}-1", "10:00 {}", "@{}", "Mon,{}", "*:*:0/{}"])
def test_long_texts_are_read_or_refused(frame: str, length: int) -> None:
    for unit in (
        *("9", "0", "1,", "Mon,", "Mon", "*", "-", "~", ":", " ", "a", "R", "é", "1..", "1/", "("),
        *("@", "@ ", "x ", "0 ", "*,", "Mon..Tue,", "\x00", "1-", "1:", "T", "Europe/", "\ud800"),
    ):
        check_read_or_refused(frame.format(unit * (length // len(unit))))
