"""`bartos edit`: a copy is edited, checked and shown, and only then, and whole, counts."""

from __future__ import annotations

import asyncio
import io
import stat
import sys
from pathlib import Path

import pytest

import bartos.cli
from bartos.app import StateLock
from bartos.editing import Draft, Spot, ask_server, command_line, editor, find, replace_keeping
from libbarto.errors import ConfigError, UserError
from tests.faces import Barto
from tests.served import on_unix_socket

MAIN = """\
timezone = "Europe/Berlin"

[[schedule]]
name = "backup"
workers = "*"
on_calendar = "02:00"
cmds = ["true"]
"""
MORE = """\
[[schedule]]
name = "first"
workers = "web1"
every = "5m"
cmds = ["true"]

[[schedule]]
name = "second"
id = "two"
workers = "web1"
every = "5m"
cmds = ["true"]

[schedules.web2]
schedules = [{ name = "third", on_calendar = "daily", cmds = ["true"] }]
"""


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with bartos.toml and schedules.d, and drafts that are made within `tmp`."""
    (tmp_path / "etc/schedules.d").mkdir(parents=True)
    (tmp_path / "etc/bartos.toml").write_text(MAIN)
    (tmp_path / "etc/schedules.d/more.toml").write_text(MORE)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("CONFIGURATION_DIRECTORY", str(tmp_path / "etc"))
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "etc"


def edits(monkeypatch: pytest.MonkeyPatch, *scripts: str) -> Path:
    """Let the editor be a program that does one script after another; it logs its arguments.

    `$1` is the file, `$0` the last but the line.
    """
    here = Path.cwd()
    program = here / "editor"
    for number, script in enumerate(scripts, 1):
        (here / f"step{number}").write_text(script)
    (here / "count").write_text("0")
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {here}/log\nfor f; do :; done\n'
        f'n=$(($(cat {here}/count) + 1)); echo $n > {here}/count\n. {here}/step$n "$f"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(program))
    return here / "log"


def edit(monkeypatch: pytest.MonkeyPatch, *words: str, answers: str | None = None) -> int:
    """The exit code of `bartos edit`; with answers, a person is at the terminal."""
    stdin = io.StringIO(answers or "")
    monkeypatch.setattr(stdin, "isatty", lambda: answers is not None)
    monkeypatch.setattr(sys, "stdin", stdin)
    return bartos.cli.app(["edit", *words], program="bartos")


CHANGE = 'sed -i s/02:00/03:30/ "$f"'


def test_what_is_right_is_installed_on_yes_and_the_old_one_is_kept(
    etc: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = etc / "bartos.toml"
    main.chmod(0o640)
    log = edits(monkeypatch, CHANGE)
    assert edit(monkeypatch, "backup", answers="y\n") == 0
    said = capsys.readouterr()
    assert log.read_text().startswith("+3 ")
    assert '    on_calendar  "02:00" -> "03:30"' in said.out.splitlines()
    assert "install it? [y/N/e, to edit again] " in said.err
    assert f"installed; the old one is {main}.~1~" in said.out
    assert said.out.endswith("no server runs here; it counts when one starts\n")
    assert main.read_text() == MAIN.replace("02:00", "03:30")
    assert stat.S_IMODE(main.stat().st_mode) == 0o640
    assert (etc / "bartos.toml.~1~").read_text() == MAIN
    assert list((etc.parent / "tmp").iterdir()) == []
    edits(monkeypatch, "echo '# more' >> \"$f\"")
    assert edit(monkeypatch, "--yes") == 0
    assert (etc / "bartos.toml.~2~").read_text() == MAIN.replace("02:00", "03:30")


def test_a_schedule_is_found_in_schedules_d(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main, more = etc / "bartos.toml", etc / "schedules.d/more.toml"
    assert find(None, main) == Spot(main)
    assert find("second", main) == Spot(more, 7)
    assert find("two", main) == Spot(more, 7)
    assert find("web2/third", main) == find("third", main) == Spot(more, 15)
    with pytest.raises(UserError, match='"secnd"; did you mean "second"'):
        find("secnd", main)
    more.write_text(MORE.replace('"5m"', '"5 moons"'))
    assert find("second", main) == Spot(more, 8)
    log = edits(monkeypatch, "sed -i 's/5 moons/6m/' \"$f\"")
    assert edit(monkeypatch, "first", "--yes") == 0
    assert log.read_text().startswith("+2 ")
    assert more.read_text() == MORE.replace("5m", "6m")
    assert (etc / "schedules.d/more.toml.~1~").exists()


def test_a_name_that_is_none_ends_with_5(
    etc: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bartos", "edit", "bakcup"])
    with pytest.raises(SystemExit) as ended:
        bartos.cli.main()
    assert ended.value.code == 5
    assert 'no schedule is called "bakcup"; did you mean "backup"?' in capsys.readouterr().err


def test_mistakes_are_told_and_edited_again_at_their_line(
    etc: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = edits(monkeypatch, 'sed -i s/02:00/25:00/ "$f"', 'sed -i s/25:00/04:00/ "$f"')
    assert edit(monkeypatch, "backup", answers="\ny\n") == 0
    said = capsys.readouterr()
    assert 'bartos.toml:6: error: schedule "backup": on_calendar: hour is 0 to 23' in said.out
    assert [line.split()[0] for line in log.read_text().splitlines()] == ["+3", "+6"]
    assert '"04:00"' in (etc / "bartos.toml").read_text()


def test_what_stays_wrong_changes_nothing_and_is_not_lost(
    etc: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for answers in ("n\n", None):
        edits(monkeypatch, 'sed -i s/02:00/25:00/ "$f"')
        assert edit(monkeypatch, "backup", "--yes", answers=answers) == 2
        mine = capsys.readouterr().err.strip().rpartition(" ")[2]
        assert '"25:00"' in Path(mine).read_text()
        assert stat.S_IMODE(Path(mine).stat().st_mode) == 0o600
    assert (etc / "bartos.toml").read_text() == MAIN
    assert not (etc / "bartos.toml.~1~").exists()


def test_a_no_changes_nothing(
    etc: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    edits(monkeypatch, CHANGE, CHANGE)
    assert edit(monkeypatch, answers="e\n\n") == 0
    assert "nothing changed; yours is" in capsys.readouterr().err
    edits(monkeypatch, CHANGE)
    assert edit(monkeypatch) == 2
    assert "without a terminal --yes says" in capsys.readouterr().err
    edits(monkeypatch, ":")
    assert edit(monkeypatch) == 0
    assert capsys.readouterr().out == "nothing changed\n"
    assert (etc / "bartos.toml").read_text() == MAIN


def test_an_editor_that_fails_changes_nothing(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edits(monkeypatch, "exit 3")
    with pytest.raises(UserError, match="ended with 3; nothing changed"):
        edit(monkeypatch)
    monkeypatch.setenv("VISUAL", "no-such-editor")
    with pytest.raises(UserError, match="no-such-editor cannot be run"):
        edit(monkeypatch)


def test_what_was_changed_meanwhile_is_not_overwritten(
    etc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits(monkeypatch, f'{CHANGE}; echo "# other" >> {etc}/bartos.toml')
    with pytest.raises(UserError, match="was changed meanwhile; yours is"):
        edit(monkeypatch, "--yes")
    assert (etc / "bartos.toml").read_text() == f"{MAIN}# other\n"


def test_a_running_server_is_named(
    etc: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = StateLock(etc.parent / "state")
    lock.take()
    edits(monkeypatch, CHANGE)
    assert edit(monkeypatch, "--yes") == 0
    lock.release()
    assert "the server reads it within seconds" in capsys.readouterr().out


def test_a_running_server_says_what_it_would_do(
    etc: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    barto = Barto()
    asyncio.run(barto.worker("web1"))
    socket = etc.parent / "state/bartos.sock"
    socket.parent.mkdir()
    edits(monkeypatch, CHANGE)
    with on_unix_socket(barto, socket):
        assert edit(monkeypatch, "--yes") == 0
    said = capsys.readouterr()
    assert "    workers  1 worker: web1" in said.out.splitlines()
    assert said.err == ""
    assert ask_server(socket, []) is None  # it has gone


def test_what_is_no_answer_is_none(tmp_path: Path) -> None:
    with on_unix_socket(Barto(), tmp_path / "s"):
        assert ask_server(tmp_path / "s", []) is None


def test_faulty_files_in_place_are_no_reason_to_stop(
    etc: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (etc / "bartos.toml").write_text(MAIN.replace("02:00", "25:00"))
    edits(monkeypatch, 'sed -i s/25:00/05:00/ "$f"')
    assert edit(monkeypatch, "backup", "--yes") == 0
    said = capsys.readouterr()
    assert "+ backup" in said.out.splitlines()
    assert "which workers there are is not known" in said.err
    assert '"05:00"' in (etc / "bartos.toml").read_text()


def test_without_a_file_there_is_nothing_to_edit(
    etc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits(monkeypatch, ":")
    (etc / "bartos.toml").unlink()
    with pytest.raises(ConfigError, match="there is no such file; bartos init"):
        edit(monkeypatch)


def test_a_file_behind_a_link_is_exchanged_where_it_is(etc: Path, tmp_path: Path) -> None:
    real = tmp_path / "repository.toml"
    real.write_text(MAIN)
    (etc / "bartos.toml").unlink()
    (etc / "bartos.toml").symlink_to(real)
    draft = Draft(Spot(etc / "bartos.toml"))
    draft.file.write_text(f"{MAIN}#\n")
    assert draft.install() == tmp_path / "repository.toml.~1~"
    assert (etc / "bartos.toml").is_symlink()
    assert real.read_text() == f"{MAIN}#\n"


def test_a_directory_that_cannot_be_written_is_said(etc: Path) -> None:
    draft = Draft(Spot(etc / "bartos.toml"))
    draft.file.write_text("#\n")
    (etc / ".bartos.toml.new").mkdir()
    with pytest.raises(UserError, match=r"bartos\.toml cannot be written: .*; yours is"):
        draft.install()


def test_a_file_system_without_links_keeps_a_copy(
    etc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Path, target: Path) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", refused)
    file = etc / "bartos.toml"
    before = file.stat().st_mtime_ns
    old = replace_keeping(file, "#\n")
    assert (old.read_text(), file.read_text()) == (MAIN, "#\n")
    assert file.stat().st_mtime_ns > before


# -- the editor -----------------------------------------------------------------------------------


def test_the_editor_is_the_person_s_or_a_usual_one() -> None:
    assert editor({"VISUAL": "code --wait", "EDITOR": "vi"}, lambda _: None) == ["code", "--wait"]
    assert editor({"VISUAL": " ", "EDITOR": "vi"}, lambda _: None) == ["vi"]
    assert editor({}, lambda name: name if name == "nano" else None) == ["nano"]
    with pytest.raises(UserError, match="name one in EDITOR"):
        editor({}, lambda _: None)
    with pytest.raises(UserError, match="EDITOR=': No closing quotation"):
        editor({"EDITOR": "'"}, lambda _: None)


def test_the_line_is_said_as_the_editor_wants_it() -> None:
    assert command_line(["vi"], Path("x"), 1) == ["vi", "x"]
    assert command_line(["/usr/bin/nano", "-w"], Path("x"), 9) == ["/usr/bin/nano", "-w", "+9", "x"]
    assert command_line(["code", "-w"], Path("x"), 9) == ["code", "-w", "--goto", "x:9"]
