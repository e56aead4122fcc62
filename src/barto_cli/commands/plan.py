"""What would a changed bartos.toml do to what is in force? The command `plan`: the server says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from barto_cli import times
from barto_cli.files import read_file
from barto_cli.given import Given
from barto_cli.render import Format, Listing, json_text
from libbarto.errors import UserError
from libbarto.harmless import safe
from libbarto.places import SCHEDULES_D, schedule_files, shown_path
from libbarto.planned import Look, plan_lines

FAULTY: Final = 2
DIFFERS: Final = 6
MAIN: Final = "bartos.toml"

KEYS: Final = ("change", "name", "was", "trigger", "enabled", "floating", "workers", "keys")


def plan(given: Given, file: Path) -> int:
    """Show it, and return the exit code: 0 nothing to do, 6 changes, 2 a faulty file."""
    files = configuration(file)
    found: dict[str, Any] = given.client.post("/api/v1/plan", {"files": files})
    match given.form:
        case Format.JSON:
            given.write([json_text(found, indent=2)])
        case Format.TABLE:
            given.write(plan_lines(found, _look(given)))
        case _:
            rows = [{**one, "workers": one["workers"]["count"]} for one in found["changes"]]
            given.emit(Listing((), rows, KEYS))
    if not found["usable"]:
        if given.for_people:
            given.note("it cannot be used, and would change nothing")
        return FAULTY
    return DIFFERS if found["changes"] else 0


def _look(given: Given) -> Look:
    screen = given.screen
    return Look(
        time=lambda text: screen.time(times.read(text)),
        zone=screen.zone.name,
        width=screen.width,
        plain=safe,
        paint=screen.paint,
    )


def configuration(file: Path) -> list[dict[str, str]]:
    """bartos.toml and the files of schedules.d beside it, as the server wants them.

    `file` may be one of schedules.d, too. Raises `UserError` for what cannot be read.
    """
    main = file
    if file.absolute().parent.name == SCHEDULES_D:
        main = file.absolute().parent.parent / MAIN
        if not main.exists():
            raise UserError(
                f"{shown_path(file)}: there is no {MAIN} beside {SCHEDULES_D} to read it with"
            )
    paths = [main, *schedule_files(main)]
    return [{"name": shown_path(path), "text": read_file(path)} for path in paths]
