"""When the schedules of a file are due, read without the server: the same as the server reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from bartos.schedules import load_schedules
from libbarto.errors import ConfigError
from libbarto.toml_lines import read
from libbarto.triggers import Triggers, read_triggers

ROOT = Path(__file__).resolve().parents[2]
HEAD = '[[schedule]]\nworkers = "*"\ncmds = ["true"]\n'


def load(*texts: str, workers: int | None = None) -> Triggers:
    files = [read(f"{number}.toml", text) for number, text in enumerate(texts)]
    return read_triggers(files, workers)


def wrong(text: str) -> list[str]:
    """What is wrong with a schedule `a` that has these lines, and where."""
    found = load(f'{HEAD}name = "a"\n{text}\n').problems
    return [f"{problem.number}: {problem}".partition("\n")[0] for problem in found]


EVERYTHING = """
timezone = "Europe/Berlin"
schedules.web1 = [ { name = "old", on_calendar = "*,*,* 10:R:R", cmds = ["x"] } ]
[defaults]
dst_gap = "skip"
[[schedule]]
name = "a"
workers = "web1 or web2"
on_calendar = [ "Mon..Fri 04:R",
  "Sat 6:0" ]
cmds = ["true", "false"]
[[schedule]]
name = "b"
workers = "*"
cron = ["@daily", "0 2 1 * 1"]
timezone = "Asia/Tokyo"
dst_repeat = "once"
script = "echo hi"
[[schedule]]
name = "c"
workers = "*"
every = "15m"
anchor = 2027-01-01T00:00:00Z
cmds = ["true"]
[[schedule]]
name = "d"
workers = "*"
at = [2027-01-01T00:00:00Z, "2027-01-02 06:00"]
cmds = ["true"]
pick = "one"
[[schedule]]
name = "e"
workers = "*"
cron = "@reboot"
cmds = ["true"]
[[schedule]]
name = "f"
after = "e"
when = "always"
cmds = ["true"]
[[schedule]]
name = "g"
workers = "os=debian"
at = "boot"
cmds = ["true"]
[[schedule]]
name = "h"
workers = "*"
every = 90
anchor = "R"
cmds = ["true"]
"""
MORE = """
timezone = "UTC"
[defaults]
dst_repeat = "once"
[schedules.nas]
schedules = [ { name = "late", on_calendar = "daily", cmds = ["true"] } ]
"""


@pytest.mark.parametrize(
    "texts",
    [
        (EVERYTHING,),
        (EVERYTHING, MORE),
        ("", MORE),
        (HEAD + 'name = "a"\non_calendar = "daily"\n',),
        *(
            (text,)
            for path in sorted(ROOT.glob("examples/*.toml"))
            if "[[schedule]]" in (text := path.read_text(encoding="utf-8"))
        ),
    ],
)
def test_it_reads_what_the_server_reads(texts: tuple[str, ...]) -> None:
    files = [(f"{number}.toml", text) for number, text in enumerate(texts)]
    found = read_triggers([read(name, text) for name, text in files])
    assert found.problems == ()
    definitions = load_schedules(files)
    by_name = {schedule.name: schedule for schedule in found.schedules}
    assert len(by_name) == len(found.schedules) == len(definitions)
    for definition in definitions:
        one = by_name[definition.name]
        assert (one.file, one.number) == (definition.source.file, definition.source.line)
        calendars = dict.fromkeys(str(it) for line in one.lines for it in line.calendars)
        assert tuple(calendars) == definition.calendars
        instants = {line.instant for line in one.lines if line.instant is not None}
        assert instants == set(definition.instants)
        assert one.timezone == definition.timezone
        assert (one.dst_gap, one.dst_repeat) == (definition.dst_gap, definition.dst_repeat)
        assert one.action == definition.steps
        assert one.floating == (definition.pick == "one")
        assert (one.trigger == "boot") == definition.on_boot
        if definition.after is None:
            assert one.workers == str(definition.selector)


def test_lines_stand_where_they_are_written() -> None:
    found = load(EVERYTHING)
    by_name = {schedule.name: schedule for schedule in found.schedules}
    assert [line.number for line in by_name["a"].lines] == [9, 10]
    assert [line.text for line in by_name["b"].lines] == ["@daily", "0 2 1 * 1"]
    assert [len(line.calendars) for line in by_name["b"].lines] == [1, 2]
    assert by_name["c"].trigger == "every 900.0 from 1798761600000000"
    assert by_name["f"].trigger == "after e always"
    assert by_name["h"].trigger == "every 90 from R"
    assert by_name["web1/old"].workers == "web1"


def test_whether_a_zone_was_given() -> None:
    plain = HEAD + 'name = "a"\non_calendar = "daily"\n'
    assert [it.zone_given for it in load(plain).schedules] == [False]
    assert [it.zone_given for it in load('timezone = "UTC"\n' + plain).schedules] == [True]
    assert [it.zone_given for it in load(plain + 'timezone = "UTC"').schedules] == [True]
    own = '[defaults]\ntimezone = "UTC"\n' + plain
    assert [it.zone_given for it in load(plain, own).schedules] == [False, True]


def test_how_many_workers_there_are_counts_for_every_worker_alone() -> None:
    text = (
        '[[schedule]]\nname = "a"\nworkers = "*"\non_calendar = "daily"\ncmds = ["x"]\n'
        '[[schedule]]\nname = "b"\nworkers = "web*"\non_calendar = "daily"\ncmds = ["x"]\n'
        '[[schedule]]\nname = "c"\non_calendar = "daily"\ncmds = ["x"]\n'
        '[[schedule]]\nname = "d"\nworkers = "and"\non_calendar = "daily"\ncmds = ["x"]\n'
    )
    assert [it.count for it in load(text, workers=30).schedules] == [30, None, 30, 30]
    assert [it.count for it in load(text).schedules] == [None] * 4


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ['1: schedule "a": on_calendar is left out: when does it run? As "*-*-* 02:00"']),
        (
            'on_calendar = "daily"\nevery = "1h"',
            ['6: schedule "a": on_calendar and every: a schedule has one trigger; keep one'],
        ),
        ('on_calendar = "25:00"', ['5: schedule "a": on_calendar: hour is 0 to 23, got 25']),
        (
            'on_calendar = ["daily",\n"25:00", 5,\n"26:00"]',
            [
                '6: schedule "a": on_calendar[2]: hour is 0 to 23, got 25',
                '6: schedule "a": on_calendar[3]: expected a text',
                '7: schedule "a": on_calendar[4]: hour is 0 to 23, got 26',
            ],
        ),
        ("on_calendar = []", ['5: schedule "a": on_calendar: there is nothing in it']),
        ("on_calendar = 5", ['5: schedule "a": on_calendar: expected a text']),
        ('cron = "61 * * * *"', ['5: schedule "a": cron: minute is 0 to 59, got 61']),
        (
            'at = "2027-02-30 06:00"',
            ['5: schedule "a": at: no such day is in the calendar'],
        ),
        (
            'every = "5 apples"',
            [
                '5: schedule "a": every: "5 apples": a duration has no unit "apples"; w, d, h, m, '
                "s, ms and us are"
            ],
        ),
        ("every = true", ['5: schedule "a": every: expected an interval such as "15m"']),
        ("every = 0.5", ['5: schedule "a": every: expected at least "1s", found 0.5 seconds']),
        (
            'every = "1h"\nanchor = "noon"',
            [
                '6: schedule "a": anchor: a date and time is written as 2027-01-01T06:00:00Z, '
                "2027-01-01T06:00:00+01:00 or 2027-01-01 06:00, not noon"
            ],
        ),
        (
            'every = "1h"\nanchor = 2027-01-01',
            ['6: schedule "a": anchor: a time is missing after the date, as in 2027-01-01 06:00'],
        ),
        (
            'on_calendar = "daily"\ntimezone = "Europe/Berln"',
            [
                '6: schedule "a": timezone: no time zone is named "Europe/Berln"; did you mean '
                "Europe/Berlin?"
            ],
        ),
        (
            'on_calendar = "daily"\ntimezone = 5',
            ['6: schedule "a": timezone: expected a text such as "Europe/Berlin"'],
        ),
        ("every = nan", ['5: schedule "a": every: expected at most 1000 years, found nan seconds']),
        ("every = inf", ['5: schedule "a": every: expected at most 1000 years, found inf seconds']),
        (
            'at = ["boot", "2027-01-01T00:00:00Z"]',
            ['5: schedule "a": at: "boot" stands alone, in a schedule of its own'],
        ),
        (
            'cron = ["@daily", "@reboot"]',
            ['5: schedule "a": cron: @reboot stands alone, in a schedule of its own'],
        ),
        (
            'cron = "@daily"\nanchor = "R"',
            ['6: schedule "a": anchor: means nothing without every'],
        ),
        ('every = "1h"\nwhen = "ok"', ['6: schedule "a": when: means nothing without after']),
        ("after = 5", ['5: schedule "a": after: expected the name of a schedule']),
        ('after = "b"', ['5: schedule "a": after: no schedule is named "b"']),
        ('after = "a"', ['5: schedule "a": after: it follows itself']),
        (
            'after = "a"\nwhen = "maybe"',
            [
                '6: schedule "a": when: expected one of ok, failed, always',
                '5: schedule "a": after: it follows itself',
            ],
        ),
        (
            'on_calendar = "daily"\ndst_gap = "hold"',
            ['6: schedule "a": dst_gap: expected "next" or "skip"'],
        ),
    ],
)
def test_what_is_wrong_with_a_trigger(text: str, found: list[str]) -> None:
    assert wrong(text) == found
    with pytest.raises(ConfigError):  # the server refuses it, too
        load_schedules([("0.toml", f'{HEAD}name = "a"\n{text}\n')])


def test_who_follows_whom_in_a_circle() -> None:
    text = "".join(
        f'[[schedule]]\nname = "{name}"\nafter = "{after}"\ncmds = ["x"]\n'
        for name, after in (("a", "b"), ("b", "c"), ("c", "b"), ("d", "a"))
    )
    (problem,) = load(text).problems
    assert str(problem) == 'schedule "b": after: it follows itself'


def test_a_schedule_of_barto_1_follows_its_neighbour_first() -> None:
    text = """
[schedules.web1]
schedules = [
  { name = "a", on_calendar = "daily", cmds = ["x"] },
  { name = "b", after = "a", cmds = ["x"] },
  { name = "c", after = "far", cmds = ["x"] },
  { name = "d", after = "web2/a", cmds = ["x"] },
]
[[schedule]]
name = "far"
on_calendar = "daily"
cmds = ["x"]
"""
    (problem,) = load(text).problems
    assert str(problem) == 'schedule "web1/d": after: no schedule is named "web2/a"'


def test_what_is_no_schedule_is_passed_over() -> None:
    texts = (
        'schedule = "x"',
        "schedule = [1]",
        "schedules = 5",
        "[schedules]\nweb1 = 5",
        "[schedules.web1]\nschedules = [1]",
        "defaults = 5",
    )
    for text in texts:
        assert load(text) == Triggers((), ())


def test_a_schedule_without_a_name_is_named_by_a_question_mark() -> None:
    (problem,) = load(HEAD + "name = 5\non_calendar = 1").problems
    assert str(problem).startswith('schedule "?": ')
