"""The quick way to `calendar` reads what the command line of Typer reads, or leaves it to that."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
import typer.main

from barto_cli import app, start
from barto_cli.asked import OPTIONS, Wanted
from barto_cli.commands import calendar
from barto_cli.render import Format

Asked = tuple[Wanted, Format, bool]


@pytest.fixture
def thorough(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """What the whole command line has asked for."""
    asked: list[Asked] = []

    def answer(wanted: Wanted, form: Format, utc: bool) -> int:
        asked.append((wanted, form, utc))
        return 0

    monkeypatch.setattr(calendar, "answer", answer)
    return asked


PLAIN = [
    ["calendar", "daily"],
    ["calendar", "Mon..Fri 02:30", "Sat 6:00", "--tz", "Europe/Berlin", "-n", "3"],
    ["calendar", "--cron", "0 2 * * *", "--from", "today", "--limit", "1000"],
    ["calendar", "02:R", "--worker", "a", "--schedule", "b", "--utc", "-o", "json"],
    ["calendar", "02:R", "--dst-gap", "skip", "--dst-repeat", "once", "--systemd"],
    ["calendar", "--check", "bartos.toml", "--workers", "30", "--output", "csv"],
    ["-c", "x.toml", "-o", "jsonl", "-q", "--utc", "calendar", "daily"],
    ["--config", "x.toml", "--quiet", "--output", "csv", "calendar", "daily", "-o", "table"],
    ["calendar"],
    ["calendar", ""],
]


@pytest.mark.parametrize("arguments", PLAIN)
def test_both_ways_read_the_same(arguments: list[str], thorough: list[Asked]) -> None:
    quick = start.quickly(arguments)
    assert quick is not None
    assert app.main(arguments) == 0
    assert thorough == [quick]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["runs"],
        ["--help"],
        ["-c"],
        ["-c", "x"],
        ["-v", "calendar", "daily"],
        ["-o", "yaml", "calendar", "daily"],
        ["calendar", "--help"],
        ["calendar", "daily", "--", "x"],
        ["calendar", "daily", "--tz"],
        ["calendar", "daily", "--tz", "-n", "3"],
        ["calendar", "daily", "--tz=UTC"],
        ["calendar", "daily", "-n3"],
        ["calendar", "daily", "-n", "0"],
        ["calendar", "daily", "-n", "1001"],
        ["calendar", "daily", "-n", "three"],
        ["calendar", "daily", "-n", "٣"],
        ["calendar", "daily", "-o", "yaml"],
        ["calendar", "daily", "--nonsense"],
        ["calendar", "-"],
    ],
)
def test_what_is_not_plain_goes_the_thorough_way(arguments: list[str]) -> None:
    assert start.quickly(arguments) is None


def test_both_ways_read_whatever_is_put_together(thorough: list[Asked]) -> None:
    rng = Random(3)
    words = ["daily", "x", "3", "json", "--", "-z", "0", "-n", "--utc", "--tz"]
    words += [flag for option in OPTIONS.values() for flag in option.flags]
    plain = 0
    for _ in range(400):
        arguments = ["calendar", *rng.choices(words, k=rng.randint(0, 6))]
        quick = start.quickly(arguments)
        if quick is not None:
            plain += 1
            thorough.clear()
            assert app.main(arguments) == 0, arguments
            assert thorough == [quick], arguments
    assert plain > 50


def test_every_option_has_one_source() -> None:
    command = typer.main.get_command(app.app).commands["calendar"]  # type: ignore[attr-defined]  # of a group
    told: dict[str, Sequence[str]] = {
        parameter.name: parameter.opts
        for parameter in command.params
        if parameter.param_type_name == "option" and parameter.name != "help"
    }
    assert {name: tuple(flags) for name, flags in told.items()} == {
        name: option.flags for name, option in OPTIONS.items()
    }


def test_the_program_goes_either_way(capsys: pytest.CaptureFixture[str]) -> None:
    assert start.main(["calendar", "2030-01-01 06:00 UTC"]) == 0
    assert "Tue  1 Jan 2030 06:00:00" in capsys.readouterr().out
    assert start.main(["calendar", "25:00"]) == 2
    assert capsys.readouterr().err == "barto-cli: hour is 0 to 23, got 25\n    25:00\n    ^^\n"
    assert start.main(["calendar", "--help"]) == 0
    assert "Asks no server" in capsys.readouterr().out
    assert start.main(["calendar", "daily", "--limit", "0"]) == 2
