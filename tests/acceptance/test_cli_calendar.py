"""`barto-cli calendar` as a process: what it shows, on terminals of two widths and in a pipe."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from libbarto.identity import calendar_seed, schedule_uid
from libbarto.realtime import Realtime
from tests.acceptance.test_cli_commands import environment, on_a_terminal

PROGRAM = [sys.executable, "-m", "barto_cli.app"]
BERLIN = ["--tz", "Europe/Berlin"]


def says(*arguments: str, cwd: Path | None = None, **more: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    done = subprocess.run(
        [*PROGRAM, "calendar", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**environment(), **more},
    )
    return done.returncode, done.stdout, done.stderr


# -- the snapshots --------------------------------------------------------------------------------

PIPED = """\
normalised  Mon..Fri *-*-* 02:30:00
in words    at 02:30 on weekdays
zone        Europe/Berlin

WHEN (Europe/Berlin)          UTC                       FROM NOW
Mon  1 Jan 2029 02:30:00 CET  Mon  1 Jan 2029 01:30:00  in N
Tue  2 Jan 2029 02:30:00 CET  Tue  2 Jan 2029 01:30:00  in N
"""

CHANGE = [
    "on 25 March 2029 clocks in Europe/Berlin go from 02:00 to 03:00: the start of 02:30 runs at "
    "03:00",
    "on 28 October 2029 clocks in Europe/Berlin go back from 03:00 to 02:00: the start of 02:30 "
    "runs once, the first time",
]


def test_the_next_starts_in_a_pipe() -> None:
    code, out, err = says("Mon..Fri 02:30", *BERLIN, "--from", "2029-01-01", "-n", "2")
    assert (code, err) == (0, "")
    assert re.sub(r"  in( [0-9]+[dhms])+", "  in N", out) == PIPED


WIDE = """\
normalised  *-*-* 02:30:00
in words    at 02:30 every day
zone        Europe/Berlin

WHEN (Europe/Berlin)           UTC                       FROM NOW      NOTE
Sun 25 Mar 2029 03:00:00 CEST  Sun 25 Mar 2029 01:00:00  in N          moved from 02:30
Mon 26 Mar 2029 02:30:00 CEST  Mon 26 Mar 2029 00:30:00  in N
"""


def dated(text: str) -> list[list[str]]:
    """The words of each line, without the time from now."""
    return [re.sub(r"  in( [0-9]+[dhms])+", "  in N", line).split() for line in text.splitlines()]


def test_clock_changes_are_noted_on_a_wide_terminal() -> None:
    arguments = ["calendar", "02:30", *BERLIN, "--from", "2029-03-25", "-n", "2"]
    shown = on_a_terminal(arguments, 200, NO_COLOR="1")
    assert dated(shown)[:7] == dated(WIDE)
    notes = " ".join(" ".join(line) for line in dated(shown)[7:])
    for change in CHANGE:
        assert change in notes
    assert max(map(len, shown.splitlines())) <= 200
    assert "…" not in shown


def test_clock_changes_are_noted_on_a_narrow_terminal() -> None:
    arguments = ["calendar", "02:30", *BERLIN, "--from", "2029-03-25", "-n", "2"]
    shown = on_a_terminal(arguments, 80, NO_COLOR="1")
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in shown
    assert lines[4].split() == ["WHEN", "(Europe/Berlin)", "FROM", "NOW", "NOTE"]
    assert lines[5].endswith("moved from 02:30")
    told = " ".join(line.strip() for line in lines[8:])
    for change in CHANGE:
        assert change in told


def test_what_is_drawn_is_shown_as_spans() -> None:
    shown = on_a_terminal(["calendar", "02:R", *BERLIN, "--from", "2029-01-01", "-n", "1"], 80)
    assert "each worker has its own, drawn once" in shown
    line = next(line for line in shown.splitlines() if line.startswith("Mon"))
    assert line.startswith("Mon  1 Jan 2029 02:00:00 CET  Mon  1 Jan 2029 02:59:00 CET  in ")


def test_what_is_drawn_for_one_worker() -> None:
    uid = bytes(range(16))
    seed = calendar_seed(schedule_uid("backup"), uid)
    minute = str(Realtime.parse("02:R").bind(seed)).split(":")[1]
    given = ["02:R", "--tz", "UTC", "--from", "2029-01-01", "-n", "1", "-o", "json"]
    code, out, _ = says(*given, "--schedule", "backup", "--worker", uid.hex())
    told = json.loads(out)
    assert (code, told["times"]) == (0, "exact")
    assert told["next"][0]["at"] == f"2029-01-01T02:{minute}:00Z"
    for more in (["--worker", "web1"], ["--schedule", "backup"], ["--worker", "z" * 32]):
        told = json.loads(says(*given, *more)[1])
        assert told["times"] == "example"
        assert told["next"][0]["until"] is None
    told = json.loads(says(*given)[1])
    assert told["times"] == "range"
    assert told["next"][0]["until"] == "2029-01-01T02:59:00Z"
    assert json.loads(says("Mon *-*-R", "-o", "json")[1])["times"] == "example"
    assert "this is one example" in says("02:R", "--worker", "web1")[1]
    assert "those of this worker" in says(
        "02:R", "--worker", uid.hex(), "--schedule", "backup"
    )[1]  # fmt: skip


# -- forms for programs ---------------------------------------------------------------------------


def test_json_is_one_object() -> None:
    code, out, err = says(
        *("Mon..Fri 02:30", "Mon *-*-01 6:00", *BERLIN),
        *("--from", "2029-01-01", "-n", "2", "-o", "json"),
    )
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["normalized"] == "Mon..Fri *-*-* 02:30:00; Mon *-*-01 06:00:00"
    assert told["words"].startswith("at 02:30 on weekdays; at 06:00 on the 1st of each month")
    assert told["calendars"][0]["words"] == "at 02:30 on weekdays"
    assert told["zone"] == "Europe/Berlin"
    first = told["next"][0]
    assert first["at"] == "2029-01-01T01:30:00Z"
    assert first["local"] == "2029-01-01T02:30:00+01:00"
    assert first["zone"] == "Europe/Berlin"
    assert first["in_seconds"] == pytest.approx(1_861_925_400 - time.time(), abs=60)
    (doubt,) = told["doubts"]
    assert doubt["code"] == "weekday-and-date"
    assert doubt["fix"].startswith('the first Monday is "Mon *-*-01..07 06:00"')


def test_rows_for_programs() -> None:
    given = ["*:*:00/0.5", "--tz", "UTC", "--from", "2029-01-01", "-n", "2"]
    rows = list(csv.DictReader(says(*given, "-o", "csv")[1].splitlines()))
    assert [row["at"] for row in rows] == ["2029-01-01T00:00:00Z", "2029-01-01T00:00:00.500000Z"]
    rows = [json.loads(line) for line in says(*given, "-o", "jsonl")[1].splitlines()]
    assert [row["note"] for row in rows] == ["", ""]
    assert "00:00:00.5" in says(*given)[1]


# -- what can be said -----------------------------------------------------------------------------


def test_zones() -> None:
    given = ["6:00", "--from", "2029-01-01", "-n", "1"]
    assert "zone        Asia/Tokyo" in says(*given, TZ="Asia/Tokyo")[1]
    assert "zone        UTC" in says(*given, TZ="JST-9")[1]
    assert "zone        UTC" in says(*given, "--utc", TZ="Asia/Tokyo")[1]
    text = says(*given, "--utc", "--tz", "Asia/Tokyo")[1]
    assert "WHEN (UTC)" in text
    assert "Mon  1 Jan 2029 21:00:00" in text or "Sun 31 Dec 2028 21:00:00" in text
    several = says("6:00", "7:00 Asia/Tokyo", *BERLIN, "--from", "2029-01-01", "-n", "2")[1]
    assert "WHEN  " in several
    assert "06:00:00 Europe/Berlin" in several
    assert "07:00:00 Asia/Tokyo" in several
    code, _, err = says("daily", "--tz", "Europe/Berln")
    assert code == 2
    assert "did you mean Europe/Berlin?" in err


def test_policies() -> None:
    def first(*more: str) -> str:
        out = says("02:30", *BERLIN, "--from", "2029-03-25", "-n", "1", "-o", "json", *more)[1]
        return str(json.loads(out)["next"][0]["local"])

    assert first() == "2029-03-25T03:00:00+02:00"
    assert first("--dst-gap", "skip") == "2029-03-26T02:30:00+02:00"
    assert first("--systemd") == "2029-03-26T02:30:00+02:00"
    out = says(
        *("*:0", *BERLIN, "--from", "2029-10-28T00:30:00Z", "-n", "1", "-o", "json"),
        *("--dst-repeat", "once"),
    )[1]
    assert json.loads(out)["next"][0]["at"] == "2029-10-28T02:00:00Z"
    code, _, err = says("daily", "--dst-gap", "hold")
    assert (code, err) == (2, "app.py: --dst-gap is next or skip, not hold\n")


def test_crontab_lines() -> None:
    code, out, _ = says("--cron", "0 2 1 * 1", "@reboot", *BERLIN, "--from", "2029-01-01")
    assert code == 0
    assert "once after each start of the host; on the 1st of each month at 02:00; " in out
    code, out, _ = says("--cron", "@reboot")
    assert code == 0
    assert out.endswith("\n\nonly then\n")
    assert json.loads(says("--cron", "@reboot", "-o", "json")[1])["at_boot"]
    code, _, err = says("--cron", "61 * * * *")
    assert code == 2
    assert err.endswith("\n    61 * * * *\n    ^^\n")


def test_never_is_said_and_is_no_error() -> None:
    code, out, err = says("*-02-30")
    assert (code, err) == (0, "")
    assert "never: nothing is planned" in out
    assert 'never runs: there is no 30 February; the last day of February is "*-02~01"' in out
    code, out, _ = says("2020-01-01")
    assert code == 0
    assert "never runs again: the last time was 1 January 2020" in out


def test_a_mistake_is_marked() -> None:
    assert says("25:00") == (2, "", "app.py: hour is 0 to 23, got 25\n    25:00\n    ^^\n")
    assert says()[0] == 2
    assert says("daily", "--from", "noon")[0] == 2
    code, _, err = says("daily", "--check", "x")
    assert (code, err) == (2, "app.py: --check reads a file: leave the expressions out\n")


def test_a_reader_that_leaves_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [*PROGRAM, "calendar", "*:*:*", "-n", "1000"],
            stdout=write,
            stderr=subprocess.PIPE,
            env=environment(),
            check=False,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_it_needs_none_of_the_heavy_libraries() -> None:
    heavy = {"pydantic", "rich", "websockets", "msgspec", "ssl", "sqlalchemy"}
    script = (
        "import sys; from barto_cli.app import main\n"
        "assert main(['calendar', '02:R', '--tz', 'Europe/Berlin']) == 0\n"
        "print(*sys.modules, sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    assert heavy & {name.partition(".")[0] for name in done.stdout.splitlines()} == set()


# -- the check ------------------------------------------------------------------------------------

MAIN = """\
timezone = "Europe/Berlin"

[[schedule]]
name = "monday"
workers = "web1"
on_calendar = ["04:R", "Mon *-*-01 04:00"]
cmds = ["true"]

[[schedule]]
name = "early"
workers = "web1"
on_calendar = "02:30"
cmds = ["false"]

[[schedule]]
name = "wrong"
workers = "web1"
on_calendar = "25:00"
cmds = ["x"]

[schedules.nas]
schedules = [ { name = "over", on_calendar = "2020-01-01", cmds = ["y"] } ]
"""
OTHER = """\
[[schedule]]
name = "all"
workers = "*"
cron = "0 0 * * *"
cmds = ["z"]
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "bartos.toml").write_text(MAIN)
    (tmp_path / "schedules.d").mkdir()
    (tmp_path / "schedules.d" / "more.toml").write_text(OTHER)
    (tmp_path / "schedules.d" / ".hidden.toml").write_text("[")
    (tmp_path / "schedules.d" / "notes.txt").write_text("[")
    return tmp_path


def test_a_check_tells_what_it_finds_and_where(directory: Path) -> None:
    code, out, err = says("--check", "bartos.toml", cwd=directory)
    assert (code, err) == (1, "")
    lines = [line for line in out.splitlines() if not line.startswith(" ")]
    assert [line.partition(": schedule")[0] for line in lines[:-1]] == [
        "bartos.toml:6: doubt",
        "bartos.toml:12: doubt",
        "bartos.toml:18: error",
        "bartos.toml:22: doubt",
        "schedules.d/more.toml:4: note",
    ]
    assert '"Mon *-*-01 04:00" runs only where the 1st is a Monday' in lines[0]
    assert "clocks in Europe/Berlin" in lines[1]
    assert "    25:00\n    ^^\n" in out
    assert "never runs again" in lines[3]
    assert lines[-1] == "5 schedules: 1 error, 3 doubts, 1 note"


def test_a_check_for_programs(directory: Path) -> None:
    code, out, _ = says("--check", "bartos.toml", "--workers", "21", "-o", "json", cwd=directory)
    rows = json.loads(out)
    assert code == 1
    assert [(row["kind"], row["code"]) for row in rows] == [
        ("doubt", "weekday-and-date"),
        ("doubt", "clock-change"),
        ("error", "trigger"),
        ("doubt", "never-again"),
        ("doubt", "crowd"),
    ]
    assert rows[0]["calendar"] == "Mon *-*-01 04:00"
    assert rows[4]["fix"] == 'spread it: "00:R"'
    assert (rows[4]["file"], rows[4]["line"]) == ("schedules.d/more.toml", 4)


def test_a_check_that_finds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "bartos.toml"
    file.write_text(MAIN.partition("[[schedule]]")[0] + OTHER.replace('"*"', '"web1"'))
    code, out, err = says("--check", str(file))
    assert (code, out, err) == (0, "1 schedule: 0 errors, 0 doubts, 0 notes\n", "")


def test_a_check_of_what_is_no_configuration(tmp_path: Path) -> None:
    file = tmp_path / "bartos.toml"
    code, _, err = says("--check", "bartos.toml", cwd=tmp_path)
    assert (code, err) == (2, "app.py: bartos.toml: cannot be read: No such file or directory\n")
    file.write_bytes(b"\xff")
    assert says("--check", str(file))[0] == 2
    file.write_text("x = [\n")
    code, out, _ = says("--check", "bartos.toml", cwd=tmp_path)
    assert code == 1
    assert out.startswith("bartos.toml:1: error: not TOML")
    elsewhere = says("--check", str(file), cwd=Path("/"))[1]
    assert elsewhere.startswith(f"{file}:1: error: ".lstrip("/")) or elsewhere.startswith(str(file))
