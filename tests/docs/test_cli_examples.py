"""Every example of `--help` does what it says, against a server in this process."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from barto_cli import app
from bartos.plan import schedule_rows
from bartos.schedules import load_schedules
from bartos.store.port import QueryResult
from libbarto.message.v2.record import Verdict
from tests.faces import ERR, NOON, OUT, SECOND, Barto
from tests.served import on_unix_socket

ROOT: Final = Path(__file__).resolve().parents[2]
APT: Final = ROOT / "tests" / "vectors" / "updates" / "apt-upgrade.txt"
FILE: Final = "/etc/barto/bartos.toml"
SCHEDULES: Final = "".join(
    f'[[schedule]]\nname = "{name}"\nworkers = "*"\nevery = "5m"\ncmds = ["true"]\n'
    for name in ("backup", "updates", "sync")
)
ELSEWHERE: Final = {
    "watch": "goes on until it is interrupted: tests/acceptance/test_cli_faces.py",
    "logs backup -f": "the same",
    **dict.fromkeys(
        ("run backup", "rerun", "cancel", "pause", "resume", "drain", "undrain", "exec"),
        "needs a dispatcher: tests/acceptance/test_actions.py",
    ),
    "import": "reads this host: tests/acceptance/test_cli_import.py",
    "alerts test": "needs a channel, and tells people",
    "web": "opens a browser: tests/unit/test_web_guard.py",
}
"""What is not run here, by how it begins, and what runs it."""
ENDS: Final = {"plan": 6, "calendar --check": 1, "worker reset": 5}
"""Exit codes that are not 0: there is something to do, something is found, nobody is called so."""


def examples(group: Any) -> Iterator[str]:
    for command in group.commands.values():
        if hasattr(command, "commands"):
            yield from examples(command)
        else:
            yield from command.examples


def shown() -> list[str]:
    """The examples that can be run, without what a shell does with them."""
    found = []
    for text in examples(app.app.group):
        line = text.removeprefix("source <(").removesuffix(")").partition(" > ")[0]
        words = line.removeprefix("barto-cli ")
        if line.startswith("barto-cli ") and not words.startswith(tuple(ELSEWHERE)):
            found.append(words)
    return found


async def history(barto: Barto) -> None:
    """What the examples speak of."""
    rows = schedule_rows(load_schedules([("bartos.toml", SCHEDULES)]), (), NOON)
    await barto.store.replace_schedules(rows, NOON)
    barto.planner.load(rows)
    await barto.run("web1", "backup", NOON, [(OUT, b"warn\n")])
    await barto.run("web1", "updates", NOON, [(OUT, APT.read_bytes())])
    await barto.run("web1", "sync", NOON + SECOND, [(ERR, b"x\n")], verdict=Verdict.FAILED)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("examples")
    barto = Barto()
    sql = "SELECT worker, count(*) FROM runs GROUP BY worker"
    barto.store.results[sql] = QueryResult(("worker", "count(*)"), (("web1", 3),), truncated=False)
    asyncio.run(history(barto))
    path = directory / "bartos.sock"
    file = directory / "barto-cli.toml"
    file.write_text(f'[bartos]\nsocket = "{path}"\n')
    with on_unix_socket(barto, path):
        yield file


@pytest.mark.parametrize("words", shown())
def test_every_example_does_what_it_says(
    words: str,
    config: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in list(os.environ):
        if name.startswith("BARTO"):
            monkeypatch.delenv(name)
    newest = app_said(["show", "@last", "-o", "json"], config, capsys)
    run_id = newest.partition('"id": "')[2].partition('"')[0]
    given = words.replace(FILE, str(ROOT / "examples" / "bartos.toml"))
    given = given.replace("019ab4d2c0e4", run_id)
    code = app.main(["-c", str(config), *shlex.split(given)])
    out, err = capsys.readouterr()
    expected = next((code for begin, code in ENDS.items() if words.startswith(begin)), 0)
    assert (code, "Traceback" in err) == (expected, False), err
    assert out or err


def app_said(arguments: list[str], config: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert app.main(["-c", str(config), *arguments]) == 0
    return capsys.readouterr().out


def test_what_is_run_elsewhere_is_run_there() -> None:
    for why in ELSEWHERE.values():
        *_, file = why.split(": ")
        if "/" in file:
            assert (ROOT / file).exists(), file
