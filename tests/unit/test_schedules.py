"""Schedules are read in both spellings, whole or not at all, and every fault has its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartos.schedules import (
    Definition,
    Policies,
    Retain,
    Source,
    definition_json,
    from_json,
    load_schedules,
    read_schedules,
)
from libbarto.errors import ConfigError
from libbarto.identity import schedule_uid
from libbarto.settings import InvalidConfig
from libbarto.toml_lines import read
from libbarto.toml_text import toml_text

DAILY = """\
[[schedule]]
name = "daily"
workers = "*"
on_calendar = "daily"
cmds = ["true"]
"""


def load(text: str, *more: tuple[str, str]) -> tuple[Definition, ...]:
    return load_schedules([("bartos.toml", text), *more])


def one(text: str) -> Definition:
    (definition,) = load(text)
    return definition


def with_key(line: str) -> str:
    return f"{DAILY}{line}\n"


def faults(text: str, *more: tuple[str, str]) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        load(text, *more)
    return [str(fault) for fault in caught.value.faults]


# -- what is read ---------------------------------------------------------------------------------


def test_the_example_of_the_manual_is_read() -> None:
    backup, updates = load(
        """
timezone = "Europe/Berlin"

[defaults]
timeout = "2h"

[[schedule]]
name = "backup"
workers = "web1"
on_calendar = "*-*-* 02:R:R"
cmds = ["pg_dump -Fc -f /backup/app.tmp app && mv /backup/app.tmp /backup/app.dump"]
description = "nightly dump of app"
tags = ["db"]
runbook = "https://wiki/backup"

[[schedule]]
name = "updates"
workers = "os=debian and not role=canary"
on_calendar = ["Mon..Fri 04:R", " Sat 06:00 "]
cmds = ["apt-get update", "apt-get -s upgrade"]
"""
    )
    assert (backup.name, backup.workers, backup.timezone) == ("backup", "web1", "Europe/Berlin")
    assert backup.timeout == 7200.0
    assert backup.source == Source("bartos.toml", 7)
    assert backup.tags == ("db",)
    assert updates.on_calendar == ("Mon..Fri 04:R", "Sat 06:00")
    assert updates.steps == ("apt-get update", "apt-get -s upgrade")
    assert updates.selector.matches("web1", {"os": "debian"})
    assert str(updates.source) == "bartos.toml:16"


def test_every_default_is_what_the_design_says() -> None:
    assert one(DAILY) == Definition(
        name="daily",
        workers="*",
        on_calendar=("daily",),
        cmds=("true",),
        timezone="UTC",
        timeout=None,
        kill_after=10.0,
        shell=("/bin/sh", "-c"),
        run_as=None,
        cwd=None,
        env={},
        nice=0,
        output_max=10 * 1024**2,
        retain=Retain(output=None, verdicts=None),
        continue_on_error=False,
        start_within=30.0,
        pick="all",
        overlap="skip",
        missed="latest",
        catch_up=3600.0,
        retries=0,
        retry_delay=30.0,
        rerun_interrupted=False,
        on_silence="wait",
        cron=(),
        every=None,
        anchor=None,
        at=(),
        after=None,
        when="ok",
        parent="",
        same_worker=False,
        dst_gap="next",
        dst_repeat="auto",
        offline_max=7 * 86_400.0,
        enabled=True,
        script=None,
        id=None,
        description="",
        tags=(),
        runbook="",
        source=Source("bartos.toml", 1),
    )


def test_every_key_is_read() -> None:
    definition = one(
        """
[[schedule]]
id = "b1"
name = "all"
workers = "web*"
on_calendar = "daily"
script = "one\\ntwo"
description = "d"
tags = ["t"]
runbook = "r"
timezone = "Asia/Tokyo"
timeout = 90
kill_after = "5s"
shell = ["bash", "-euo", "pipefail", "-c"]
run_as = "postgres"
cwd = "/srv"
env = { A = "1" }
nice = 10
output_max = "1MiB"
retain = { output = "3d", verdicts = "9d" }
continue_on_error = true
start_within = "1m"
pick = "one"
overlap = "queue"
missed = "all"
catch_up = "72h"
retries = 3
retry_delay = "10m"
rerun_interrupted = true
on_silence = "reassign"
dst_gap = "skip"
dst_repeat = "once"
enabled = false
alerts = false
"""
    )
    assert definition.model_dump() == {
        "id": "b1",
        "name": "all",
        "workers": "web*",
        "on_calendar": ("daily",),
        "cmds": (),
        "script": "one\ntwo",
        "description": "d",
        "tags": ("t",),
        "runbook": "r",
        "timezone": "Asia/Tokyo",
        "timeout": 90.0,
        "kill_after": 5.0,
        "shell": ("bash", "-euo", "pipefail", "-c"),
        "run_as": "postgres",
        "cwd": "/srv",
        "env": {"A": "1"},
        "nice": 10,
        "output_max": 1024**2,
        "retain": {"output": 3 * 86_400.0, "verdicts": 9 * 86_400.0},
        "continue_on_error": True,
        "start_within": 60.0,
        "pick": "one",
        "overlap": "queue",
        "missed": "all",
        "catch_up": 72 * 3600.0,
        "retries": 3,
        "retry_delay": 600.0,
        "rerun_interrupted": True,
        "on_silence": "reassign",
        "cron": (),
        "every": None,
        "anchor": None,
        "at": (),
        "after": None,
        "when": "ok",
        "parent": "",
        "same_worker": False,
        "dst_gap": "skip",
        "dst_repeat": "once",
        "offline_max": 7 * 86_400.0,
        "enabled": False,
        "alerts": False,
    }
    assert definition.steps == ("one\ntwo",)
    assert definition.uid == schedule_uid("b1")


def test_a_shell_may_be_named() -> None:
    assert one(with_key('shell = "bash"')).shell == ("bash", "-c")
    assert one(with_key('shell = "/bin/zsh"')).shell == ("/bin/zsh", "-c")


@pytest.mark.parametrize(
    "text",
    [
        "[schedules.web1]\n"
        'schedules = [ { name = "a", on_calendar = "*,*,* 1:R:0", cmds = ["x"] } ]',
        'schedules.web1 = [ { name = "a", on_calendar = "*,*,* 1:R:0", cmds = ["x"] } ]',
        '[[schedules.web1.schedules]]\nname = "a"\non_calendar = "*,*,* 1:R:0"\ncmds = ["x"]',
    ],
)
def test_the_spellings_of_the_old_version_are_read(text: str) -> None:
    definition = one(text)
    assert (definition.name, definition.bare_name) == ("web1/a", "a")
    assert definition.workers == "web1"
    assert definition.selector.name == "web1"


def test_old_names_may_have_blanks() -> None:
    definition = one(
        'schedules."web 1" = [ { name = "my job", on_calendar = "daily", cmds = ["x"] } ]'
    )
    assert definition.name == "web 1/my job"
    assert definition.selector.name == "web 1"


def test_a_worker_of_the_old_version_without_schedules_has_none() -> None:
    assert load("[schedules.web1]\n") == ()
    assert load("[schedules]\n") == ()


def test_no_text_is_no_schedule() -> None:
    assert load("") == ()
    assert load_schedules([]) == ()


def test_the_name_without_a_slash_is_the_bare_name() -> None:
    assert one(DAILY).bare_name == "daily"


# -- defaults -------------------------------------------------------------------------------------


def test_defaults_hold_for_those_that_do_not_say() -> None:
    first, second = load(
        '[defaults]\ntimeout = "1h"\nretain = { output = "1d" }\n'
        + DAILY
        + DAILY.replace('"daily"\nwork', '"other"\nwork')
        + 'timeout = "2h"\nretain = { verdicts = "2d" }'
    )
    assert (first.timeout, second.timeout) == (3600.0, 7200.0)
    assert first.retain == Retain(output=86_400.0)
    assert second.retain == Retain(output=86_400.0, verdicts=2 * 86_400.0)


def test_variables_of_defaults_and_of_the_schedule_add_up() -> None:
    definition = one('[defaults]\nenv = { A = "1", B = "1" }\n' + with_key('env = { B = "2" }'))
    assert definition.env == {"A": "1", "B": "2"}


def test_defaults_of_the_main_file_hold_in_the_others_unless_they_have_their_own() -> None:
    main = 'timezone = "Europe/Berlin"\n[defaults]\nnice = 1\ntimeout = "1h"\noffline_max = "1d"\n'
    a = ("a.toml", '[defaults]\nnice = 2\n[[schedule]]\nname = "a"\n' + BODY)
    b = ("b.toml", 'timezone = "Asia/Tokyo"\n[[schedule]]\nname = "b"\n' + BODY)
    first, second = load(main, a, b)
    assert (first.nice, first.timeout, first.timezone) == (2, 3600.0, "Europe/Berlin")
    assert (second.nice, second.timeout, second.timezone) == (1, 3600.0, "Asia/Tokyo")
    assert first.offline_max == second.offline_max == 86_400.0


BODY = 'workers = "*"\non_calendar = "daily"\ncmds = ["true"]\n'


def test_the_zone_of_defaults_beats_that_of_the_file() -> None:
    text = 'timezone = "Europe/Berlin"\n[defaults]\ntimezone = "Asia/Tokyo"\n'
    assert one(text + DAILY).timezone == "Asia/Tokyo"


def test_a_zone_from_elsewhere_stands_for_the_file_s() -> None:
    plain = read("bartos.toml", DAILY)
    zoned = read("bartos.toml", 'defaults.timezone = "Asia/Tokyo"\n' + DAILY)
    (first,) = read_schedules([plain], timezone="Europe/Berlin").require()
    (second,) = read_schedules([zoned], timezone="Europe/Berlin").require()
    assert (first.timezone, second.timezone) == ("Europe/Berlin", "Asia/Tokyo")


# -- triggers -------------------------------------------------------------------------------------


def triggered(lines: str) -> Definition:
    return one(DAILY.replace('on_calendar = "daily"', lines))


def test_a_crontab_line_is_its_calendars() -> None:
    definition = triggered('cron = ["0 2 * * mon-fri", " 0 6 1 * sun "]')
    assert definition.cron == ("0 2 * * mon-fri", "0 6 1 * sun")
    assert definition.calendars == (
        "Mon..Fri *-*-* 02:00:00",
        "*-*-01 06:00:00",
        "Sun *-*-* 06:00:00",
    )
    assert not definition.on_boot
    assert triggered('on_calendar = ["daily", "00:00"]').calendars == ("*-*-* 00:00:00",)


@pytest.mark.parametrize("line", ['cron = "@reboot"', 'at = "boot"'])
def test_a_boot_is_a_trigger(line: str) -> None:
    definition = triggered(line)
    assert definition.on_boot
    assert not definition.calendars
    assert not definition.instants


@pytest.mark.parametrize(
    ("lines", "anchor_us"),
    [
        ('every = "15m"', 0),
        ('every = "15m"\nanchor = "1970-01-01T00:00:07Z"', 7_000_000),
        ('every = "15m"\nanchor = 1970-01-01T00:00:07Z', 7_000_000),
        ('every = "15m"\nanchor = "1970-01-01 01:00"\ntimezone = "Europe/Berlin"', 0),
        ('every = "15m"\nanchor = "R"', 0),
    ],
)
def test_an_interval_has_an_anchor(lines: str, anchor_us: int) -> None:
    definition = triggered(lines)
    assert definition.every == 900.0
    assert definition.anchor_us == anchor_us


@pytest.mark.parametrize(
    ("line", "instants"),
    [
        ('at = "1970-01-01T00:00:01Z"', (1_000_000,)),
        ('at = ["1970-01-01T00:00:02Z", "1970-01-01 00:00:01"]', (1_000_000, 2_000_000)),
        ("at = 1970-01-01T01:00:00+01:00", (0,)),
        ("at = [1970-01-01 00:00:01, 1970-01-01 00:00:01.5]", (1_000_000, 1_500_000)),
        ('at = "1970-01-01 01:00"\ntimezone = "Europe/Berlin"', (0,)),
    ],
)
def test_times_are_instants(line: str, instants: tuple[int, ...]) -> None:
    assert triggered(line).instants == instants


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "on_calendar = []",
            '4: {}on_calendar: expected a calendar such as "*-*-* 02:00", found an empty list',
        ),
        (
            "cron = []",
            '4: {}cron: expected a crontab line such as "0 2 * * *", found an empty list',
        ),
        ("at = []", '4: {}at: expected a time such as "2027-01-01T06:00:00Z", found an empty list'),
        (
            'cron = "0 24 * * *"',
            "4: {}cron: hour is 0 to 23, got 24; midnight is 0\n    0 24 * * *\n      ^^",
        ),
        (
            'cron = ["@daily", "@reboot"]',
            "4: {}cron: @reboot stands alone, in a schedule of its own",
        ),
        (
            'at = ["boot", "2027-01-01T00:00:00Z"]',
            '4: {}at: "boot" stands alone, in a schedule of its own',
        ),
        ('every = "0.5s"', '4: {}every: expected at least "1s", found 0.5 seconds'),
        (
            'every = "15m"\nanchor = "r"',
            "5: {}anchor: a date and time is written as 2027-01-01T06:00:00Z, "
            "2027-01-01T06:00:00+01:00 or 2027-01-01 06:00, not r\n    r\n    ^",
        ),
        (
            'at = [\n"2027-01-01T00:00:00Z",\n"2027-03-28 02:30",\n]\ntimezone = "Europe/Berlin"',
            "6: {}at[2]: clocks are put forward in Europe/Berlin, so this time does not exist; the "
            "next that does is 2027-03-28 03:00:00\n    2027-03-28 02:30\n               ^^^^^",
        ),
        (
            'at = "2027-10-31 02:30"\ntimezone = "Europe/Berlin"',
            "4: {}at: clocks are put back in Europe/Berlin, so this time comes twice; write "
            "2027-10-31 02:30+02:00 or 2027-10-31 02:30+01:00\n    2027-10-31 02:30\n"
            "               ^^^^^",
        ),
        (
            "at = 2027-01-01",
            "4: {}at: a time is missing after the date, as in 2027-01-01 06:00\n"
            "    2027-01-01\n    ^^^^^^^^^^",
        ),
        ("at = 06:00:00", "4: {}at: expected a text in quotes, found a time"),
        ("at = 5", "4: {}at: expected a text in quotes, found a number"),
        (
            'every = "15m"\ncron = "@daily"',
            "5: {}every and cron: a schedule has one trigger; keep one",
        ),
    ],
)
def test_a_trigger_that_is_wrong_is_told_what_is_right(lines: str, message: str) -> None:
    text = DAILY.replace('on_calendar = "daily"', lines)
    assert faults(text) == ["bartos.toml:" + message.format('schedule "daily": ')]


def test_each_trigger_has_its_line() -> None:
    definition = triggered('cron = [\n"@daily",\n"@hourly",\n]')
    assert definition.source.of("cron", 1).line == 6


def test_the_spelling_of_the_old_version_has_every_trigger() -> None:
    first, second = load(
        'schedules.w = [ { name = "a", every = "1h", cmds = ["x"] }, '
        '{ name = "b", cron = "@daily", cmds = ["x"] } ]'
    )
    assert first.every == 3600.0
    assert second.calendars == ("*-*-* 00:00:00",)


# -- who follows whom -----------------------------------------------------------------------------


def follower(name: str, after: str, *lines: str) -> str:
    more = "".join(f"{line}\n" for line in lines)
    return f'[[schedule]]\nname = "{name}"\nafter = "{after}"\ncmds = ["x"]\n{more}'


def test_a_follow_up_stays_on_the_workers_of_its_parent() -> None:
    last, middle, parent = load(
        follower("c", "b", 'when = "always"')
        + follower("b", "daily")
        + DAILY.replace('workers = "*"', 'workers = "web*"')
    )
    assert (middle.after, middle.parent_uid, middle.workers) == ("daily", parent.uid, "web*")
    assert (last.after, last.parent_uid, last.workers) == ("b", middle.uid, "web*")
    assert (last.when, last.same_worker, last.floating) == ("always", True, False)
    assert parent.parent_uid is None
    assert not parent.floating


def test_a_follow_up_that_says_where_it_runs_floats() -> None:
    _, there, anywhere, last = load(
        DAILY
        + follower("there", "daily", 'workers = "db1"')
        + follower("anywhere", "daily", 'pick = "one"')
        + follower("last", "there", 'pick = "one"')
    )
    assert (there.floating, there.workers) == (True, "db1")
    assert (anywhere.floating, anywhere.workers) == (True, "*")
    assert (last.floating, last.workers) == (True, "db1")


def test_a_schedule_of_which_one_worker_is_picked_floats() -> None:
    assert one(with_key('pick = "one"')).floating


def test_in_the_old_spelling_neighbours_follow_one_another() -> None:
    text = (
        'schedules.w = [ { name = "a", on_calendar = "daily", cmds = ["x"] }, '
        '{ name = "b", after = "a", cmds = ["x"] }, '
        '{ name = "c", after = "v/a", cmds = ["x"] }, '
        '{ name = "d", after = "a", pick = "one", cmds = ["x"] } ]\n'
        'schedules.v = [ { name = "a", on_calendar = "daily", cmds = ["x"] } ]\n'
    )
    _, near, far, picked, _ = load(text)
    assert (near.after, near.workers, near.floating) == ("w/a", "w", False)
    assert (far.after, far.workers, far.floating) == ("v/a", "w", True)
    assert picked.floating


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            DAILY + follower("b", "dayly"),
            '8: schedule "b": after: no schedule is named "dayly"; did you mean "daily"?',
        ),
        (follower("a", "a"), '3: schedule "a": after: it follows itself: "a" -> "a"'),
        (
            follower("x", "a") + follower("a", "c") + follower("b", "a") + follower("c", "b"),
            '7: schedule "a": after: it follows itself: "a" -> "c" -> "b" -> "a"',
        ),
        (
            with_key('pick = "one"') + follower("b", "daily"),
            '9: schedule "b": after: "daily" runs on a worker that the server chooses; say where '
            'this one runs: workers = "…", or pick = "one"',
        ),
        (
            with_key("nice = 99") + follower("b", "daily"),
            '6: schedule "daily": nice: expected at most 19, found the number 99',
        ),
    ],
)
def test_a_follow_up_that_cannot_be_is_told_why(text: str, message: str) -> None:
    assert faults(text) == [f"bartos.toml:{message}"]


def test_a_long_chain_is_read() -> None:
    links = "".join(follower(f"s{i}", f"s{i + 1}") for i in range(1500))
    definitions = load(links + DAILY.replace('"daily"\nworkers', '"s1500"\nworkers'))
    assert definitions[0].workers == "*"
    assert not definitions[0].floating


# -- faults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('on = "x"', 'on: a calendar is written on_calendar = "…"'),
        ('hosts = "x"', 'hosts: the machines are written workers = "…"'),
        ('command = "x"', 'command: commands are written cmds = ["…"]'),
        ('tz = "x"', 'tz: the zone is written timezone = "…"'),
        ('user = "x"', 'user: the user is written run_as = "…"'),
        ('time_out = "2h"', 'time_out: no such key; did you mean "timeout"?'),
        ("source = 1", "source: no such key"),
        ('parent = "x"', 'parent: what it follows is written after = "…"'),
        ('every = "15m"', "on_calendar and every: a schedule has one trigger; keep one"),
        ('anchor = "R"', "anchor: means nothing without every"),
        ('when = "ok"', "when: means nothing without after"),
        (
            'overlap = "wait"',
            'overlap: expected "skip", "queue", "replace" or "allow", found the text "wait"',
        ),
        ('missed = "some"', 'missed: expected "latest", "all" or "none", found the text "some"'),
        (
            'catch_up = "73h"',
            'catch_up: expected at most "72h": what is older is not started any more',
        ),
        ('retry_delay = "11m"', 'retry_delay: expected at most "10m", to which delays grow anyway'),
        ("retries = -1", "retries: expected at least 0, found the number -1"),
        ('depends_on = "x"', 'depends_on: what it follows is written after = "…"'),
        ("max_running = 1", "max_running: is of a worker: it stands in bartoc.toml"),
        (
            'timezone = "Berlin"',
            'timezone: no time zone is named "Berlin"; did you mean Europe/Berlin? '
            "(names as Europe/Berlin)",
        ),
        ("timeout = 0", "timeout: expected more than 0 seconds; leave it out for no limit"),
        (
            'shell = "bash -c"',
            'shell: expected the name of a shell, or a list such as ["bash", "-c"]; '
            'found "bash -c"',
        ),
        (
            "shell = []",
            'shell: expected a shell such as ["/bin/sh", "-c"], found an empty list',
        ),
        (
            "shell = 1",
            'shell: expected the name of a shell, or a list such as ["bash", "-c"]; '
            "found the number 1",
        ),
        ('cwd = "srv"', 'cwd: expected an absolute path, found "srv"'),
        ('cwd = "/\\u0000"', "cwd: a NUL character cannot be handed to a program"),
        ('env = { "a b" = "x" }', 'env: "a b" is no name of a variable: letters, digits and _'),
        ('env = { A = "\\u0000" }', "env: A: a NUL character cannot be handed to a program"),
        (
            'env = { BARTO_RUN = "x" }',
            "env: BARTO_RUN: names that begin with BARTO_ are set by barto itself",
        ),
        ("nice = 20", "nice: expected at most 19, found the number 20"),
        ('dst_gap = "x"', 'dst_gap: expected "next" or "skip", found the text "x"'),
        ('id = "a b"', 'id: expected letters, digits, ".", "_" and "-" (at most 120), found "a b"'),
        ('script = "x"', "cmds and script: give one of the two"),
        (
            'offline_max = "1d"',
            "offline_max: is one for all workers; write it in the [defaults] of bartos.toml",
        ),
        ("retain = 1", "retain: expected a table, found the number 1"),
        ('retain = { outpt = "1d" }', 'retain.outpt: no such key; did you mean "output"?'),
    ],
)
def test_a_key_that_is_wrong_is_told_what_is_right(line: str, message: str) -> None:
    assert faults(with_key(line)) == [f'bartos.toml:6: schedule "daily": {message}']


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name", "#", '1: schedule, the 1st: name is left out; write name = "…"'),
        (
            '"daily"\nwork',
            "3\nwork",
            "2: schedule, the 1st: name: expected a text in quotes, found a number",
        ),
        (
            '"daily"\nwork',
            '"a b"\nwork',
            '2: schedule "a b": name: expected letters, digits, ".", "_" and "-" (at most 120), '
            'found "a b"',
        ),
        (
            "workers",
            "#",
            '1: schedule "daily": workers is left out: where does it run? "*" is every worker',
        ),
        (
            '"*"',
            '["a", "b"]',
            '3: schedule "daily": workers: expected one text, found a list; write "a or b"',
        ),
        ('"*"', "[]", '3: schedule "daily": workers: expected one text, found a list; write "*"'),
        ('"*"', "3", '3: schedule "daily": workers: expected a text in quotes, found a number'),
        (
            '"*"',
            '"a, b"',
            '3: schedule "daily": workers: a comma is not part of a selector; '
            'write "or" (or "and")\n'
            "    a, b\n     ^",
        ),
        (
            "on_calendar",
            "#",
            '1: schedule "daily": on_calendar is left out: when does it run? As "*-*-* 02:00"; '
            "or write cron, every, at or after",
        ),
        (
            '= "daily"\ncmds',
            '= "*-*-* 25:00"\ncmds',
            '4: schedule "daily": on_calendar: hour is 0 to 23, got 25\n'
            "    *-*-* 25:00\n          ^^",
        ),
        (
            '= "daily"\ncmds',
            "= []\ncmds",
            '4: schedule "daily": on_calendar: expected a calendar such as "*-*-* 02:00", '
            "found an empty list",
        ),
        ("cmds", "#", '1: schedule "daily": cmds is left out: what does it run? As cmds = ["…"]'),
        ('["true"]', "[]", '5: schedule "daily": cmds: there is no command in it'),
        ('["true"]', '"true"', '5: schedule "daily": cmds: expected a list, found the text "true"'),
        ('["true"]', '["true", " "]', '5: schedule "daily": cmds[2]: a command is empty'),
        (
            '["true"]',
            '["\\u0000"]',
            '5: schedule "daily": cmds[1]: a NUL character cannot be handed to a program',
        ),
        (
            "[[schedule]]",
            "[schedule]",
            "1: schedule: a schedule begins with [[schedule]], in double brackets",
        ),
        ("[[schedule]]", "[schedule.x]", '1: schedule.x: write [[schedule]], and in it name = "x"'),
        (
            "[[schedule]]",
            "[[schedules]]",
            "1: schedules: each schedule is written [[schedule]], without s",
        ),
    ],
)
def test_a_schedule_that_is_wrong_is_told_what_is_right(old: str, new: str, message: str) -> None:
    assert faults(DAILY.replace(old, new, 1)) == [f"bartos.toml:{message}"]


def test_whoever_wrote_another_word_is_told_once() -> None:
    text = '[[schedule]]\nname = "a"\nhosts = "x"\non = "daily"\ncommand = "x"\n'
    assert [fault.partition(": ")[0] for fault in faults(text)] == [
        "bartos.toml:3",
        "bartos.toml:4",
        "bartos.toml:5",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schedule = 3", "schedule: a schedule begins with [[schedule]], in double brackets"),
        ("schedule = [3]", "schedule[1]: expected a table, found the number 3"),
        ("schedules = 3", "schedules: expected [[schedule]], found the number 3"),
        ("schedules.web1 = 3", "schedules.web1: expected a list of schedules, found the number 3"),
        ("schedules.web1 = [3]", "schedules.web1[1]: expected a table, found the number 3"),
        (
            "[schedules.web1]\nscheduls = []",
            'schedules.web1.scheduls: expected schedules = [ { name = "…", on_calendar = "…", '
            'cmds = ["…"] } ]',
        ),
        (
            'schedules.web1 = [{name = "a", workers = "x", on_calendar = "daily", cmds = ["x"]} ]',
            'schedule "web1/a": workers: [schedules.web1] says it already, "web1"',
        ),
        (
            'schedules.web1 = [ { name = "a/b", on_calendar = "daily", cmds = ["x"] } ]',
            'schedule "web1/a/b": name: expected 1 to 120 printable characters without "/", '
            'found "a/b"',
        ),
        (
            'schedules.web1 = [ { on_calendar = "daily", cmds = ["x"] } ]',
            'schedules.web1, the 1st: name is left out; write name = "…"',
        ),
        ("defaults = 3", "defaults: expected a table, found the number 3"),
        ("[defaults]\nnicer = 3", '[defaults] nicer: no such key; did you mean "nice"?'),
        (
            '[defaults]\nworkers = "*"',
            "[defaults] workers: each schedule has its own; it has no default",
        ),
        ('[defaults]\ntags = ["*"]', "[defaults] tags: is no policy; write it in the schedule"),
        ("[defaults]\nnice = 99", "[defaults] nice: expected at most 19, found the number 99"),
        (
            '[defaults]\nretain = { output = "x" }',
            '[defaults] retain.output: "x" is no duration; write "90s", "1h30m" or "7d"',
        ),
        ("timezone = 3", "timezone: expected a text in quotes, found a number"),
        (
            'timezone = "x"',
            'timezone: no time zone is named "x" (names as Europe/Berlin)',
        ),
    ],
)
def test_a_text_that_is_wrong_is_told_what_is_right(text: str, message: str) -> None:
    line = text.count("\n") + 1
    assert faults(text + "\n" + DAILY if "schedule =" not in text else text) == [
        f"bartos.toml:{line}: {message}"
    ]


def test_a_fault_in_defaults_is_told_once_however_many_schedules_there_are() -> None:
    assert len(faults("[defaults]\nnice = 99\n" + DAILY + DAILY.replace("daily", "hourly"))) == 1


def test_files_of_schedules_have_nothing_else() -> None:
    assert faults("port = 1", ("a.toml", "prot = 1\nschedul = 1\n[defaults]\noffline_max = 1")) == [
        "a.toml:1: prot: no such key in a file of schedules",
        'a.toml:2: schedul: no such key in a file of schedules; did you mean "schedule"?',
        "a.toml:4: [defaults] offline_max: is one for all workers; write it in the [defaults] of "
        "bartos.toml",
    ]


def test_a_name_is_taken_once_in_all_files() -> None:
    assert faults(DAILY, ("a.toml", DAILY)) == [
        'a.toml:2: schedule "daily": the name is taken: it stands at bartos.toml:1 too'
    ]


def test_an_id_is_no_other_s_name() -> None:
    other = DAILY.replace('"daily"\nwork', '"other"\nid = "daily"\nwork')
    assert faults(DAILY + other) == [
        'bartos.toml:6: schedule "other": id: "daily" already stands for schedule "daily" at '
        "bartos.toml:1"
    ]
    assert faults(other + DAILY) == [
        'bartos.toml:7: schedule "daily": name: "daily" already stands for schedule "other" at '
        "bartos.toml:1"
    ]


def test_faults_of_all_files_are_found_at_once_also_where_one_is_not_toml() -> None:
    found = faults("x =", ("a.toml", with_key("nice = 99")), ("b.toml", with_key("x = 1")))
    assert [fault.partition(": ")[0] for fault in found] == [
        "a.toml:6",
        "b.toml:2",
        "b.toml:6",
        "bartos.toml:1",
    ]


def test_with_a_fault_nothing_counts_and_the_rest_can_be_judged() -> None:
    loaded = read_schedules([read("bartos.toml", DAILY + "[[schedule]]\n")])
    assert loaded.definitions == ()
    assert [definition.name for definition in loaded.sound] == ["daily"]
    assert len(loaded.faults) == 4


@pytest.mark.parametrize(
    ("number", "word"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (21, "21st")]
)
def test_a_schedule_without_a_name_is_known_by_its_place(number: int, word: str) -> None:
    found = faults("[[schedule]]\n" * number)
    assert sum(f"schedule, the {word}: " in fault for fault in found) == 4


def test_each_key_of_a_schedule_has_its_line() -> None:
    source = one(
        'defaults.run_as = "x"\n[[schedule]]\nname = "a"\nworkers = "*"\n'
        'on_calendar = [\n"daily",\n"hourly"]\ncmds = [\n"a",\n"b"]\n'
    ).source
    assert source.of("workers").line == 4
    assert source.of("on_calendar", 1).line == 7
    assert source.of("cmds", 0).line == 9
    assert source.of("run_as") == Source("bartos.toml", 2)


# -- the store's form -----------------------------------------------------------------------------

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
COMMANDS = TEXTS.filter(lambda text: text.strip() != "")


@given(
    st.builds(
        Definition,
        name=st.from_regex(r"[A-Za-z0-9._-]{1,20}", fullmatch=True),
        workers=st.sampled_from(["*", "web1", "os=debian and not (a or b)"]),
        on_calendar=st.lists(st.sampled_from(["daily", "*:R/15"]), min_size=1, max_size=3).map(
            tuple
        ),
        cmds=st.lists(COMMANDS, max_size=3).map(tuple),
        script=st.none() | COMMANDS,
        description=TEXTS,
        tags=st.lists(TEXTS, max_size=2).map(tuple),
        timeout=st.none() | st.integers(1, 10**15).map(lambda us: us / 1e6),
        env=st.dictionaries(st.from_regex(r"[A-Z]{1,5}", fullmatch=True), TEXTS, max_size=3),
        retain=st.builds(Retain, output=st.none() | st.just(1.5)),
        timezone=st.sampled_from(["UTC", "Europe/Berlin"]),
        source=st.just(Source()),
        **{key: st.just(Policies.model_fields[key].default) for key in ("shell", "cwd", "run_as")},
    )
)
def test_a_definition_reads_back_from_the_store(definition: Definition) -> None:
    assert from_json(definition_json(definition)) == definition


def test_the_store_s_form_does_not_know_where_a_schedule_is_written() -> None:
    assert definition_json(one("\n\n" + DAILY)) == definition_json(one(DAILY))
    assert "bartos.toml" not in definition_json(one(DAILY))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"name": 3}'])
def test_a_definition_that_cannot_be_used_is_a_fault_of_the_database(text: str) -> None:
    with pytest.raises(ConfigError, match="a schedule in the database cannot be used"):
        from_json(text)


@given(st.lists(COMMANDS, min_size=1, max_size=3))
def test_commands_arrive_to_the_character(commands: list[str]) -> None:
    text = DAILY.replace('["true"]', toml_text(commands))
    assert one(text).steps == tuple(commands)
