"""`bartos check` warns of what is allowed and seldom meant, where it stands."""

from __future__ import annotations

import dataclasses

import pytest

from bartos.check import Report, check, warnings
from bartos.plan import WorkerFacts
from bartos.schedules import Definition, load_schedules
from libbarto.settings import Fault
from libbarto.toml_text import toml_text

WEB1 = WorkerFacts("web1", b"1" * 16, os="debian", root=False)


def load(*commands: str, more: str = "", workers: str = "*") -> tuple[Definition, ...]:
    text = (
        '[[schedule]]\nname = "a"\non_calendar = "daily"\n'
        f"workers = {toml_text(workers)}\n{more}\ncmds = {toml_text(commands)}\n"
    )
    return load_schedules([("bartos.toml", text)])


def said(*commands: str, more: str = "") -> list[str]:
    """The warnings, without place and name."""
    found = [str(warning) for warning in warnings(load(*commands, more=more))]
    start = 'bartos.toml:6: schedule "a": '
    assert all(text.startswith(start) for text in found)
    return [text.removeprefix(start) for text in found]


@pytest.mark.parametrize(
    "command",
    [
        "pg_dump app | zstd > f",
        "a|b",
        "a |& b",
        "a || b | c",
        "set -e; a | b",
        "echo 'x' | b",
        "echo \\' | b",
        'echo "\\"" | b',
        "echo a#b | c",
    ],
)
def test_a_pipe_under_a_shell_that_sees_only_its_end(command: str) -> None:
    (text,) = said(command)
    assert text == (
        f'"{command}": a failure left of | is not seen under /bin/sh; use '
        'shell = ["bash", "-euo", "pipefail", "-c"]'
    )


@pytest.mark.parametrize(
    "command",
    [
        "a || b",
        "a && b",
        "echo '|'",
        'echo "a | b"',
        "echo a \\| b",
        "echo hi # a | b",
        "# a | b",
        "# a | b\ntrue",
        "echo a >| b",
        "set -o pipefail; a | b",
        "set -e -o pipefail && a | b",
        "set -euo pipefail\na | b",
        "echo trailing \\",
    ],
)
def test_what_is_no_pipe_or_is_seen(command: str) -> None:
    assert said(command) == []


def test_a_shell_with_pipefail_sees_pipes() -> None:
    assert said("a | b", more='shell = ["bash", "-euo", "pipefail", "-c"]') == []
    assert len(said("a | b", more='shell = "bash"')) == 1


def test_another_language_is_not_judged_as_a_shell() -> None:
    assert said("print(1 | 2) # sudo x", "cd /tmp", "a\\%b", more='shell = "python3"') == []


@pytest.mark.parametrize(
    "command",
    [
        "sudo apt update",
        "/usr/bin/sudo -u root ls",
        "true; sudo ls",
        "sudo -E ls -n",
        "x && sudo y",
    ],
)
def test_a_sudo_that_may_ask(command: str) -> None:
    assert said(command) == [
        f'"{command}": sudo without -n may wait for a password that nobody types; use sudo -n'
    ]


@pytest.mark.parametrize(
    "command",
    [
        "sudo -n ls",
        "sudo -u root -n ls",
        "sudo -nu root ls",
        "sudo --non-interactive ls",
        "sudo",
        "sudo -k",
        "echo 'sudo ls'",
        "echo sudo ls",
    ],
)
def test_a_sudo_that_asks_nobody(command: str) -> None:
    assert said(command) == []


def test_a_cd_alone() -> None:
    assert said("cd /tmp", "pushd /tmp", "cd /tmp && ls", "(cd /tmp; ls)", "cdrecord x") == [
        f'"{command}": a cd alone changes nothing for the next command, which has a shell of its '
        "own; use cwd, or cd DIR && COMMAND"
        for command in ("cd /tmp", "pushd /tmp")
    ]


@pytest.mark.parametrize("command", ["date +\\%F", "echo '100\\%'"])
def test_a_percent_sign_that_was_escaped_for_a_crontab(command: str) -> None:
    assert said(command) == [
        f'"{command}": \\% is of a crontab, where a bare % ends the line; write %'
    ]


@pytest.mark.parametrize("command", ["mail -s hi root%Hello%", "cat % file", "write ann@tty%hi"])
def test_a_bare_percent_sign_out_of_a_crontab(command: str) -> None:
    assert said(command) == [
        f'"{command}": a bare % is a line break in a crontab, and here only a %; use script for '
        "more lines, or printf … | COMMAND for input"
    ]


@pytest.mark.parametrize(
    "command",
    [
        "date +%F",
        "tar czf /b/$(date +%F).tgz /srv",
        "git log --format=%h",
        "printf %s x%y",
        "stat -c %s f",
        "echo ${name%.gz} ${x%%.*}",
        "echo $((7 % 2))",
        "expr 7 % 2",
        "echo '50% off'",
    ],
)
def test_a_percent_sign_that_is_meant(command: str) -> None:
    assert said(command) == []


def test_the_first_line_of_a_script_is_not_obeyed() -> None:
    text = (
        '[[schedule]]\nname = "a"\nworkers = "*"\non_calendar = "daily"\n'
        "script = '''#!/usr/bin/python3\nprint(1)\ncd /tmp'''\n"
    )
    (found,) = warnings(load_schedules([("x.toml", text)]))
    assert str(found) == (
        'x.toml:5: schedule "a": the script\'s first line is not obeyed: it is run by /bin/sh -c; '
        "set shell"
    )


def test_a_long_command_is_quoted_in_part() -> None:
    (long,) = said(f"{'x' * 70} | y")
    assert long.startswith(f'"{"x" * 60}…": ')
    (lines,) = said("one | two\nthree")
    assert lines.startswith('"one | two…": ')


def test_each_command_has_its_line() -> None:
    text = (
        '[[schedule]]\nname = "a"\nworkers = "*"\non_calendar = "daily"\n'
        'cmds = [\n"true",\n"a | b",\n]\n'
    )
    assert [warning.line for warning in warnings(load_schedules([("x.toml", text)]))] == [7]


# -- workers and time -----------------------------------------------------------------------------


def test_a_selector_that_matches_no_known_worker() -> None:
    definitions = load("true", workers="db*")
    assert warnings(definitions) == []
    assert [str(found) for found in warnings(definitions, [WEB1])] == [
        'bartos.toml:4: schedule "a": workers = "db*" matches no known worker (1 worker known)'
    ]
    assert [found.message for found in warnings(definitions, [])] == [
        'schedule "a": workers = "db*" matches no known worker (none is known yet)'
    ]
    assert warnings(load("true"), [WEB1]) == []


def test_a_worker_that_may_not_act_as_another_user_is_named() -> None:
    definitions = load("true", more='run_as = "postgres"')
    assert [str(found) for found in warnings(definitions, [WEB1])] == [
        'bartos.toml:5: schedule "a": does not run on web1: run_as = "postgres" needs a bartoc '
        "that runs as root, which it does not"
    ]
    assert warnings(definitions, [dataclasses.replace(WEB1, root=True)]) == []


NOW = 1_800_000_000_000_000
"""2027-01-15T08:00:00Z."""


def judged(
    text: str, workers: list[WorkerFacts] | None = None, *, zone_given: bool = True
) -> list[str]:
    """What is said of calendars: warnings, and notes with a tilde."""
    report = check(load_schedules([("x.toml", text)]), (), workers, NOW, zone_given=zone_given)
    return [*map(str, report.warnings), *(f"~{note}" for note in report.notes)]


def test_a_calendar_that_is_never_due_again() -> None:
    text = (
        '[[schedule]]\nname = "a"\nworkers = "a"\ncmds = ["true"]\n'
        'on_calendar = ["2020-01-01 R:00", "daily",\n"*-02-30"]\n'
    )
    assert warnings(load_schedules([("x.toml", text)])) == []
    assert judged(text) == [
        'x.toml:5: schedule "a": "2020-01-01 R:00" never runs again: the last time was 1 January '
        "2020; take it out, or the year out of it",
        'x.toml:6: schedule "a": "*-02-30" never runs: there is no 30 February; the last day of '
        'February is "*-02~01"',
    ]
    assert judged(text + "enabled = false\n") == []


def test_a_crontab_line_or_a_time_that_is_never_due_again() -> None:
    head = '[[schedule]]\nworkers = "a"\ncmds = ["true"]\n'
    text = (
        f'{head}name = "a"\ncron = ["@daily", "0 0 31 2 *"]\n'
        f'{head}name = "b"\nat = ["2020-01-01T00:00:00Z", "2040-01-01T00:00:00Z"]\n'
        f'{head}name = "c"\ncron = "@reboot"\n'
        f'{head}name = "d"\nat = "boot"\ndescription = "other"\nscript = "x"\n'
        f'{head}name = "e"\nevery = "1h"\n'
    ).replace('cmds = ["true"]\nname = "d"', 'name = "d"')
    assert judged(text) == [
        'x.toml:5: schedule "a": "0 0 31 2 *" never runs: there is no 31 February; the last day of '
        'February is "*-02~01"',
        'x.toml:10: schedule "b": "2020-01-01T00:00:00Z" never runs again: it was at 2020-01-01 '
        "00:00:00 UTC; take it out",
    ]


def test_calendars_are_judged_by_the_workers_that_they_have() -> None:
    text = (
        '[[schedule]]\nname = "a"\nworkers = "*"\ncmds = ["true"]\n'
        'on_calendar = ["daily", "06:00"]\n'
    )
    workers = [WorkerFacts(f"web{number}", bytes([number]) * 16) for number in range(21)]
    crowd = 'x.toml:5: schedule "a": "daily" starts at the same instant on'
    assert judged(text, workers)[0] == f'{crowd} 21 workers; spread it: "00:R"'
    assert judged(text, workers[:20]) == []
    assert judged(text)[0].startswith(f"~{crowd} every worker that it has; with more than 20")
    assert judged(text, [])[1:] == judged(text)
    floating = text + 'pick = "one"\n'
    assert judged(floating, workers) == []


def test_a_zone_that_nobody_gave_is_noted() -> None:
    text = '[[schedule]]\nname = "a"\nworkers = "a"\ncmds = ["true"]\non_calendar = "daily"\n'
    (note,) = judged(text, zone_given=False)
    assert note.startswith('~x.toml:5: schedule "a": "daily" is read in UTC, as no timezone')
    assert judged(text + 'timezone = "Asia/Tokyo"\n', zone_given=False) == []


# -- the report -----------------------------------------------------------------------------------


def test_a_report_tells_everything_in_order_and_sums_it_up() -> None:
    fault = Fault("bartos.toml:9", "no", "bartos.toml", 9)
    report = check(load("a | b"), [fault, fault])
    lines = str(report).split("\n")
    assert lines[0].startswith('bartos.toml:6: warning: schedule "a": "a | b": a failure')
    assert lines[1:] == ["bartos.toml:9: no", "1 error, 1 warning; nothing changed"]
    assert report.exit_code == 1


def test_a_report_of_what_is_well_counts_the_schedules() -> None:
    report = check(load("true"))
    assert str(report) == "1 schedule, 0 errors, 0 warnings; nothing changed"
    assert report.exit_code == 0
    assert str(Report()) == "0 schedules, 0 errors, 0 warnings; nothing changed"


def test_notes_are_counted_by_themselves() -> None:
    note = Fault("a.toml:1", "hm", "a.toml", 1)
    report = Report(schedules=1, notes=(note,))
    assert str(report) == (
        "a.toml:1: note: hm\n1 schedule, 0 errors, 0 warnings, 1 note; nothing changed"
    )
    assert report.exit_code == 0


def test_a_warning_is_no_error() -> None:
    assert check(load("a | b")).exit_code == 0
