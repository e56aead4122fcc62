"""Timers of systemd become schedules: what they do is kept, and what is lost is said."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barto_cli.importing.execs import Exec, read_exec, shell_word, words
from barto_cli.importing.jobs import Found, Heading, as_toml, losses, named
from barto_cli.importing.units import (
    Timer,
    Unit,
    parse_unit,
    read_timer,
    resolve,
    seconds,
    spread_text,
)
from bartos.check import check
from bartos.schedules import Definition, load_schedules

HEADING = Heading("web1", "barto-cli import systemd", "Tue 24 Nov 2026")
SERVICE = "[Service]\nExecStart=/bin/x\n"


def read(timer: str, service: str | None = SERVICE, *, home: bool = False) -> Found:
    there = None if service is None else parse_unit("a.service", [service])
    unit = parse_unit("a.timer", [f"[Timer]\n{timer}\n"])
    return read_timer(Timer(unit, there, "root", "Europe/Berlin", home))


def schedules(found: Found) -> tuple[Definition, ...]:
    definitions = load_schedules([("timers.toml", as_toml(named(found, ""), HEADING))])
    assert check(definitions, (), [], 0).exit_code == 0
    return definitions


def one(timer: str, service: str | None = SERVICE, *, home: bool = False) -> Definition:
    (definition,) = schedules(read(timer, service, home=home))
    return definition


def lost(timer: str, service: str = SERVICE) -> list[str]:
    return [
        line.removeprefix("a.timer: not carried over: ") for line in losses(read(timer, service))
    ]


DAILY = "OnCalendar=*-*-* 02:00"


# -- the texts of units ---------------------------------------------------------------------------


def test_a_unit_is_its_file_and_its_drop_ins() -> None:
    unit = parse_unit(
        "a.timer",
        [
            "# comment\n; another\nstray=1\n[Timer]\nOnCalendar=a\nOnCalendar = b \\\n"
            "# within\n  c\nnonsense\n",
            "[Timer]\nOnCalendar=\nOnCalendar=d\n[Install]\nWantedBy=x\\",
        ],
    )
    assert unit.values("Timer", "OnCalendar") == ["d"]
    assert unit.value("Install", "WantedBy") == "x"
    assert unit.value("Timer", "Persistent") == ""
    assert unit.value("Nothing", "Persistent") == ""
    joined = parse_unit("a", ["[Timer]\nOnCalendar=b \\\n# within\n  c\n"])
    assert joined.value("Timer", "OnCalendar").split() == ["b", "c"]


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("", None),
        ("5", 5.0),
        ("2h 30min", 9000.0),
        ("1d12h", 129_600.0),
        ("200ms", 0.2),
        ("1month", 2_629_800.0),
        ("soon", None),
        ("infinity", None),
        ("99999999y", None),
        ("5 parsec", None),
    ],
)
def test_time_spans_are_read(text: str, length: float | None) -> None:
    assert seconds(text) == length


@pytest.mark.parametrize(
    ("text", "name", "resolved"),
    [
        ("%n %N %p %i", "a-b@c-d.service", "a-b@c-d.service a-b@c-d a-b c-d"),
        ("%P %I %j %J", "a-b@c\\x2dd.service", "a/b c-d b b"),
        ("%% %H %", "a.service", "% %H %"),
    ],
)
def test_specifiers_are_what_the_name_says(text: str, name: str, resolved: str) -> None:
    assert resolve(text, name) == resolved


# -- when -----------------------------------------------------------------------------------------


def test_a_calendar_is_on_calendar_as_systemd_has_it() -> None:
    it = one(DAILY)
    assert (it.name, it.workers, it.on_calendar) == ("a", "web1", ("*-*-* 02:00:00",))
    assert (it.timezone, it.dst_gap, it.dst_repeat) == ("Europe/Berlin", "skip", "once")
    assert (it.missed, it.overlap) == ("none", "skip")
    assert lost(DAILY) == []


def test_several_calendars_are_a_union() -> None:
    assert one(f"{DAILY}\nOnCalendar=Sat 14:00 UTC").on_calendar == (
        "*-*-* 02:00:00",
        "Sat *-*-* 14:00:00 UTC",
    )


def test_persistent_is_caught_up_for_three_days() -> None:
    it = one(f"{DAILY}\nPersistent=true")
    assert (it.missed, it.catch_up) == ("latest", 72 * 3600)
    assert lost(f"{DAILY}\nPersistent=yes") == [
        "Persistent=yes: what was missed more than 72h ago is not caught up"
    ]


@pytest.mark.parametrize(
    ("text", "delay", "spread"),
    [
        ("*-*-* 02:00:00", 3600, "*-*-* 02:R:00"),
        ("*-*-* 02:10:00", 1800, "*-*-* 02:R(10..39):00"),
        ("*-*-* 02:45:00", 3600, None),
        ("*-*-* 02:00:00", 30, "*-*-* 02:00:R(00..29)"),
        ("*-*-* 02:00:00", 60, "*-*-* 02:00:R"),
        ("*-*-* 02:00:00", 90, None),
        ("*-*-* 02:00:00", 0.5, None),
        ("*-*-* 02:00:15", 60, None),
        ("*-*-* 02:00/15:00", 60, None),
        ("Mon *-*-* 02:00:00 Europe/Berlin", 3600, "Mon *-*-* 02:R:00 Europe/Berlin"),
        ("*-*-* 02:00:00", 7200, None),
    ],
)
def test_a_random_delay_is_a_time_of_each_worker(
    text: str, delay: float, spread: str | None
) -> None:
    assert spread_text(text, delay) == spread


def test_a_random_delay_that_r_cannot_say_is_named() -> None:
    assert one(f"{DAILY}\nRandomizedDelaySec=1h").on_calendar == ("*-*-* 02:R:00",)
    assert one(f"{DAILY}\nRandomizedDelaySec=0").on_calendar == ("*-*-* 02:00:00",)
    for delay in ("6h", "soon"):
        (said,) = lost(f"{DAILY}\nRandomizedDelaySec={delay}")
        assert said.startswith(f"RandomizedDelaySec={delay}: every worker starts at the very time")


def test_an_interval_is_every_and_its_phase_is_named() -> None:
    it = one("OnBootSec=2min\nOnUnitActiveSec=15min")
    assert it.every == 900
    first, second = lost("OnBootSec=2min\nOnUnitActiveSec=15min")
    assert first.startswith("OnUnitActiveSec=15min counts from the last start")
    assert second == "OnBootSec=2min: the first start after a boot is that of the interval"


def test_at_boot_alone() -> None:
    assert one("OnBootSec=0").on_boot
    assert lost("OnBootSec=0") == []
    assert lost("OnStartupSec=5min\nOnActiveSec=1min") == [
        "OnStartupSec=5min, OnActiveSec=1min: it starts as soon as bartoc does; begin with sleep "
        "to wait"
    ]


def test_a_calendar_beside_an_interval_or_boot_is_two_schedules() -> None:
    both = schedules(read(f"{DAILY}\nOnUnitActiveSec=1h"))
    assert [(it.name, it.every) for it in both] == [("a", None), ("a-again", 3600)]
    both = schedules(read(f"{DAILY}\nOnBootSec=1min"))
    assert [(it.name, it.on_boot) for it in both] == [("a", False), ("a-boot", True)]


@pytest.mark.parametrize(
    ("timer", "reason"),
    [
        ("OnUnitInactiveSec=5min", "OnUnitInactiveSec=5min counts from the end of a run"),
        ("OnUnitActiveSec=soon", "OnUnitActiveSec=soon is no interval that could be read"),
        ("OnUnitActiveSec=10ms", "OnUnitActiveSec=10ms is no interval that could be read"),
        ("OnCalendar=*-*-* 25:00", "OnCalendar=*-*-* 25:00 cannot be read: hour is 0 to 23"),
        ("Persistent=true", "it has no trigger that could be read"),
        ("OnCalendar=a\0b", "is no text in UTF-8"),
    ],
)
def test_what_has_no_equal_is_left_with_the_way(timer: str, reason: str) -> None:
    found = read(timer)
    assert found.jobs == ()
    assert found.left[0].reason.startswith(reason)
    assert found.left[0].where == "a.timer"


def test_what_else_a_timer_says_is_named() -> None:
    timer = f"{DAILY}\nAccuracySec=1h\nWakeSystem=true\nOnClockChange=on\nOnTimezoneChange=no"
    assert [said.partition(":")[0] for said in lost(timer)] == [
        "AccuracySec=1h",
        "WakeSystem=yes",
        "OnClockChange=yes",
    ]
    assert lost(f"{DAILY}\nAccuracySec=1us") == []


# -- what -----------------------------------------------------------------------------------------


def test_a_service_that_is_not_there_is_said() -> None:
    assert read(DAILY, None).left[0].reason == "what it starts, a.service, is not there"
    assert read(f"{DAILY}\nUnit=b.service", None).left[0].reason.endswith("b.service, is not there")
    assert read(DAILY, "[Service]\nUser=x").left[0].reason == "a.service has no ExecStart"
    broken = read(DAILY, "[Service]\nExecStart=/bin/x 'y").left[0].reason
    assert broken == "a.service: a quote is not closed"


def test_the_service_says_who_where_and_with_what() -> None:
    it = one(
        DAILY,
        "[Unit]\nDescription=Back it up\n[Service]\nType=oneshot\nUser=ann\n"
        'WorkingDirectory=-/srv/%p\nEnvironment="A=1 2" B=%%\nNice=10\nTimeoutStartSec=1h\n'
        "TimeoutStopSec=30\nExecStartPre=-/bin/mkdir x\nExecStart=/bin/a\nExecStart=/bin/b\n"
        "ExecStartPost=/bin/c\n",
    )
    assert it.description == "Back it up"
    assert (it.run_as, it.cwd, it.nice) == ("ann", "/srv/a", 10)
    assert it.env == {"A": "1 2", "B": "%"}
    assert (it.timeout, it.kill_after) == (3600, 30)
    assert it.cmds == ("/bin/mkdir x || true", "/bin/a", "/bin/b", "/bin/c")


def test_a_service_that_says_nothing_runs_as_root_in_the_root() -> None:
    it = one(DAILY)
    assert (it.run_as, it.cwd, it.timeout, it.kill_after) == ("root", "/", None, 10)
    assert one(DAILY, home=True).cwd is None
    assert one(DAILY, f"{SERVICE}WorkingDirectory=~").cwd is None
    assert one(DAILY, f"{SERVICE}Nice=high\nRuntimeMaxSec=infinity").nice == 0
    assert one(DAILY, f"{SERVICE}RuntimeMaxSec=5m\nTimeoutSec=9").timeout == 300
    assert one(DAILY, f"{SERVICE}TimeoutSec=9").kill_after == 9


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("WorkingDirectory=srv", "WorkingDirectory=srv: write it as cwd"),
        ("Environment=1=2", "Environment=1=2: is no variable that a schedule can have"),
        ("Environment=BARTO_X=2", "Environment=BARTO_X=2: is no variable that a schedule can have"),
        ("Type=notify", "Type=notify: a run ends with its command"),
        ("StandardOutput=file:/x", "StandardOutput=file:/x: what it prints is kept with the run"),
        ("EnvironmentFile=/x", "EnvironmentFile=/x: write its variables into env"),
        ("ConditionHost=x", "ConditionHost=x: begin the command with a test of it"),
        ("PrivateTmp=yes", "of a.service: PrivateTmp; a command that needs them can start"),
        ("ExecStart=@/bin/x y", 'ExecStart=@: it is not told that it is called "y"'),
        ("ExecStart=+/bin/x", "ExecStart=+: it is not run with full rights"),
        ("ExecStart=!!/bin/x", "ExecStart=!: it is not run with rights of its own"),
        ("ExecStart=|/bin/x", "ExecStart=|: it is not run by the user's login shell"),
        ("ExecStart=/bin/x %H %i", "%H in the command: write what it stands for"),
    ],
)
def test_what_no_schedule_has_is_named(line: str, said: str) -> None:
    (only,) = lost(DAILY, f"{SERVICE}{line}\n")
    assert only.startswith(said)


@pytest.mark.parametrize(
    "line", ["StandardOutput=journal", "StandardInput=null", "Type=simple", "PrivateTmp=", "x"]
)
def test_what_means_nothing_here_is_not_named(line: str) -> None:
    assert lost(DAILY, f"{SERVICE}{line}\n") == []


# -- commands -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("/bin/x a  'b c' \"d\"", ["/bin/x a 'b c' d"]),
        ("/bin/a ; /bin/b", ["/bin/a", "/bin/b"]),
        ("/bin/a \\; ';' x", ["/bin/a ';' ';' x"]),
        ("-/bin/a", ["/bin/a || true"]),
        ("/bin/a $HOME ${HOME}/x $$HOME x$HOME", ["/bin/a $HOME \"${HOME}/x\" '$HOME' 'x$HOME'"]),
        (":/bin/a $HOME", ["/bin/a '$HOME'"]),
        ("/bin/a '${A} `b` \"'", ['/bin/a "${A} \\`b\\` \\""']),
        ("/bin/a ${A}$$$B", ['/bin/a "${A}\\$\\$B"']),
        ("/bin/a \\x41\\102\\u0043\\U00000044 \\s\\t\\q", ["/bin/a ABCD ' \t\\q'"]),
        ("/bin/a '\\''x\\n'", None),
        ("/bin/a ''", ["/bin/a ''"]),
    ],
)
def test_a_command_is_a_line_of_a_shell(text: str, commands: list[str] | None) -> None:
    if commands is None:
        with pytest.raises(ValueError, match="a quote is not closed"):
            read_exec(text)
    else:
        assert [it.as_step for it in read_exec(text)] == commands


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("'", "a quote is not closed"),
        ("a\\", "a backslash stands at the end"),
        ("\\x00", "is no character"),
        ("\\ud800", "is no character"),
        ("\\U00110000", "is no character"),
        ("-", "there is no program behind the prefixes"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_exec(text)


def test_an_empty_line_is_no_command() -> None:
    assert read_exec("") == []
    assert read_exec("; ;") == []
    assert read_exec("@/bin/x") == [Exec("/bin/x")]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), max_size=4))
def test_words_arrive_in_the_shell_as_they_are(arguments: list[str]) -> None:
    assert shlex.split(" ".join(shell_word(it, literal=True) for it in arguments)) == arguments


@settings(max_examples=200)
@given(st.text(st.sampled_from("ab \\'\";$%{}@-\n\tx0u"), max_size=20))
def test_any_line_is_read_or_refused(text: str) -> None:
    try:
        found = words(text)
        read_exec(text)
    except ValueError:
        return
    assert all(isinstance(word, str) for word, _ in found)


# -- whatever stands in units ---------------------------------------------------------------------

VALUE = st.one_of(
    st.text(st.characters(exclude_characters="\n"), max_size=8),
    st.sampled_from(
        [
            *("daily", "*-*-* 02:00", "5min", "yes", "-/bin/x $A", "/bin/x 'a b' ; /bin/y", "1h"),
            *("A=1 B='2'", "oneshot", "99", "/srv", "infinity", "0.1us", "%i %%", "a\\", ""),
        ]
    ),
)
KEYS = st.sampled_from(
    [
        *("OnCalendar", "OnBootSec", "OnUnitActiveSec", "OnUnitInactiveSec", "Persistent"),
        *("RandomizedDelaySec", "AccuracySec", "ExecStart", "ExecStartPre", "User", "Nice"),
        *("WorkingDirectory", "Environment", "Type", "TimeoutStartSec", "TimeoutStopSec"),
        *("RuntimeMaxSec", "Description", "PrivateTmp", "StandardOutput", "ConditionX"),
    ]
)
UNIT = st.lists(st.tuples(KEYS, VALUE), max_size=8).map(
    lambda pairs: "\n".join(f"{key}={value}" for key, value in pairs)
)


@settings(max_examples=200)
@given(UNIT, UNIT, st.booleans())
def test_whatever_units_hold_the_schedules_can_be_read(
    timer: str, service: str, home: bool
) -> None:
    text = f"[Unit]\n{service}\n[Service]\nExecStart=/bin/x\n{service}"
    found = read(f"OnCalendar=daily\n{timer}", text, home=home)
    assert len(schedules(found)) == len(found.jobs)
    assert found.jobs or found.left


def test_a_unit_without_anything_is_empty() -> None:
    assert Unit("a").value("Timer", "OnCalendar") == ""
