"""What the server answers to the commands of barto 1.x, without the mistakes of barto 1.x."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bartos import commands
from bartos.api.app import CLI_PATH, create_app
from bartos.api.guard import over_unix_socket
from bartos.store.port import Pruned, QueryResult
from libbarto.message.v2 import cli as wire
from libbarto.message.v2.record import Verdict
from tests.asgi import websocket
from tests.faces import ERR, KEY, NOON, OUT, SECOND, Barto

MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
APT = (Path(__file__).parent.parent / "vectors" / "updates" / "apt-upgrade.txt").read_bytes()


def plain(value: object) -> object:
    return getattr(value, "value", None)


async def asked(barto: Barto, request: object) -> tuple[list[dict[str, Any]], wire.Done]:
    """The rows that answer `request`, as dicts, and the end."""
    frames = [frame async for frame in commands.answer(request, barto.services)]
    first, *between, last = frames
    assert isinstance(first, wire.Columns), first
    assert isinstance(last, wire.Done), last
    rows = [row for frame in between if isinstance(frame, wire.Rows) for row in frame.rows]
    assert last.count == len(rows)
    return [dict(zip(first.names, map(plain, row), strict=True)) for row in rows], last


async def refused(barto: Barto, request: object) -> tuple[int, str]:
    """The exit code and the message that `request` is refused with."""
    *_, last = [frame async for frame in commands.answer(request, barto.services)]
    assert isinstance(last, wire.Failed)
    return last.exit_code, last.message


# -- list and cmd ---------------------------------------------------------------------------------


async def test_every_run_of_a_list_has_its_own_exit_code() -> None:
    barto = Barto()
    await barto.run("web1", "backup", NOON, [(OUT, b"fine\n")])
    await barto.run(
        "web1",
        "backup",
        NOON + MINUTE,
        [(ERR, b"bad\nworse\n")],
        verdict=Verdict.FAILED,
        codes=(77,),
    )
    await barto.run("web1", "backup", NOON + 2 * MINUTE, verdict=Verdict.FAILED, codes=("9",))
    rows, _ = await asked(barto, wire.List(name="web1", cmd_name="backup"))
    assert [(row["exit_code"], row["signal"], row["stream"], row["line"]) for row in rows] == [
        (0, None, "stdout", "fine"),
        (77, None, "stderr", "bad"),
        (77, None, "stderr", "worse"),
        (None, 9, None, None),
    ]
    assert len({row["run"] for row in rows}) == 3


async def test_a_run_that_goes_on_is_listed_with_what_it_printed_so_far() -> None:
    barto = Barto()
    await barto.run("web1", "slow", printed=[(OUT, b"one\ntw")], verdict=None)
    rows, _ = await asked(barto, wire.List(name="web1", cmd_name="slow"))
    assert [(row["verdict"], row["line"], row["ended"]) for row in rows] == [
        ("running", "one", None),
        ("running", "tw", None),
    ]


async def test_all_steps_of_a_run_are_told() -> None:
    barto = Barto()
    await barto.run("web1", "two", verdict=Verdict.FAILED, codes=(0, "15"))
    rows, _ = await asked(barto, wire.List(name="web1", cmd_name="two"))
    assert rows[0]["steps"] == "exit 0, signal 15"


async def test_output_that_is_no_text_is_told_as_bytes() -> None:
    barto = Barto()
    await barto.run("web1", "odd", printed=[(OUT, b"\xff\x00\n"), (OUT, "ä\n".encode())])
    rows, _ = await asked(barto, wire.List(name="web1", cmd_name="odd"))
    assert [row["line"] for row in rows] == [b"\xff\x00", "ä"]


async def test_a_line_may_come_in_pieces_of_two_streams() -> None:
    barto = Barto()
    printed = [(OUT, b"he"), (ERR, b"no"), (OUT, b"llo\r\nwor"), (ERR, b"pe\n"), (OUT, b"ld")]
    await barto.run("web1", "mixed", printed=printed)
    rows, _ = await asked(barto, wire.List(name="web1", cmd_name="mixed"))
    assert [(row["stream"], row["line"]) for row in rows] == [
        ("stdout", "hello"),
        ("stderr", "nope"),
        ("stdout", "world"),
    ]


async def test_the_newest_runs_are_listed_and_the_rest_is_told() -> None:
    barto = Barto()
    for number in range(5):
        await barto.run("web1", "tick", NOON + number * MINUTE, [(OUT, b"%d\n" % number)])
    rows, end = await asked(barto, wire.List(name="web1", cmd_name="tick", limit=2))
    assert [row["line"] for row in rows] == ["3", "4"]
    assert end.truncated
    assert "newest 2" in end.note
    assert (await refused(barto, wire.List(name="web1", cmd_name="tick", limit=0)))[0] == 2
    assert (await refused(barto, wire.Cmd(cmd_name="tick", limit=10**6)))[0] == 2


async def test_a_list_without_a_schedule_names_them_as_barto_1_knew_them() -> None:
    barto = Barto()
    await barto.run("web1", "web1/backup")
    await barto.run("web1", "sync")
    await barto.run("web2", "other")
    rows, _ = await asked(barto, wire.List(name="web1"))
    assert [row["schedule"] for row in rows] == ["sync", "backup"]
    rows, _ = await asked(barto, wire.List(name="web1", cmd_name="backup"))
    assert rows[0]["schedule"] == "web1/backup"


async def test_an_unknown_name_is_told_with_the_nearest() -> None:
    barto = Barto()
    await barto.run("web1", "backup")
    assert await refused(barto, wire.List(name="wbe1")) == (
        5,
        'no worker is called "wbe1"; did you mean "web1"?',
    )
    assert await refused(barto, wire.List(name="web1", cmd_name="bakcup")) == (
        5,
        'no schedule is called "bakcup"; did you mean "backup"?',
    )
    assert (await refused(barto, wire.Cmd(cmd_name="zzz")))[1] == 'no schedule is called "zzz"'
    assert (await refused(barto, wire.Updates(name="web9", kind=3)))[0] == 5


async def test_cmd_goes_by_worker_then_time() -> None:
    barto = Barto()
    await barto.run("web2", "sync", NOON, [(OUT, b"2a\n")])
    await barto.run("web1", "sync", NOON + MINUTE, [(OUT, b"1b\n")])
    await barto.run("web1", "sync", NOON, [(OUT, b"1a\n")])
    rows, _ = await asked(barto, wire.Cmd(cmd_name="sync"))
    assert [(row["worker"], row["line"]) for row in rows] == [
        ("web1", "1a"),
        ("web1", "1b"),
        ("web2", "2a"),
    ]


# -- failed ---------------------------------------------------------------------------------------


async def test_failed_counts_runs_and_not_lines_and_shows_the_code() -> None:
    barto = Barto()
    await barto.run("web1", "ok", printed=[(OUT, b"x\n" * 10)])
    await barto.run("web1", "going", verdict=None)
    ends: list[tuple[Verdict, int | str]] = [
        (Verdict.FAILED, 255),
        (Verdict.FAILED, -1073741819),
        (Verdict.TIMED_OUT, "15"),
        (Verdict.CANCELLED, "9"),
    ]
    for number, (verdict, code) in enumerate(ends):
        await barto.run(
            "web1",
            "bad",
            NOON + number * MINUTE,
            [(OUT, b"x\n" * 10)],
            verdict=verdict,
            codes=(code,),
        )
    await barto.run(
        "web1",
        "lost",
        NOON - MINUTE,
        verdict=Verdict.INTERRUPTED,
        codes=(),
        reason="may or may not have started",
    )
    rows, _ = await asked(barto, wire.FailedRuns())
    assert [(row["verdict"], row["exit_code"], row["signal"]) for row in rows] == [
        ("cancelled", None, 9),
        ("timed_out", None, 15),
        ("failed", -1073741819, None),
        ("failed", 255, None),
        ("interrupted", None, None),
    ]
    assert rows[-1]["reason"] == "may or may not have started"


# -- the others -----------------------------------------------------------------------------------


async def test_info_tells_the_server_and_no_secret() -> None:
    rows, _ = await asked(Barto(), wire.Info())
    told = {(row["category"], row["label"]): row["value"] for row in rows}
    assert told["server", "Store"] == "sqlite barto.db"
    assert told["server", "Configuration"] == "bartos.toml"
    assert {("build", "Version"), ("git", "Commit"), ("git", "Commit Date")} <= set(told)
    assert KEY not in str(rows)


async def test_clients_tells_who_is_here_and_who_is_away() -> None:
    barto = Barto()
    await barto.worker("web2", connected=False)
    await barto.worker("web1", kernel="6.1.0")
    rows, _ = await asked(barto, wire.Clients())
    assert [(row["name"], row["state"], row["address"], row["version"]) for row in rows] == [
        ("web1", "connected", "192.0.2.10", "2.0.1"),
        ("web2", "away", "192.0.2.9", "2.0.0"),
    ]
    assert (rows[0]["os"], rows[0]["kernel"], rows[0]["labels"]) == ("Debian", "6.1.0", "role=web")
    assert (rows[0]["since"], rows[1]["since"]) == (NOON - MINUTE, None)


async def test_a_join_code_comes_with_the_command_to_type() -> None:
    barto = Barto()
    rows, end = await asked(barto, wire.WorkerAdd(name="web1", labels={"role": "db"}))
    assert rows[0]["command"] == "bartoc join https://barto.test:21526 code-web1-role.db"
    assert end.note == ""
    await barto.worker("web1")
    assert "known already" in (await asked(barto, wire.WorkerAdd(name="web1")))[1].note
    assert (await refused(barto, wire.WorkerAdd(name="web 1")))[0] == 2


async def test_query_shows_every_kind_of_value() -> None:
    barto = Barto()
    moment = datetime(2026, 11, 24, 12, tzinfo=UTC)
    values = (
        None,
        -5,
        True,
        1.5,
        "x",
        b"\xff",
        Decimal("1.10"),
        moment,
        moment.replace(tzinfo=None),
        moment.date(),
        1 << 70,
        "\ud800",
    )
    barto.store.results["SELECT"] = QueryResult(tuple("aabcdefghijk"), (values,), truncated=True)
    frames = [frame async for frame in commands.answer(wire.Query(query="SELECT"), barto.services)]
    columns, rows, end = frames
    assert isinstance(columns, wire.Columns)
    assert columns.names == list("aabcdefghijk")
    assert isinstance(rows, wire.Rows)
    assert rows.rows == [
        [
            wire.Null(),
            wire.Integer(value=-5),
            wire.Flag(value=True),
            wire.Real(value=1.5),
            wire.Text(value="x"),
            wire.Blob(value=b"\xff"),
            wire.Text(value="1.10"),
            wire.Moment(value=NOON),
            wire.Moment(value=NOON),
            wire.Text(value="2026-11-24"),
            wire.Text(value=str(1 << 70)),
            wire.Text(value="?"),
        ]
    ]
    assert isinstance(end, wire.Done)
    assert (end.truncated, end.note) == (True, "cut off after 1 rows")
    assert (await refused(barto, wire.Query(query="DROP")))[0] == 2


async def test_cleanup_alone_applies_the_retention_to_its_end() -> None:
    barto = Barto()
    await barto.worker("web1")
    barto.store.to_prune = [Pruned(500, 10, 1, 1, more=True), Pruned(20, 5, 0, 0)]
    (row,), _ = await asked(barto, wire.Cleanup())
    assert (row["output_rows"], row["output_bytes"], row["status_rows"]) == (520, 15, 1)
    assert (row["runs"], row["workers"], row["dry_run"]) == (1, 1, False)
    assert [keep for keep, _ in barto.store.pruned] == [barto.facts.retention] * 2
    assert barto.fleet.asked == [NOON - 7 * DAY]


async def test_cleanup_by_age_goes_by_that_age_alone() -> None:
    barto = Barto()
    await asked(barto, wire.Cleanup(older_than_us=2 * DAY))
    keep, _ = barto.store.pruned[0]
    assert (keep.output_age, keep.verdict_age) == (2 * 86_400, 2 * 86_400)
    assert keep.total_bytes > 1 << 60
    assert barto.fleet.asked == [NOON - 2 * DAY]


async def test_a_dry_run_drops_nothing_and_asks_nobody() -> None:
    barto = Barto()
    await barto.worker("web1")
    (row,), _ = await asked(barto, wire.Cleanup(older_than_us=DAY, dry_run=True))
    assert (row["output_rows"], row["workers"], row["dry_run"]) == (5, 1, True)
    assert [dry for _, dry in barto.store.pruned] == [True]
    assert barto.fleet.asked == []


async def test_only_the_newest_update_check_counts() -> None:
    barto = Barto()
    old = b"The following packages will be upgraded:\n  old-package\n"
    await barto.run("web1", "updates", NOON, [(OUT, old)])
    await barto.run("web1", "updates", NOON + DAY, [(OUT, APT)])
    await barto.run("web1", "hello", NOON + 2 * DAY, [(OUT, b"hello\n")])
    await barto.run(
        "web1", "updates", NOON + 3 * DAY, [(OUT, old)], verdict=Verdict.FAILED, codes=(100,)
    )
    rows, _ = await asked(barto, wire.Updates(name="web1", kind=wire.UpdateKind.APT))
    assert len(rows) == 132
    assert (rows[0]["package"], rows[0]["old_version"]) == ("appstream", "0.16.1-2")
    assert rows[0]["checked"] == NOON + DAY + 1000 + 2 * SECOND


async def test_a_check_that_found_nothing_hides_an_older_one() -> None:
    barto = Barto()
    nothing = b"0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n"
    await barto.run("web1", "updates", NOON, [(OUT, APT)])
    await barto.run("web1", "updates", NOON + DAY, [(OUT, nothing)])
    assert (await asked(barto, wire.Updates(name="web1", kind=wire.UpdateKind.APT)))[0] == []


async def test_a_worker_without_a_check_is_told() -> None:
    barto = Barto()
    await barto.run("web1", "hello", printed=[(OUT, b"hello\n")])
    code, message = await refused(barto, wire.Updates(name="web1", kind=wire.UpdateKind.PACMAN))
    assert (code, "pacman" in message) == (5, True)
    assert (await refused(barto, wire.Updates(name="web1", kind=99)))[0] == 2


async def test_whatever_happens_there_is_an_answer() -> None:
    barto = Barto()
    assert (await refused(barto, object()))[0] == 2
    barto.store.available = False
    for request in (wire.Clients(), wire.List(name="web1"), wire.FailedRuns()):
        assert (await refused(barto, request))[0] == 3
    barto.store = None  # type: ignore[assignment]  # an error that nobody foresaw
    assert await refused(barto, wire.Clients()) == (1, "an error in bartos; its log has more")


# -- frames ---------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(st.lists(st.integers(0, 40_000), max_size=30))
async def test_rows_come_in_frames_that_fit_the_wire(lengths: list[int]) -> None:
    barto = Barto()
    rows = tuple(("x" * length, b"y" * (length // 2)) for length in lengths)
    barto.store.results["SELECT"] = QueryResult(("a", "b"), rows, truncated=False)
    frames = [frame async for frame in commands.answer(wire.Query(query="SELECT"), barto.services)]
    assert all(len(wire.CLI_ANSWER.encode(frame)) <= 64 * 1024 for frame in frames)
    found = [row for frame in frames if isinstance(frame, wire.Rows) for row in frame.rows]
    assert [tuple(map(plain, row)) for row in found] == list(rows)


async def over(link: Any) -> list[object]:
    frames: list[object] = []
    while not frames or not isinstance(frames[-1], wire.Done | wire.Failed):
        message = await link.receive()
        assert message["type"] == "websocket.send"
        frames.append(wire.CLI_ANSWER.decode(message["bytes"]))
    return frames


async def test_requests_over_the_websocket_are_answered_one_after_another() -> None:
    barto = Barto()
    await barto.worker("web1")
    app = over_unix_socket(create_app(barto.services))
    async with websocket(app, f"{CLI_PATH}?name=me") as link:
        accepted = await link.receive()
        assert (accepted["type"], accepted["subprotocol"]) == ("websocket.accept", "barto.v2")
        for request in (wire.Info(), wire.Clients()):
            await link.send(wire.CLI_REQUEST.encode(request))
            columns, *_, end = await over(link)
            assert isinstance(columns, wire.Columns)
            assert isinstance(end, wire.Done)


async def test_a_request_that_cannot_be_read_is_answered_and_the_next_one_too() -> None:
    app = over_unix_socket(create_app(Barto().services))
    async with websocket(app, CLI_PATH) as link:
        await link.receive()
        for junk in (b"", b"\xff", b"\x01\x02\x03", b"\x7f\x00"):
            await link.send(junk)
            (failed,) = await over(link)
            assert isinstance(failed, wire.Failed)
            assert failed.exit_code == 2
        await link.send(wire.CLI_REQUEST.encode(wire.Info()))
        assert isinstance((await over(link))[-1], wire.Done)


async def test_text_and_other_protocols_are_refused() -> None:
    app = over_unix_socket(create_app(Barto().services))
    async with websocket(app, CLI_PATH) as link:
        await link.receive()
        await link.say("hello")
        assert (await link.receive())["code"] == 1003
    async with websocket(app, CLI_PATH, subprotocols=()) as link:
        assert (await link.receive())["type"] == "websocket.close"
