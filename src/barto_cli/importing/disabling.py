"""How are jobs switched off where they came from, and on again? Crontab lines become comments, and
timers are disabled; what was there before is kept, and put back by `--undo`.

A file is exchanged in one step, with its mode and owner. What was done is written down before it
is done, so that it can be undone whatever happens in between.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from barto_cli.importing.host import own_crontab, read_lossless
from barto_cli.importing.jobs import Job
from libbarto.errors import UserError

MARK: Final = "#barto# "
"""What a line begins with that was taken."""
LOG: Final = "imported.json"
PATIENCE: Final = 20.0
OWN: Final = ""
"""In place of a file: the crontab of the user who asks, which crontab(1) writes."""


@dataclass(frozen=True, slots=True)
class Disabler:
    """Switches off and on; `state` is the directory where copies are kept."""

    state: Path

    # -- off --------------------------------------------------------------------------------------

    def disable(self, jobs: Iterable[Job], *, own_units: bool) -> list[str]:
        """Switch jobs off; returns what was done, in words. Raises `UserError`."""
        lines: dict[str, set[int]] = {}
        units: list[str] = []
        for job in jobs:
            if job.unit:
                units.append(job.unit)
            else:
                lines.setdefault(job.file, set()).add(job.line)
        said = [self._comment_out(file, numbers) for file, numbers in lines.items()]
        return said + [self._unit(name, own=own_units) for name in dict.fromkeys(units)]

    def _comment_out(self, file: str, numbers: set[int]) -> str:
        before = _read(file)
        after = commented(before, numbers)
        copy = self._copy(file, before)
        self._note({"file": file, "copy": str(copy), "after": _as_json(after)})
        _write(file, after)
        count = "1 line" if len(numbers) == 1 else f"{len(numbers)} lines"
        return f"{file or 'crontab'}: {count} commented out; as it was: {copy}"

    def _unit(self, name: str, *, own: bool) -> str:
        self._note({"unit": name, "own": own})
        _systemctl(["disable", "--now", name], own=own)
        return f"{name}: disabled"

    # -- on again ---------------------------------------------------------------------------------

    def undo(self) -> list[str]:
        """Put back what was switched off, the last first; returns what was done, in words.

        Raises `UserError` where nothing was, or a file was changed since.
        """
        notes = self._notes()
        if not notes:
            raise UserError(f"nothing was switched off from here ({self.state / LOG})")
        said = []
        while notes:
            note = notes[-1]
            said.append(self._put_back(note))
            notes.pop()
            self._keep(notes)
        return said

    def _put_back(self, note: Mapping[str, Any]) -> str:
        if "unit" in note:
            _systemctl(["enable", "--now", note["unit"]], own=note["own"])
            return f"{note['unit']}: enabled"
        file, copy = note["file"], Path(note["copy"])
        before = read_lossless(copy)
        now = _read(file)
        shown = file or "crontab"
        if now == before:
            return f"{shown}: is as it was"
        if _as_json(now) != note["after"]:
            raise UserError(
                f"{shown} was changed since: take `{MARK.strip()}` from its lines by hand, or put "
                f"{copy} in its place"
            )
        _write(file, before)
        return f"{shown}: as it was"

    # -- what was done ----------------------------------------------------------------------------

    def _copy(self, file: str, text: str) -> Path:
        """Keep a text under a name of its own, as `etc-crontab.~1~`."""
        base = file.strip("/").replace("/", "-") or "crontab"
        with _told(self.state):
            self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = 1
        while (copy := self.state / f"{base}.~{number}~").exists():
            number += 1
        with _told(copy):
            _replace(copy, text)
        return copy

    def _notes(self) -> list[dict[str, Any]]:
        file = self.state / LOG
        if not file.exists():
            return []
        try:
            notes = json.loads(read_lossless(file))
        except ValueError as error:
            raise UserError(f"{file}: cannot be read: {error}") from error
        return list(notes)

    def _note(self, note: Mapping[str, Any]) -> None:
        self._keep([*self._notes(), dict(note)])

    def _keep(self, notes: Sequence[Mapping[str, Any]]) -> None:
        with _told(self.state):
            self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            _replace(self.state / LOG, json.dumps(notes, indent=1))


def commented(text: str, numbers: set[int]) -> str:
    """A text in which these lines (from 1) are comments.

    >>> commented("a\\nb\\n", {2})
    'a\\n#barto# b\\n'
    """
    return "\n".join(
        f"{MARK}{line}" if number in numbers else line
        for number, line in enumerate(text.split("\n"), 1)
    )


def _as_json(text: str) -> str:
    """A text that may hold bytes of no encoding, as JSON can have it."""
    return text.encode("utf-8", "surrogateescape").hex()


def _read(file: str) -> str:
    return (own_crontab() or "") if file == OWN else read_lossless(Path(file))


def _write(file: str, text: str) -> None:
    if file == OWN:
        _told_by(["crontab", "-"], text)
        return
    with _told(Path(file)):
        _replace(Path(file), text)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error


def _replace(path: Path, text: str) -> None:
    """Write a file in one step; one that is there keeps its mode and owner."""
    # cron reads no file with a dot in its name, so it does not see this one.
    beside = path.with_name(f".{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
            if path.exists():
                was = path.stat()
                os.fchown(file.fileno(), was.st_uid, was.st_gid)
                os.fchmod(file.fileno(), was.st_mode & 0o7777)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _systemctl(arguments: Sequence[str], *, own: bool) -> None:
    _told_by(["systemctl", *(["--user"] if own else []), *arguments], "")


def _told_by(command: Sequence[str], given: str) -> None:
    """Run a program that has to do its work. Raises `UserError` that says why it did not."""
    try:
        done = subprocess.run(
            command,
            input=given.encode("utf-8", "surrogateescape"),
            capture_output=True,
            check=False,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{' '.join(command)} does not end") from error
    except OSError as error:
        raise UserError(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise UserError(f"{' '.join(command)} ended with {done.returncode}: {said}")
