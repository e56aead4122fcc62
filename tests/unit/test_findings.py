"""What was probably not meant by the schedules of a configuration, each in its place."""

from __future__ import annotations

from libbarto.findings import Finding, Judged, Line, findings, named_workers
from libbarto.realtime import Realtime
from libbarto.realtime.cron import Cron

NOW = 1_795_521_600_000_000
"""2026-11-24T12:00:00Z."""


def line(text: str, number: int = 5) -> Line:
    return Line(text, number, (Realtime.parse(text),))


def judged(name: str, *texts: str, **more: object) -> Judged:
    lines = tuple(line(text, 10 + number) for number, text in enumerate(texts))
    base = {"workers": "web1", "action": (name,), "lines": lines}
    return Judged(name, "x.toml", 9, **{**base, **more})  # type: ignore[arg-type]  # its fields


def said(*schedules: Judged, now: int | None = NOW) -> list[str]:
    return [f"{it.file}:{it.number}: {it.doubt.code}" for it in findings(schedules, now)]


def test_a_doubt_stands_at_its_line() -> None:
    (found,) = findings([judged("a", "04:R", "*-*-31 04:00")], NOW)
    assert (found.file, found.number, found.text) == ("x.toml", 11, "*-*-31 04:00")
    assert str(found).startswith('schedule "a": "*-*-31 04:00" there is no 31st in February')


def test_a_crontab_line_is_quoted_as_it_is_written() -> None:
    text = "0 4 31 * 1"
    one = Judged("a", "x.toml", 1, (Line(text, 7, Cron.parse(text).calendars.members),))
    codes = {(it.number, it.text, it.doubt.code) for it in findings([one])}
    assert (7, text, "short-months") in codes


def test_a_time_that_is_past() -> None:
    lines = (Line("then", 3, (), NOW), Line("later", 4, (), NOW + 1))
    one = Judged("a", "x.toml", 1, lines, workers="web1")
    assert [str(it) for it in findings([one], NOW)] == [
        'schedule "a": "then" never runs again: it was at 2026-11-24 12:00:00 UTC; take it out'
    ]
    assert findings([one]) == []


def test_more_than_twenty_workers_at_one_instant() -> None:
    assert said(judged("a", "daily", workers="*", count=21)) == ["x.toml:10: crowd"]
    assert said(judged("a", "daily", workers="*", count=20)) == []
    assert said(judged("a", "daily", workers="*", count=21, floating=True)) == []
    assert said(judged("a", "00:R", workers="*", count=21)) == []
    names = " or ".join(f"web{number}" for number in range(21))
    assert said(judged("a", "daily", workers=names)) == ["x.toml:10: crowd"]
    (found,) = findings([judged("a", "daily", workers="web*")])
    assert found.doubt.gentle


def test_one_schedule_for_each_of_many_workers_is_a_crowd_too() -> None:
    each = [
        judged(f"web{number}/a", "daily", workers=f"web{number}", action=("x",))
        for number in range(21)
    ]
    assert said(*each) == ["x.toml:10: crowd"] * 21
    assert said(*each[:20]) == []
    assert said(*each[:20], judged("b", "04:00", workers="web20", action=("x",))) == []


def test_twins() -> None:
    one, other = judged("a", "daily", action=("x",)), judged("b", "*-*-* 0:0", action=("x",))
    assert [str(it) for it in findings([one, other])] == [
        'schedule "b": does the same at the same time as "a"; one of the two can go'
    ]
    assert said(one, judged("b", "daily")) == []
    assert said(one, judged("b", "daily", action=("x",), workers="web2")) == []
    assert said(one, judged("b", "daily", action=("x",), timezone="Asia/Tokyo")) == []
    every = judged("c", action=("x",), trigger="every 5")
    assert said(every, judged("d", action=("x",), trigger="every 6")) == []
    assert said(every, judged("d", action=("x",), trigger="every 5")) == ["x.toml:9: twin"]


def test_a_zone_of_its_own_makes_the_schedules_zone_no_matter() -> None:
    one = judged("a", "06:00 Asia/Tokyo", timezone="UTC")
    assert one.timing == judged("b", "06:00 Asia/Tokyo", timezone="Europe/Berlin").timing
    assert one.timing != judged("b", "06:00", timezone="UTC").timing


def test_which_workers_a_selector_names() -> None:
    assert named_workers("web1") == frozenset({"web1"})
    assert named_workers('"web1" or (a or b)') == frozenset({"web1", "a", "b"})
    for pattern in ("web?", "*", "web1 or web*", "not web1", "os=debian", "a and b"):
        assert named_workers(pattern) is None


def test_findings_come_in_order_of_file_and_line() -> None:
    late = Judged("z", "b.toml", 1, (line("*-*-31 04:00", 2),), workers="web1")
    early = Judged("y", "a.toml", 1, (line("*-*-31 05:00", 9), line("*-*-30 05:00", 3)))
    found = findings([late, early])
    assert [(it.file, it.number) for it in found if not it.doubt.gentle] == [
        ("a.toml", 3),
        ("a.toml", 9),
        ("b.toml", 2),
    ]
    assert isinstance(found[0], Finding)
