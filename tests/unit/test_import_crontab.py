"""Crontabs become schedules: what cron does is kept, and what is lost is said where it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barto_cli.commands import importing
from barto_cli.importing.crontab import (
    Crontab,
    command_name,
    names_users,
    read_anacrontab,
    read_crontab,
    split_input,
    with_input,
)
from barto_cli.importing.host import Host
from barto_cli.importing.jobs import (
    Found,
    Heading,
    Job,
    Left,
    as_toml,
    comment,
    description,
    ending,
    losses,
    named,
    selector,
    slug,
)
from bartos.check import check
from bartos.schedules import Definition, load_schedules
from libbarto.errors import UserError

HEADING = Heading("web1", "barto-cli import crontab", "Tue 24 Nov 2026", ("It is so.",))


def read(text: str, user: str | None = "ann", zone: str = "Europe/Berlin") -> Found:
    return read_crontab(Crontab(text, "crontab", user, zone))


def schedules(found: Found) -> tuple[Definition, ...]:
    """What the server reads of it; raises where it reads a fault."""
    text = as_toml(named(found, ""), HEADING)
    definitions = load_schedules([("cron.toml", text)])
    assert check(definitions, (), [], 0).exit_code == 0
    return definitions


def one(text: str, user: str | None = "ann") -> Definition:
    (definition,) = schedules(read(text, user))
    return definition


def test_a_line_is_a_schedule_on_this_host_in_its_zone() -> None:
    it = one("30 2 * * mon-fri  pg_dump app\n")
    assert (it.name, it.workers, it.cron) == ("pg_dump", "web1", ("30 2 * * mon-fri",))
    assert (it.timezone, it.run_as, it.cmds) == ("Europe/Berlin", "ann", ("pg_dump app",))
    assert (it.overlap, it.missed) == ("allow", "none")
    assert it.shell == ("/bin/sh", "-c")


@pytest.mark.parametrize("word", ["@daily", "@hourly", "@weekly", "@monthly", "@yearly"])
def test_words_are_kept(word: str) -> None:
    assert one(f"{word} x").cron == (word,)


def test_at_reboot_is_at_boot() -> None:
    it = one("@reboot /srv/start")
    assert it.on_boot


def test_a_system_crontab_names_the_user() -> None:
    it = one("0\t2 * * *\troot\tx y", None)
    assert (it.run_as, it.cmds) == ("root", ("x y",))


def test_variables_hold_for_the_lines_below() -> None:
    found = read(
        '0 1 * * * first\nPATH = /bin\nA="a b"\nB=\'c\'\n"C D"=x\nSHELL=/bin/bash\n'
        "HOME=/srv\nCRON_TZ=UTC\n0 2 * * * second\nSHELL=/bin/sh\nHOME=relative\n0 3 * * * third\n"
    )
    first, second, third = schedules(found)
    assert (first.env, first.cwd, first.timezone) == ({}, None, "Europe/Berlin")
    assert second.env == {
        "PATH": "/bin",
        "A": "a b",
        "B": "c",
        "SHELL": "/bin/bash",
        "HOME": "/srv",
    }
    assert (second.shell, second.cwd, second.timezone) == (("/bin/bash", "-c"), "/srv", "UTC")
    assert (third.shell, third.cwd) == (("/bin/sh", "-c"), None)
    assert [left.text for left in found.left] == ['"C D"=x']


def test_a_zone_that_is_none_is_said_and_the_hosts_counts() -> None:
    found = read("CRON_TZ=Mars/Base\n0 2 * * * x")
    assert schedules(found)[0].timezone == "Europe/Berlin"
    assert found.jobs[0].lost == (
        "CRON_TZ=Mars/Base: no time zone has this name; Europe/Berlin is used",
    )


def test_what_is_cron_s_own_is_said_as_far_as_it_matters() -> None:
    found = read('MAILTO=ann@x\nMAILTO=""\nMAILFROM=b\nLOGNAME=c\nRANDOM_DELAY=30\n0 2 * * * x')
    assert [(it.text, it.matters) for it in found.left] == [
        ("MAILTO=ann@x", True),
        ('MAILTO=""', False),
        ("MAILFROM=b", False),
        ("LOGNAME=c", False),
        ("RANDOM_DELAY=30", False),
    ]
    assert found.jobs[0].lost[0].startswith("RANDOM_DELAY=30: each worker has times of its own")
    assert "LOGNAME" not in as_toml(found, HEADING)
    (only,) = losses(Found((), found.left))
    assert only.startswith("crontab:1: not taken: MAILTO=ann@x\n    ")


def test_comments_above_a_line_are_what_it_is_for() -> None:
    first, second, third, fourth = schedules(
        read(
            "# m h  dom mon dow   command\n# every night,\n#   for the auditors\n0 1 * * * a\n"
            "# of another one\n\n0 2 * * * b\n# for variables\nA=1\n0 3 * * * c\n"
            "#0 4 * * * commented out\n#\n0 4 * * * d\n"
        )
    )
    assert first.description == "every night, for the auditors"
    assert (second.description, third.description, fourth.description) == ("", "", "")


def test_a_percent_ends_the_command_and_begins_its_input() -> None:
    it = one("0 9 * * * mail -s hi ann%Hello,%it is 9\\% later")
    assert it.script == "mail -s hi ann <<'INPUT'\nHello,\nit is 9% later\nINPUT\n"
    assert one("0 9 * * * date +\\%F").cmds == ("date +%F",)
    assert one("0 9 * * * cat%").cmds == ("cat",)


@pytest.mark.parametrize(
    ("command", "split"),
    [
        ("a", ("a", None)),
        ("a%", ("a", None)),
        ("a%b%", ("a", "b\n")),
        ("a\\\\%b", ("a\\\\", "b\n")),
        ("a \\n", ("a \\n", None)),
        ("a%\\b", ("a", "\\b\n")),
    ],
)
def test_input_is_split_as_cron_does_it(command: str, split: tuple[str, str | None]) -> None:
    assert split_input(command) == split


def test_input_goes_to_the_whole_line() -> None:
    assert with_input("a; b", "x\nINPUT\n") == "{ a; b\n} <<'INPUT1'\nx\nINPUT\nINPUT1\n"
    assert with_input("a", "INPUT\nINPUT1\n").startswith("a <<'INPUT2'\n")


def test_a_shell_that_has_no_here_documents_is_said() -> None:
    found = read("SHELL=/usr/bin/fish\n0 9 * * * cat%hello")
    assert schedules(found)[0].cmds == ("cat",)
    assert found.jobs[0].lost == ("the input behind %: fish is no POSIX shell; give it by hand",)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 25 * * * x", "its time cannot be read: hour is 0 to 23, got 25"),
        ("0 2 * * *", "is no line of a crontab that could be read"),
        ("0 2 * * * %x", "has no command that could be run"),
        ("0 2 * * * a\0b", "is no text in UTF-8; write the schedule by hand"),
        ("0 2 * * * a\udcff", "is no text in UTF-8; write the schedule by hand"),
        ("BARTO_X=1", "no variable of a schedule can be called so"),
        ("A=\udcff", "no variable of a schedule can be called so"),
        ("nonsense", "is no line of a crontab that could be read"),
    ],
)
def test_what_cannot_be_a_schedule_is_left_with_the_reason(line: str, reason: str) -> None:
    found = read(f"{line}\n")
    assert found.jobs == ()
    assert [left.reason for left in found.left] == [reason]
    assert schedules(found) == ()


def test_a_minus_before_the_time_only_kept_the_log_short() -> None:
    assert one("-*/5 * * * * root x", None).cron == ("*/5 * * * *",)


def test_run_parts_is_named_and_not_taken() -> None:
    found = read(
        "17 * * * * root cd / && run-parts --report /etc/cron.hourly\n"
        "25 6 * * * root test -x /usr/sbin/anacron || run-parts --report /etc/cron.daily\n",
        None,
    )
    hourly, daily = found.left
    assert 'cmds = ["/etc/cron.hourly/NAME"]' in hourly.reason
    assert "(anacron does it where it is installed, and catches up)" in daily.reason
    assert "anacron" not in hourly.reason


def test_anacron_is_named_and_not_taken() -> None:
    found = read_anacrontab(
        "# /etc/anacrontab\nSHELL=/bin/sh\n\n1\t5\tcron.daily\trun-parts /etc/cron.daily\n"
        "@monthly 15 cron.monthly run-parts /etc/cron.monthly\n3 5 third x\nshort line\n",
        "/etc/anacrontab",
    )
    assert found.jobs == ()
    assert [left.where for left in found.left] == [
        "/etc/anacrontab:4",
        "/etc/anacrontab:5",
        "/etc/anacrontab:6",
    ]
    ways = [left.reason.partition(", missed")[0] for left in found.left]
    assert ways == [
        'a schedule with on_calendar = "daily"',
        'a schedule with on_calendar = "monthly"',
        'a schedule with every = "3d"',
    ]


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/usr/local/bin/backup.sh --full", "backup"),
        ("cd /srv && sudo -u ann ./sync.py", "sync"),
        ("flock -n /tmp/lock rsync -a a b", "rsync"),
        ("timeout -k 5 10m pg_dump app", "pg_dump"),
        ("nice -n 19 ionice -c 3 find / -name x", "find"),
        ("[ -x /usr/sbin/logrotate ] && logrotate", "logrotate"),
        ("A=1 'my tool' x", "my"),
        ("$HOME/bin/run", "run"),
        ("cd /tmp", "job"),
        ("12 34", "job"),
    ],
)
def test_a_job_is_called_after_its_program(command: str, name: str) -> None:
    assert command_name(command) == name


# -- the file -------------------------------------------------------------------------------------


def test_the_file_says_where_everything_came_from() -> None:
    found = named(read("# nightly\n30 2 * * * /bin/x %a\n0 2 * * * y%'''\nbad\n"), "web1-")
    assert as_toml(found, HEADING) == (
        "# Made on web1 by `barto-cli import crontab`, Tue 24 Nov 2026.\n"
        "# It is so.\n"
        "\n"
        "# crontab:2: 30 2 * * * /bin/x %a\n"
        "[[schedule]]\n"
        'name = "web1-x"\n'
        'description = "nightly"\n'
        'workers = "web1"\n'
        'cron = "30 2 * * *"\n'
        'timezone = "Europe/Berlin"\n'
        'missed = "none"\n'
        'overlap = "allow"\n'
        'run_as = "ann"\n'
        "script = '''\n"
        "/bin/x <<'INPUT'\n"
        "a\n"
        "INPUT\n"
        "'''\n"
        "\n"
        "# crontab:3: 0 2 * * * y%'''\n"
        "[[schedule]]\n"
        'name = "web1-y"\n'
        'workers = "web1"\n'
        'cron = "0 2 * * *"\n'
        'timezone = "Europe/Berlin"\n'
        'missed = "none"\n'
        'overlap = "allow"\n'
        'run_as = "ann"\n'
        "script = \"y <<'INPUT'\\n'''\\nINPUT\\n\"\n"
        "\n"
        "# Not taken:\n"
        "# crontab:4: bad\n"
        "#     is no line of a crontab that could be read\n"
    )


def test_names_are_a_schedules_and_differ() -> None:
    found = named(read("0 1 * * * x\n0 2 * * * x\n0 3 * * * x"), "w-")
    assert [job.name for job in found.jobs] == ["w-x", "w-x-2", "w-x-3"]
    assert slug("a" * 300) == "a" * 112
    assert slug("ä/ö") == "job"


@pytest.mark.parametrize(
    ("host", "text"),
    [("web1", "web1"), ("and", '"and"'), ("-x", '"-x"'), ("a b", '"a b"'), ('"', '"localhost"')],
)
def test_a_host_s_name_is_a_selector(host: str, text: str) -> None:
    assert selector(host) == text


def test_texts_are_kept_short_and_harmless() -> None:
    assert list(comment("a" * 400)) == [f"# {'a' * 300}…"]
    assert description(["a" * 400])[-2:] == "a…"
    assert description(["a\0b", " c "]) == "a?b c"


def test_the_last_line_says_what_runs_twice() -> None:
    assert ending(2, "cron", disabled=False).startswith("2 jobs run twice once this is in force")
    assert ending(1, "cron", disabled=False).startswith("1 job runs twice")
    assert ending(2, "cron", disabled=True) == "2 jobs are out of the hands of cron"


def test_what_several_crontabs_hold_is_put_together() -> None:
    both = read("0 1 * * * a\nx") + read("0 2 * * * b")
    assert ([job.name for job in both.jobs], len(both.left)) == (["a", "b"], 1)


def test_losses_name_what_is_not_carried_over() -> None:
    job = Job("crontab:1", "x", "x", {"cron": "@daily"}, ("it is lost",))
    left = Left("crontab:2", "y", "why", matters=False)
    assert list(losses(Found((job,), (left,)))) == ["crontab:1: not carried over: it is lost"]


# -- whatever stands in a crontab -----------------------------------------------------------------

FIELD = st.sampled_from(["*", "0", "*/5", "1-5", "mon", "1,2", "99", "@reboot", "~", "-*", "L"])
WORDS = st.text(st.characters(exclude_characters="\n"), max_size=12)
COMMAND = st.one_of(
    WORDS, st.sampled_from(["a%b", "a\\%b", "'''", "'", 'a"b', "cd / && run-parts /etc/cron.d"])
)
LINE = st.one_of(
    st.builds(lambda fields, command: " ".join([*fields, command]),
              st.lists(FIELD, min_size=5, max_size=6), COMMAND),
    st.builds(lambda name, value: f"{name}={value}",
              st.sampled_from(["PATH", "SHELL", "HOME", "CRON_TZ", "MAILTO", "A", "ä", "BARTO_X",
                               "RANDOM_DELAY"]), WORDS),
    st.builds("# {}".format, WORDS),
    WORDS,
)  # fmt: skip


@settings(max_examples=200)
@given(st.lists(LINE, max_size=8), st.sampled_from(["ann", None]), WORDS)
def test_whatever_a_crontab_holds_the_schedules_can_be_read(
    lines: list[str], user: str | None, host: str
) -> None:
    found = named(read("\n".join(lines), user), "web1-")
    text = as_toml(found, Heading(host, f"import {host}", "now"))
    definitions = load_schedules([("cron.toml", text)])
    assert len(definitions) == len(found.jobs)
    for definition, job in zip(definitions, found.jobs, strict=True):
        assert definition.name == job.name
        assert definition.cron == (job.keys["cron"],)
        assert definition.selector.matches(definition.selector.name or "", {})


@pytest.mark.parametrize(
    ("text", "seems"),
    [
        ("# m h\nPATH=/bin\n0 2 * * * root tidy /tmp\n@daily\tann\tx y\n", True),
        ("0 2 * * * root tidy /tmp\n0 3 * * * pg_dump app\n", False),
        ("0 2 * * * root\n", False),
        ("#0 2 * * * root tidy /tmp\nno line at all\n", False),
        ("", False),
    ],
)
def test_a_user_before_every_command_is_noticed_where_none_is_expected(
    text: str, seems: bool
) -> None:
    assert names_users(text, {"root", "ann"}) is seems


def test_a_crontab_in_the_format_of_the_system_is_doubted_or_read_as_it_is_meant(
    tmp_path: Path,
) -> None:
    file = tmp_path / "jobs"
    file.write_text("0 2 * * * root tidy /tmp\n")
    host = Host("UTC", tmp_path, "ann", False)
    (job,) = (found := host.crontabs([file], own=False)).jobs
    assert (job.keys["run_as"], job.keys["cmds"]) == ("ann", ["root tidy /tmp"])
    (doubt,) = losses(named(found, ""))
    assert doubt.startswith(f"{file}: each command begins with the name of a user")
    assert doubt.endswith("with --system it is the user")
    (job,) = (found := host.crontabs([file], own=False, system=True) + Found()).jobs
    assert (job.keys["run_as"], job.keys["cmds"], found.doubts) == ("root", ["tidy /tmp"], ())
    (tmp_path / "var/spool/cron").mkdir(parents=True)
    file = file.rename(tmp_path / "var/spool/cron/bob")
    assert host.crontabs([file], own=False).doubts == ()


def test_how_crontabs_are_written_is_said_of_files_that_are_named() -> None:
    for kind, paths in (("crontab", ()), ("systemd", (Path("x.timer"),))):
        with pytest.raises(UserError, match="name its file"):
            importing.run(importing.Wanted(cast(Any, kind), paths, system=True))
