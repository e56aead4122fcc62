"""How an answer to "why" looks on a terminal, and how the time of a planned start is written."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast
from zoneinfo import ZoneInfo

import pytest

from barto_cli.client import NO_SUCH_THING, Failure
from barto_cli.commands.history import show
from barto_cli.commands.logs import Asked, logs
from barto_cli.commands.why import told
from barto_cli.commands.why import why as why_command
from barto_cli.given import Given
from barto_cli.render import Format, Screen, lines_of, width_of
from barto_cli.times import UTC_ZONE, Zone, moment
from bartos import why
from bartos.api.why import Why
from bartos.asking_why import Answer
from bartos.why import Away, Facts, Policies, explain
from libbarto.errors import UserError
from libbarto.message.v2.record import Verdict
from tests.unit.test_why import a_range, a_run, a_step, berlin, some

BERLIN = Zone("Europe/Berlin", ZoneInfo("Europe/Berlin"))
NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
SCREEN = Screen(BERLIN, NOW, terminal=True, width=60, shapes=True)

MISSED = some(
    a_range(Verdict.MISSED, why.ASLEEP), away=Away(berlin("24 01:12"), berlin("24 08:31"))
)
FAILED = some(
    a_run(Verdict.FAILED, exit_code=127),
    steps=[a_step(exit_code=127, success=False)],
    lines=["sh: 1: pg_dmup: not found", "\x1b[2J"],
    policies=Policies(runbook="https://wiki/backup"),
)


def shown(facts: Facts, screen: Screen = SCREEN) -> list[str]:
    answer = Why.of(Answer(explain(facts), facts))
    return list(told(answer.model_dump(mode="json"), screen))


def test_a_paragraph_is_wrapped_and_commands_are_not() -> None:
    assert shown(MISSED) == [
        "○ backup on web1, due Tue 24 Nov 02:00 (Europe/Berlin): not",
        "run (missed).",
        "web1 was away from 01:12 to 08:31 (asleep); at 08:31 it was",
        "6h31m late, and catch_up is 1h.",
        "Next: Wed 25 Nov 02:00.",
        "To run it now:  barto run backup --on web1",
    ]


def test_what_it_printed_is_set_apart_and_does_no_harm() -> None:
    assert shown(FAILED, replace(SCREEN, width=200)) == [
        "■ backup on web1, due Tue 24 Nov 02:00 (Europe/Berlin): failed, "
        "exit 127 (the command was not",
        "found).",
        "It has never been ok here, as far as the history goes.",
        "",
        "  | sh: 1: pg_dmup: not found",
        "  | \\x1b[2J",
        "",
        "Next: Wed 25 Nov 02:00.",
        "All that it printed:  barto logs 00010203-0405-0607-0809-0a0b0c0d0e0f",
        "To run it once more:  barto rerun 00010203-0405-0607-0809-0a0b0c0d0e0f",
        "Runbook: https://wiki/backup",
    ]


def test_colour_is_for_the_state_alone() -> None:
    lines = shown(FAILED, replace(SCREEN, colour=True, shapes=False))
    assert lines[0].startswith("\x1b[31mbackup on web1, due")
    assert "\x1b" not in lines[2]


def test_on_the_narrowest_of_screens_it_can_still_be_read() -> None:
    assert max(map(width_of, shown(MISSED, replace(SCREEN, width=3))[:8])) <= 20


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("02:00", "2026-11-24T02:00:00+01:00"),
        ("9:30", "2026-11-23T09:30:00+01:00"),
        ("02:00:41", "2026-11-24T02:00:41+01:00"),
        ("yesterday 02:00", "2026-11-23T02:00:00+01:00"),
        ("today 23:00", "2026-11-24T23:00:00+01:00"),
        ("2026-11-20 02:00", "2026-11-20T02:00:00+01:00"),
        ("2026-11-20T02:00:00Z", "2026-11-20T02:00:00+00:00"),
        ("2h", "2026-11-24T07:00:00+01:00"),
    ],
)
def test_a_planned_start_is_named_in_the_reader_s_zone(text: str, meant: str) -> None:
    assert moment(text, NOW, BERLIN) == datetime.fromisoformat(meant)


def test_what_counts_back_from_now_means_no_second() -> None:
    now = NOW.replace(second=59, microsecond=5)
    assert moment("2h", now, UTC_ZONE) == NOW.replace(hour=6)


@pytest.mark.parametrize("text", ["25:00", "02:61", "noon"])
def test_what_is_no_time_is_refused_with_how_it_is_written(text: str) -> None:
    with pytest.raises(UserError, match="is not a time"):
        moment(text, NOW, BERLIN)


class Knows:
    """A server that knows no schedule, and one run."""

    def __init__(self, run: str) -> None:
        self.run = run

    def get(self, path: str, query: dict[str, str | None]) -> dict[str, str]:
        if "schedule" in query:
            raise Failure(NO_SUCH_THING, f'no schedule is called "{query["schedule"]}"')
        if not self.run.startswith(query["run"] or ""):
            raise Failure(NO_SUCH_THING, "no run has an id that begins so")
        return {"text": "of a run"}


def asked(subject: str, **more: str | None) -> str:
    written: list[str] = []
    given = SimpleNamespace(
        client=Knows("01a20e5f"), screen=SCREEN, form=Format.JSON, write=written.extend
    )
    why_command(cast(Given, given), subject, **{"on": None, "at": None, **more})
    return "".join(written)


def test_a_short_beginning_of_an_id_means_the_run_where_no_schedule_is_called_so() -> None:
    assert "of a run" in asked("01a2")
    assert "of a run" in asked("01a20e5f")
    for subject, more in (("beef", {}), ("01a2", {"on": "web1"}), ("backup", {})):
        with pytest.raises(Failure, match="no schedule is called"):
            asked(subject, **more)
    with pytest.raises(Failure, match="without --on and --at"):
        asked("@last", on="web1")


WAITS = {
    "headline": "backup on web1, by hand at 02:00: waiting.",
    "because": ["web1 is away."],
    "text": "backup waits for web1",
    "state": "waiting",
    "slot": "2026-11-24T02:00:00Z",
    "worker": "web1",
    "schedule": "backup",
    "order": "abababab-abab-abab-abab-abababababab",
}


class Waits:
    """A server that has one start that waits, and no run."""

    def get(self, path: str, query: dict[str, str | None] | None = None) -> dict[str, object]:
        if path == "/api/v1/why" and query is not None and query["run"] == "abab":
            return dict(WAITS)
        if path.startswith("/api/v1/names/"):
            return {"names": []}
        raise Failure(NO_SUCH_THING, "no run has an id that begins so")


def given_that_waits(form: Format) -> tuple[Given, list[str], list[str]]:
    written: list[str] = []
    noted: list[str] = []
    screen = replace(SCREEN, terminal=False)
    given = SimpleNamespace(
        **{"client": Waits(), "screen": screen, "form": form, "for_people": form is Format.TABLE},
        **{"write": written.extend, "note": noted.append},
        emit=lambda listing: written.extend(lines_of(listing, form, screen)),
    )
    return cast(Given, given), written, noted


def test_show_and_logs_of_a_start_that_waits_say_for_whom() -> None:
    given, written, noted = given_that_waits(Format.TABLE)
    show(given, "abab")
    logs(given, Asked("abab"))
    assert written == ["backup waits for web1"]
    assert noted == [
        "nothing is printed yet: backup on web1, by hand at 02:00: waiting. web1 is away."
    ]
    given, written, _ = given_that_waits(Format.JSON)
    show(given, "abab")
    (row,) = json.loads("".join(written))
    assert (row["id"], row["verdict"], row["reason"]) == (
        WAITS["order"],
        "waiting",
        "web1 is away.",
    )


def test_show_and_logs_of_what_is_no_start_either_say_that_there_is_none() -> None:
    given, *_ = given_that_waits(Format.TABLE)
    with pytest.raises(Failure, match="no run has an id"):
        show(given, "beef")
    with pytest.raises(Failure, match="no run has an id"):
        logs(given, Asked("beef"))
