"""`barto-cli import` on a host of its own: what it finds, writes, switches off, and puts back."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from barto_cli import app
from barto_cli.importing import host
from barto_cli.importing.host import Host
from bartos.config import check_files

CRONTAB = "# nightly\n0 2 * * * /usr/bin/backup --all\n@reboot /usr/bin/start\nbad line\n"
SYSTEM = "MAILTO=root\n17 * * * * root run-parts /etc/cron.hourly\n5 4 * * * ann /usr/bin/tidy\n"
TIMER = "[Timer]\nOnCalendar=*-*-* 03:00\n\n[Install]\nWantedBy=timers.target\n"
SERVICE = "[Service]\nExecStart=/usr/bin/sync-it\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with programs that stand for crontab(1) and systemctl(1)."""
    (tmp_path / "bin").mkdir()
    own, log = tmp_path / "own", tmp_path / "log"
    _program(
        tmp_path / "bin/crontab",
        f'case "$1" in -l) cat {own} ;; -) cat > {own} ;; *) exit 1 ;; esac',
    )
    _program(
        tmp_path / "bin/systemctl",
        f'echo "$@" >> {log}\n[ -e {tmp_path / "broken"} ] && {{ echo broken >&2; exit 1; }}\n'
        'case "$*" in *list-unit-files*) echo "a.timer enabled enabled"; '
        "echo away.timer enabled;; esac",
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("TZ", "Europe/Berlin")
    monkeypatch.chdir(tmp_path)
    own.write_text(CRONTAB)
    return tmp_path


def _program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def ran(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, list[str]]:
    """The exit code, the file on standard output, and the lines beside it."""
    capsys.readouterr()
    code = app.main(["import", *words])
    said = capsys.readouterr()
    return code, said.out, said.err.splitlines()


def names(toml: str) -> list[str]:
    """The names of the schedules of a file, which the check of the server takes."""
    file = Path("bartos.toml")
    file.write_text(toml)
    report = check_files([file])
    assert report.faults == ()
    return [line.split('"')[1] for line in toml.splitlines() if line.startswith("name = ")]


# -- crontabs -------------------------------------------------------------------------------------


def test_ones_own_crontab(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, toml, said = ran(capsys, "crontab", "--user", "--name", "web1-")
    assert code == 0
    assert names(toml) == ["web1-backup", "web1-start"]
    assert 'timezone = "Europe/Berlin"' in toml
    assert 'description = "nightly"' in toml
    assert said[-1].startswith("2 jobs run twice once this is in force: by barto and by cron.")
    assert any("not taken: bad line" in line for line in said)


def test_files_and_directories_that_are_named(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "etc/cron.d").mkdir(parents=True)
    (place / "etc/crontab").write_text(SYSTEM)
    (place / "etc/cron.d/certs").write_text("0 5 * * * root /bin/a\n0 6 * * * root /bin/b\n")
    (place / "etc/cron.d/left.dpkg-old").write_text("0 5 * * * root /bin/c\n")
    (place / "etc/anacrontab").write_text("1 5 cron.daily run-parts /etc/cron.daily\n")
    (place / "spool/cron/crontabs").mkdir(parents=True)
    (place / "spool/cron/crontabs/bob").write_text("0 7 * * * /bin/d\n")
    code, toml, said = ran(
        capsys,
        *("crontab", "etc/crontab", "etc/cron.d", "etc/anacrontab"),
        *("spool/cron/crontabs/bob", "own", "--name", ""),
    )
    assert code == 0
    assert names(toml) == ["tidy", "certs", "certs-2", "d", "backup", "start"]
    assert 'run_as = "ann"' in toml
    assert 'run_as = "bob"' in toml
    assert any("run-parts" in line for line in said)
    assert any("cron.daily" in line for line in said)


def test_all_of_a_host_is_found_by_root(place: Path) -> None:
    (place / "etc/cron.d").mkdir(parents=True)
    (place / "etc/crontab").write_text(SYSTEM)
    (place / "etc/cron.d/certs").write_text("0 5 * * * root /bin/a\n")
    (place / "var/spool/cron/crontabs").mkdir(parents=True)
    (place / "var/spool/cron/crontabs/bob").write_text("0 7 * * * /bin/d\n")
    found = Host("UTC", place, "root", True).crontabs((), own=False)
    assert [job.name for job in found.jobs] == ["tidy", "certs", "d"]
    own = Host("UTC", place, "ann", False).crontabs((), own=False)
    assert [(job.name, job.keys["run_as"]) for job in own.jobs] == [
        ("backup", "ann"),
        ("start", "ann"),
    ]


def test_without_a_crontab_nothing_is_found(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "own").unlink()
    code, toml, said = ran(capsys, "crontab", "--user")
    assert (code, names(toml)) == (0, [])
    assert said == ["nothing of cron was found that could be taken"]


# -- switching off, and on again ------------------------------------------------------------------


def test_what_was_taken_is_switched_off_and_put_back(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = place / "tab"
    file.write_bytes(CRONTAB.encode() + b"# \xff\r\n")
    file.chmod(0o640)
    before = file.read_bytes()
    code, _, said = ran(capsys, "crontab", "tab", "own", "--output", "cron.toml", "--disable")
    assert code == 0
    assert "0 2 * * * /usr/bin/backup --all" in (place / "cron.toml").read_text()
    assert stat.S_IMODE((place / "cron.toml").stat().st_mode) & 0o007 == 0
    assert file.read_bytes() == before.replace(b"\n0 2", b"\n#barto# 0 2").replace(
        b"@re", b"#barto# @re"
    )
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    copy = next(line for line in said if line.startswith(str(file))).rpartition(" ")[2]
    assert Path(copy).read_bytes() == before
    assert said[-1] == "4 jobs are out of the hands of cron"
    code, _, said = ran(capsys, "crontab", "--undo")
    assert (code, said) == (0, [f"{place / 'own'}: as it was", f"{file}: as it was"])
    assert file.read_bytes() == before
    assert ran(capsys, "crontab", "--undo")[0] == 2


def test_ones_own_crontab_is_written_by_crontab(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(capsys, "crontab", "--user", "--output", "cron.toml", "--disable")[0] == 0
    assert (place / "own").read_text().count("#barto# ") == 2
    assert ran(capsys, "crontab", "--undo")[2] == ["crontab: as it was"]
    assert (place / "own").read_text() == CRONTAB


def test_a_file_that_was_changed_since_is_not_put_back(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(capsys, "crontab", "own", "--output", "cron.toml", "--disable")[0] == 0
    (place / "own").write_text("0 3 * * * other\n")
    code, _, said = ran(capsys, "crontab", "--undo")
    assert code == 2
    assert "own was changed since: take `#barto#` from its lines by hand, or put" in said[0]
    assert (place / "own").read_text() == "0 3 * * * other\n"
    (place / "own").write_text(CRONTAB)
    assert ran(capsys, "crontab", "--undo")[2] == [f"{place / 'own'}: is as it was"]


def test_a_dry_run_changes_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, toml, said = ran(
        capsys, "crontab", "own", "--dry-run", "--output", "cron.toml", "--disable"
    )
    assert (code, toml) == (0, "")
    assert said[-1] == "2 schedules would be written to cron.toml; nothing was changed"
    assert ran(capsys, "crontab", "own", "--dry-run")[2][-1] == (
        "2 schedules would be schedules; nothing was changed"
    )
    assert (place / "own").read_text() == CRONTAB
    assert not (place / "cron.toml").exists()
    assert not (place / "state").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["crontab", "own", "--disable"], "--disable takes the jobs away from where they are"),
        (["crontab", "own", "--output", "own"], "own: is there already; name another file"),
        (["crontab", "own", "--output", "no/x"], "no/x: cannot be written: No such file"),
        (["crontab", "nothing"], "nothing: cannot be read: No such file or directory"),
        (["systemd", "nothing"], "nothing: there is no such file, and no timer of this name"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_changed(
    place: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    code, _, said = ran(capsys, *words)
    assert code == 2
    assert said[-1].removeprefix("barto-cli: ").startswith(message)
    assert (place / "own").read_text() == CRONTAB


# -- timers ---------------------------------------------------------------------------------------


@pytest.fixture
def units(place: Path) -> Path:
    """A directory of units: an own timer, one of the distribution, and a template."""
    folder = place / "etc/systemd/system"
    (folder / "timers.target.wants").mkdir(parents=True)
    (folder / "a.timer").write_text(TIMER)
    (folder / "a.service").write_text(SERVICE)
    (folder / "a.timer.d").mkdir()
    (folder / "a.timer.d/late.conf").write_text("[Timer]\nOnCalendar=\nOnCalendar=04:00\n")
    (folder / "a-b@.timer").write_text(f"{TIMER}\n[Timer]\nUnit=job@%i.service\n")
    (folder / "a-.timer.d").mkdir()
    (folder / "a-.timer.d/all.conf").write_text("[Timer]\nPersistent=yes\n")
    (folder / "job@.service").write_text("[Service]\nExecStart=/bin/job %i\n")
    vendor = place / "usr/lib/systemd/system"
    vendor.mkdir(parents=True)
    (vendor / "logrotate.timer").write_text(TIMER)
    (vendor / "logrotate.service").write_text(SERVICE)
    for name in ("a.timer", "logrotate.timer", "gone.timer"):
        (folder / "timers.target.wants" / name).symlink_to(f"/nowhere/{name}")
    return folder


def test_enabled_timers_are_found_by_their_links(units: Path, place: Path) -> None:
    found = Host("UTC", place, "root", True).timers((), own=False)
    assert [(job.name, job.keys["on_calendar"]) for job in found.jobs] == [("a", "*-*-* 04:00:00")]
    assert [(left.where, left.reason) for left in found.left] == [
        ("gone.timer", "what it starts, gone.service, is not there"),
        ("logrotate.timer", "comes with the distribution; name it, to take it all the same"),
    ]


def test_a_timer_by_its_name_also_of_the_distribution(units: Path, place: Path) -> None:
    here = Host("UTC", place, "root", True)
    (job,) = here.timers([Path("logrotate")], own=False).jobs
    assert job.name == "logrotate"
    (job,) = here.timers([Path("a-b@x.timer")], own=False).jobs
    assert (job.keys["cmds"], job.keys["missed"]) == (["/bin/job x"], "latest")


def test_ones_own_timers(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = place / "config/systemd/user"
    (folder / "timers.target.wants").mkdir(parents=True)
    (folder / "a.timer").write_text(TIMER)
    (folder / "a.service").write_text(SERVICE)
    (folder / "timers.target.wants/a.timer").symlink_to(folder / "a.timer")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(place / "config"))
    (job,) = Host("UTC", place, "ann", False, place).timers((), own=True).jobs
    assert job.keys["run_as"] == "ann"
    assert "cwd" not in job.keys


def test_systemctl_says_what_is_enabled(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "SYSTEM_UNITS", (str(place / "units")[1:],))
    (place / "units").mkdir()
    (place / "units/a.timer").write_text(TIMER)
    (place / "units/a.service").write_text(SERVICE)
    code, toml, said = ran(capsys, "systemd", "--name", "w-")
    assert (code, names(toml)) == (0, ["w-a"])
    assert said[0] == "away.timer: not taken: "
    (place / "broken").touch()
    assert ran(capsys, "systemd")[2] == ["nothing of systemd was found that could be taken"]


def test_timers_are_disabled_and_enabled_again(
    units: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(units / "a.timer")
    code, _, said = ran(capsys, "systemd", path, "--output", "t.toml", "--disable")
    assert (code, said[-3:]) == (
        0,
        [
            "a.timer: disabled",
            "to have all that back: barto-cli import systemd --undo",
            "1 job is out of the hands of systemd",
        ],
    )
    assert ran(capsys, "systemd", "--undo")[2] == ["a.timer: enabled"]
    assert (place / "log").read_text().splitlines() == [
        "disable --now a.timer",
        "enable --now a.timer",
    ]
    (place / "broken").touch()
    code, _, said = ran(capsys, "systemd", str(units), "--output", "u.toml", "--disable")
    assert code == 2
    assert said[-1] == "barto-cli: systemctl disable --now a-b@.timer ended with 1: broken"
