"""How is a schedule changed by hand, so that nothing half-done ever counts? On a copy, in the
editor of the person; what is right then takes the place of the file in one step.

The old file stays beside it as `bartos.toml.~1~`, the next time `~2~`, as cp(1) and Emacs number
them; the server reads none of these.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http import client as http
from pathlib import Path
from typing import Any, Final

from bartos.config import read_documents
from bartos.schedules import read_schedules
from libbarto.config import read_text
from libbarto.errors import ConfigError, UserError
from libbarto.places import schedule_files, shown_path
from libbarto.settings import nearest
from libbarto.unix_http import UnixConnection

ANSWER_SECONDS: Final = 60.0
USUAL: Final = ("sensible-editor", "editor", "nano", "vim", "vi")
"""Editors for who has not named one: the first that is there."""
_WITH_GOTO: Final = frozenset(("code", "code-insiders", "codium", "vscodium", "cursor"))
"""Editors that have another way to open a line, and to be waited for."""


class NoSuchSchedule(UserError):
    """No schedule is called so; the exit code is that of DESIGN section 9."""

    exit_code = 5


@dataclass(frozen=True, slots=True)
class Spot:
    """A file, and a line of it from 1."""

    file: Path
    line: int = 1


def find(name: str | None, main: Path) -> Spot:
    """Where a schedule stands, in bartos.toml or in a file of schedules.d; without a name the
    top of bartos.toml. A file with mistakes in it is searched all the same.

    Raises `NoSuchSchedule`.
    """
    if name is None:
        return Spot(main)
    files = [main, *schedule_files(main)]
    documents, _ = read_documents(files)
    definitions = read_schedules(documents).sound
    by_name = {shown_path(file): file for file in files}
    for definition in definitions:
        if name in (definition.name, definition.bare_name, definition.id):
            return Spot(by_name[definition.source.file], definition.source.line)
    written = re.compile(rf"""\s*(?:[{{,]\s*)?name\s*=\s*(["']){re.escape(name)}\1""")
    for file in files:
        for number, line in enumerate((read_text(file) or "").splitlines(), 1):
            if written.match(line):
                return Spot(file, number)
    known = nearest(name, sorted(it.name for it in definitions))
    raise NoSuchSchedule(f'no schedule is called "{name}"{known}')


def editor(environment: Mapping[str, str], there: Callable[[str], str | None]) -> list[str]:
    """The editor's command: $VISUAL, else $EDITOR, else one that is usual (environ(7)).

    `there` finds a program, as `shutil.which` does. Raises `UserError`.
    """
    for variable in ("VISUAL", "EDITOR"):
        text = environment.get(variable, "").strip()
        if text:
            try:
                return shlex.split(text)
            except ValueError as error:
                raise UserError(f"{variable}={text}: {error}") from error
    for program in USUAL:
        if there(program) is not None:
            return [program]
    raise UserError("no editor was found: name one in EDITOR")


def command_line(editor: Sequence[str], file: Path, line: int) -> list[str]:
    """The editor on a file, at a line.

    >>> command_line(["vim"], Path("a.toml"), 7)
    ['vim', '+7', 'a.toml']
    >>> command_line(["code"], Path("a.toml"), 7)
    ['code', '--wait', '--goto', 'a.toml:7']
    """
    if Path(editor[0]).name in _WITH_GOTO:
        wait = [] if {"-w", "--wait"} & set(editor) else ["--wait"]
        return [*editor, *wait, "--goto", f"{file}:{line}"]
    at = [f"+{line}"] if line > 1 else []
    return [*editor, *at, str(file)]


def ask_server(path: Path, files: Sequence[tuple[str, str]]) -> dict[str, Any] | None:
    """What the server that runs here says to `POST /api/v1/plan`; None where it says nothing."""
    body = json.dumps({"files": [{"name": name, "text": text} for name, text in files]})
    connection = UnixConnection(path, ANSWER_SECONDS)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/api/v1/plan", body.encode(), headers)
        answer = connection.getresponse()
        found = json.loads(answer.read())
    except (OSError, http.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return found if answer.status == HTTPStatus.OK and isinstance(found, dict) else None


class Draft:
    """A copy to edit, in a directory of its own that nobody else can read."""

    def __init__(self, spot: Spot) -> None:
        text = read_text(spot.file)
        if text is None:
            raise ConfigError(f"{shown_path(spot.file)}: there is no such file; bartos init")
        self.spot = spot
        self.before = text
        self.file = Path(tempfile.mkdtemp(prefix="bartos-edit-")) / spot.file.name
        self.file.write_text(text, encoding="utf-8")
        self.file.chmod(0o600)

    @property
    def text(self) -> str:
        """What it says now. Raises `ConfigError`."""
        return read_text(self.file) or ""

    def edit(self, editor: Sequence[str], line: int) -> None:
        """Let the person edit it. Raises `UserError` where the editor fails."""
        command = command_line(editor, self.file, line)
        try:
            code = subprocess.run(command, check=False).returncode
        except OSError as error:
            raise UserError(f"{command[0]} cannot be run: {error.strerror}") from error
        if code != 0:
            raise UserError(f"{command[0]} ended with {code}; nothing changed")

    def install(self) -> Path:
        """Put it in the place of the file; returns what the old one is called now.

        Raises `UserError` where the file was changed meanwhile, or cannot be written.
        """
        file = self.spot.file.resolve()
        if read_text(file) != self.before:
            raise UserError(f"{shown_path(file)} was changed meanwhile; yours is {self.file}")
        try:
            return replace_keeping(file, self.text)
        except OSError as error:
            raise UserError(
                f"{shown_path(file)} cannot be written: {error.strerror}; yours is {self.file}"
            ) from error

    def drop(self) -> None:
        """Forget it."""
        shutil.rmtree(self.file.parent, ignore_errors=True)


def replace_keeping(file: Path, text: str) -> Path:
    """Exchange a file's text in one step, with its mode and owner; the old one stays beside it.

    Raises `OSError`.
    """
    beside = file.with_name(f".{file.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        was = file.stat()
        with os.fdopen(descriptor, "wb") as new:
            new.write(text.encode())
            new.flush()
            shutil.copystat(file, beside)
            with contextlib.suppress(PermissionError):  # who is not root keeps the group at most
                os.fchown(new.fileno(), was.st_uid, was.st_gid)
            os.utime(beside)  # it is new: the server looks at sizes and times
            os.fsync(new.fileno())
        old = _kept(file)
        beside.replace(file)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return old


def _kept(file: Path) -> Path:
    """The file under one more name: the very file, so that nothing of it can get lost."""
    number = 1
    while True:
        old = file.with_name(f"{file.name}.~{number}~")
        try:
            old.hardlink_to(file)
        except FileExistsError:
            number += 1
        except OSError:  # a file system without links
            shutil.copy2(file, old)
            return old
        else:
            return old
