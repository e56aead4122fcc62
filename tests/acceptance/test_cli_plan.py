"""`barto-cli plan` over a real socket: what it shows, and how it ends."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from barto_cli import app
from bartos.plan import schedule_rows
from bartos.schedules import load_schedules
from tests.faces import NOON, Barto
from tests.served import on_unix_socket

OLD = """\
[[schedule]]
name = "backup"
workers = "*"
on_calendar = "02:00"
cmds = ["true"]
"""


def planned(tmp_path: Path, file: Path, *more: str) -> int:
    """The exit code of `plan FILE` against a server that has `OLD` in force."""
    barto = Barto()

    async def in_force() -> None:
        await barto.worker("web1")
        rows = schedule_rows(load_schedules([("bartos.toml", OLD)]), (), NOON)
        await barto.store.replace_schedules(rows, NOON)

    asyncio.run(in_force())
    config = tmp_path / "barto-cli.toml"
    socket = tmp_path / f"{len(list(tmp_path.iterdir()))}.sock"
    config.write_text(f'[bartos]\nsocket = "{socket}"\n')
    with on_unix_socket(barto, socket):
        return app.main(["-c", str(config), "--utc", "plan", str(file), *more])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "etc" / "bartos.toml"
    path.parent.mkdir()
    path.write_text(OLD)
    return path


def test_nothing_to_do_ends_with_0(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert planned(tmp_path, file) == 0
    assert capsys.readouterr().out == "nothing to do: 1 schedule stays as it is\n"


def test_changes_end_with_6_and_schedules_d_counts(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = file.parent / "schedules.d" / "more.toml"
    more.parent.mkdir()
    more.write_text(OLD.replace("backup", "more"))
    assert planned(tmp_path, file) == 6
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == ["+ more", "    when     on_calendar 02:00", "    workers  1 worker: web1"]
    assert "1 added, 1 unchanged; 1 of 1 worker gets a new version" in said
    assert "Wed 25 Nov 02:00:00  more            1" in said
    assert planned(tmp_path, more) == 6
    assert capsys.readouterr().out.splitlines() == said


def test_a_faulty_file_ends_with_2(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(OLD.replace("02:00", "25:00"))
    assert planned(tmp_path, file) == 2
    said = capsys.readouterr()
    assert 'bartos.toml:4: error: schedule "backup": on_calendar: hour is 0 to 23' in said.out
    assert "it cannot be used, and would change nothing" in said.err


def test_the_forms_for_programs(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("")
    assert planned(tmp_path, file, "-o", "json") == 6
    said = json.loads(capsys.readouterr().out)
    assert [(it["change"], it["name"]) for it in said["changes"]] == [("removed", "backup")]
    assert planned(tmp_path, file, "-o", "csv") == 6
    assert capsys.readouterr().out.splitlines()[1].startswith("removed,backup,,on_calendar 02:00,")


def test_what_cannot_be_read_is_said(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert planned(tmp_path, tmp_path / "none.toml") == 2
    assert "none.toml: cannot be read: No such file" in capsys.readouterr().err
    alone = tmp_path / "schedules.d" / "a.toml"
    alone.parent.mkdir()
    alone.write_text(OLD)
    assert planned(tmp_path, alone) == 2
    assert "there is no bartos.toml beside schedules.d" in capsys.readouterr().err
    file.write_bytes(b"\xff")
    assert planned(tmp_path, file) == 2
    assert "is not UTF-8" in capsys.readouterr().err
