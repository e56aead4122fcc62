"""Lines of output: put together, searched, merged, told apart; and events as they come."""

from __future__ import annotations

import base64
import io
import itertools
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barto_cli import progress
from barto_cli.commands.logs import Asked
from barto_cli.commands.logs import logs as logs_command
from barto_cli.commands.watch import Teller, line
from barto_cli.events import Event, events
from barto_cli.given import Given, screen_of
from barto_cli.lines import (
    COMPARED,
    PALETTE,
    Group,
    Lines,
    bytes_of,
    colour_of,
    differences,
    largest_first,
    marked,
    names,
    pattern,
    summary,
)
from barto_cli.render import Format, Listing, Screen
from barto_cli.times import UTC_ZONE
from libbarto.errors import UserError

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


# -- lines ----------------------------------------------------------------------------------------


def test_a_line_has_the_time_of_its_first_byte() -> None:
    lines = Lines("web1", "1")
    told = [*lines.feed("stdout", at(0), b"one\ntw")]
    told += [*lines.feed("stderr", at(1), b"err\n")]
    told += [*lines.feed("stdout", at(2), b"o\nthree"), *lines.rest()]
    assert [(one.text, one.stream, (one.at - NOON).seconds) for one in told] == [
        ("one", "stdout", 0),
        ("err", "stderr", 1),
        ("two", "stdout", 0),
        ("three", "stdout", 2),
    ]
    assert [*lines.rest()] == []


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_no_byte_is_lost(pieces: list[bytes]) -> None:
    lines = Lines("web1", "1")
    told = [one for n, piece in enumerate(pieces) for one in lines.feed("stdout", at(n), piece)]
    rest = [*lines.rest()]
    whole = b"".join(one.data + b"\n" for one in told) + b"".join(one.data for one in rest)
    assert whole == b"".join(pieces)


def test_what_is_no_text_is_shown_as_an_escape() -> None:
    lines = Lines("web1", "1")
    data = bytes_of({"text": None, "base64": base64.b64encode(b"\xff!\r\n").decode()})
    assert [one.text for one in lines.feed("stdout", at(0), data)] == ["\\xff!"]
    assert bytes_of({"text": "é", "base64": None}) == b"\xc3\xa9"


@given(st.text(max_size=30))
def test_a_host_has_one_colour(name: str) -> None:
    assert colour_of(name) == colour_of(name)
    assert colour_of(name) in PALETTE


# -- what is looked for ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place"), [("a(b", 1), ("[", 0), ("x{2,1}", 2), ("\x1b(", 4), ("*", 0)]
)
def test_a_bad_expression_is_told_with_its_place(text: str, place: int) -> None:
    with pytest.raises(UserError, match="--grep") as caught:
        pattern(text)
    shown, mark = str(caught.value).split("\n")[1:]
    assert "\x1b" not in shown
    assert mark == " " * (4 + place) + "^"


def test_an_expression_may_be_too_large() -> None:
    with pytest.raises(UserError, match="too large"):
        pattern("x{99999999999}")


def test_what_was_looked_for_is_painted_and_harms_nothing() -> None:
    paint = lambda text, code: f"<{text}>"  # noqa: E731 (one line)
    assert marked("a\x1bfail\x1b fail", pattern("fail"), paint) == "a\\x1b<fail>\\x1b <fail>"
    assert marked("abc", pattern("x*"), paint) == "abc"
    assert marked("a\x07", None, paint) == "a\\x07"


# -- alike, and not -------------------------------------------------------------------------------


def test_the_largest_group_comes_first_and_all_are_counted() -> None:
    groups = largest_first(
        [Group("ok", 1, ["b"], "1"), Group("ok", 797, ["c"], "2"), Group("failed", 2, ["a"], "3")]
    )
    assert [group.run for group in groups] == ["2", "3", "1"]
    assert summary(groups) == "797 hosts the same, 3 differ"
    assert summary(groups[:1]) == "all 797 hosts the same"
    assert summary([groups[0], groups[2]]) == "797 hosts the same, 1 differs"
    assert summary(groups[2:]) == "1 host"


def test_names_are_few() -> None:
    assert names(["a", "b"]) == "a, b"
    assert names([f"web{n}" for n in range(20)], count=5000).endswith("web4 and 4,995 more")


def test_differences_are_told_as_diff_does() -> None:
    assert [*differences(["a", "b"], ["a", "c"], "all", "web3")] == [
        *("--- all", "+++ web3", "@@ -1,2 +1,2 @@", " a", "-b", "+c"),
    ]
    assert [*differences(["a"], ["a"], "all", "web3")] == []
    long = ["x"] * (COMPARED + 1)
    assert "only the first" in [*differences(long, ["x"], "all", "web3")][-1]


# -- events ---------------------------------------------------------------------------------------

STREAM = (
    b'id: 1\n: hi\n\nid: 2\nevent: run\ndata: {"a":\ndata: 1}\n\ndata: nonsense\n\nevent: x\n\n'
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=5))
def test_events_come_whole_however_they_are_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in itertools.pairwise(places)]
    assert [*events(pieces)] == [Event("run", {"a": 1}, "2")]


def run(**more: Any) -> Event:
    facts = {
        "id": "019ab4d2-c0e4-8001-8000-000000000001",
        "attempt": 1,
        "schedule": "backup",
        "worker": "web1",
        "claimed": NOON.isoformat(),
        "started": None,
        "ended": None,
        "seconds": None,
        "verdict": None,
        "reason": "",
        "exit_code": None,
        "signal": None,
        "stuck": None,
    }
    return Event("run", {**facts, **more})


def test_of_a_run_is_told_once_that_it_started_and_once_that_it_ended() -> None:
    teller, screen = Teller(), Screen(UTC_ZONE, NOON)
    started = run(started=NOON.isoformat())
    ended = run(
        started=NOON.isoformat(),
        ended=at(3).isoformat(),
        seconds=3.0,
        verdict="failed",
        exit_code=2,
    )
    again = run(started=at(9).isoformat(), attempt=2)
    told = [teller.told(one) for one in (run(), started, started, ended, ended, again)]
    assert [line(one, screen) for one in told if one is not None] == [
        "Tue 24 Nov 12:00:00  web1  backup  started  019ab4d2-c0e4-8001",
        "Tue 24 Nov 12:00:03  web1  backup  failed, exit 2 after 3s  019ab4d2-c0e4-8001",
        "Tue 24 Nov 12:00:09  web1  backup  started, attempt 2  019ab4d2-c0e4-8001",
    ]


def test_other_events_are_told_too() -> None:
    teller, screen = Teller(), Screen(UTC_ZONE, NOON)
    time = NOON.isoformat()
    worker = {"name": "web1", "connected": True, "since": time, "last_seen": time, "alarm": ""}
    missed = {
        "schedule": "backup",
        "worker": "nas",
        "verdict": "missed",
        "reason": "asleep",
        "count": 3,
        "decided": time,
    }
    for kind, data, words in (
        ("worker", worker, "web1  connected"),
        ("worker", worker | {"connected": False, "alarm": "a copy"}, "web1  away: a copy"),
        ("range", missed, "nas  backup  missed 3 times: asleep"),
        ("schedules", {"schedules": ["a", "b"]}, "a, b  changed"),
        ("pauses", {"schedules": ["*"]}, "paused: all"),
        ("pauses", {"schedules": []}, "nothing is paused any more"),
    ):
        told = teller.told(Event(kind, data))
        assert told is not None
        assert line(told, screen).endswith(words)
    assert teller.told(Event("status", {})) is None


# -- progress -------------------------------------------------------------------------------------


def test_a_bar_shows_how_much_is_done() -> None:
    drawn = progress.line("runs read", 4.5, 400, 800, 80, rich=True)
    assert drawn.endswith("runs read  " + "█" * 12 + "░" * 12 + " 400 of 800  4s")
    assert progress.line("bytes read", 1.0, 5000, None, 80, rich=False).endswith("5,000  1s")
    assert len(progress.line("x" * 100, 1.0, 1, 2, 40, rich=True)) == 39


def test_nothing_is_drawn_where_nobody_looks() -> None:
    out = io.StringIO()
    with progress.Progress(out, on=False).waiting():
        pass
    assert out.getvalue() == ""


def test_while_something_waits_a_line_moves_and_then_it_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "AFTER_S", 0.0)
    monkeypatch.setattr(progress, "EVERY_S", 0.001)
    out = io.StringIO()
    shown = progress.Progress(out, on=True)
    shown.say("runs read", 3, 12)
    with shown.waiting(), shown.waiting():
        while "3 of 12" not in out.getvalue():
            pass
    drawn = out.getvalue()
    assert drawn.endswith(progress.CLEAR)
    with shown.waiting():
        pass
    assert out.getvalue().endswith(progress.CLEAR)


def test_what_shows_itself_has_no_line_beside_it() -> None:
    out = io.StringIO()
    shown = progress.Progress(out, on=True)
    shown.stop()
    with shown.waiting():
        pass
    assert out.getvalue() == ""


@pytest.mark.parametrize(
    ("environment", "colour"),
    [
        ({}, False),
        ({"CLICOLOR_FORCE": "1"}, True),
        ({"CLICOLOR_FORCE": "0"}, False),
        ({"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colours_go_to_a_pipe_only_where_that_is_wished(
    environment: dict[str, str], colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CLICOLOR_FORCE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    screen = screen_of(io.StringIO(), utc=True)
    assert (screen.colour, screen.shapes, screen.width) == (colour, False, None)


class Printed:
    """A server with one run that printed three lines."""

    def get(self, path: str, query: dict[str, object] | None = None) -> dict[str, object]:
        if path.startswith("/api/v1/names/") or "schedules" in path:
            return {"names": [], "schedules": []}
        if not path.endswith("output.json"):
            return {"id": "01a2", "worker": "web1", "attempt": 1, "verdict": "ok", "claimed": AT}
        text = "one\ntwo\nthree\n"
        piece = {"chunk": 0, "step": 1, "stream": "stdout", "at": AT, "text": text, "base64": None}
        return {"segments": [piece], "next": None}


AT = "2026-11-24T01:00:00Z"


def rows_of(**asked: Any) -> list[dict[str, Any]]:
    emitted: list[Listing] = []
    asking = SimpleNamespace(
        client=Printed(), form=Format.JSONL, emit=emitted.append,
        progress=SimpleNamespace(say=lambda *_: None),
    )  # fmt: skip
    logs_command(cast(Given, asking), Asked("@last", **asked))
    return [dict(row) for row in emitted[0].rows]


def test_programs_get_the_lines_that_were_asked_for_and_no_others() -> None:
    assert [row["text"] for row in rows_of(grep="t")] == ["two", "three"]
    assert [row["text"] for row in rows_of(newest=1)] == ["three"]
    assert [row["text"] for row in rows_of()] == ["one\ntwo\nthree\n"], "pieces, where all are"
