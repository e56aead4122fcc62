"""barto-cli verify, give-up, show --check, and what has no verdict yet: what they print and how
they end."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

from libbarto.identity import schedule_uid
from libbarto.message.v2.record import Decided, Verdict
from tests.acceptance.test_cli_commands import MINUTE, Cli, barto, cli, local, ran
from tests.faces import ERR, NOON, OUT, Barto

__all__ = ["barto", "cli", "local"]


async def a_history(barto: Barto) -> None:
    """Minutes 1 to 9: ok, failed, three missed, one runs, one waits, two are late."""
    await barto.takes_on("web1", "backup")
    await barto.run("web1", "backup", NOON + MINUTE)
    await barto.run("web1", "backup", NOON + 2 * MINUTE, verdict=Verdict.FAILED, codes=(1,))
    first, last = NOON + 3 * MINUTE, NOON + 5 * MINUTE
    await barto.did_not_run("web1", "backup", first, last, 3, "too late: asleep")
    await barto.run("web1", "backup", NOON + 6 * MINUTE, verdict=None)
    await barto.waits("web1", "backup", NOON + 7 * MINUTE)
    barto.clock.at = NOON + 9 * MINUTE + 20_000_000


def test_a_whole_history_is_proven(barto: Barto, local: Cli) -> None:
    asyncio.run(a_history(barto))
    code, out, err = local("verify")
    assert (code, err) == (
        0, "1 schedule on a worker, 9 planned starts: each has exactly one line\n",
    )  # fmt: skip
    assert [line.split() for line in out.decode().splitlines()] == [
        ["COUNT", "VERDICT", "WHY"],
        ["1", "ok"],
        ["1", "running"],
        ["1", "waiting", "queue"],
        ["1", "failed"],
        ["3", "missed", "too", "late"],
        ["2", "late"],
    ]
    code, out, _ = local("verify", "backup", "--worker", "web1", "-o", "json")
    proof = json.loads(out)
    assert (code, proof["proven"], proof["pairs"], proof["planned"]) == (0, True, 1, 9)
    assert {"verdict": "missed", "reason": "too late", "count": 3} in proof["counts"]
    _, out, _ = local("verify", "--since", "2026-11-24 12:05:30", "-o", "jsonl")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["verdict"] for row in rows] == ["running", "waiting", "late"]


def test_what_is_missing_is_named_and_ends_with_1(barto: Barto, local: Cli) -> None:
    async def holes() -> None:
        await barto.takes_on("web1", "backup", "sync")
        for minutes in (1, 4, 6):
            await barto.run("web1", "backup", NOON + minutes * MINUTE)
        await barto.run("web1", "sync", NOON + MINUTE)

    asyncio.run(holes())
    code, out, err = local("verify")
    assert code == 1
    assert "2 schedules on workers, 4 planned starts: 2 faults" in err
    lines = out.decode().splitlines()
    assert lines[3].split()[:3] == ["FAULT", "SCHEDULE", "WORKER"]
    assert lines[4].startswith(
        "hole   backup    web1    Tue 24 Nov 12:02:00 to Tue 24 Nov 12:03:00"
    )
    assert "no verdict, though later ones are decided" in lines[4]
    assert " Tue 24 Nov 12:05:00  " in lines[5]
    code, out, _ = local("verify", "-o", "csv")
    assert code == 1
    assert out.decode().splitlines()[0] == (
        "verdict,reason,count,fault,schedule,worker,first,last,text"
    )
    assert local("verify", "sync")[0] == 0
    assert local("verify", "snyc")[0] == 5


def test_many_faults_are_counted_and_some_are_shown(barto: Barto, local: Cli) -> None:
    async def holes() -> None:
        await barto.takes_on("web1", "backup")
        for number in range(60):
            await barto.run("web1", "backup", NOON + (2 + 2 * number) * MINUTE)

    asyncio.run(holes())
    code, out, err = local("verify")
    assert (code, "60 faults, of which 50 are shown" in err) == (1, True)
    assert len(out.decode().splitlines()) == 2 + 1 + 1 + 50


def test_what_has_no_verdict_yet_is_in_the_history(barto: Barto, local: Cli) -> None:
    asyncio.run(a_history(barto))
    skipped = Decided(
        schedule_uid=schedule_uid("backup"), schedule="backup", first_slot=NOON + 8 * MINUTE,
        last_slot=NOON + 9 * MINUTE, count=2, verdict=4, reason="overlap: it was still running",
    )  # fmt: skip
    _, out, _ = local("runs")
    lines = out.decode().splitlines()
    assert "late 2 times" in lines[1]
    assert "waiting: queue" in lines[2]
    assert [
        line.split()[3] for line in local("runs", "--verdict", "late")[1].decode().splitlines()[1:]
    ]

    def words(*filters: str) -> list[str]:
        _, out, _ = local("runs", "-o", "jsonl", *filters)
        return [str(json.loads(line)["verdict"]) for line in out.splitlines()]

    assert words("--verdict", "late") == ["late"]
    assert words("--verdict", "unknown") == []
    assert words("--verdict", "running", "--verdict", "ok") == ["None", "ok"]
    assert words("--running") == ["None"]
    asyncio.run(barto.tell("web1", skipped))
    barto.clock.at += MINUTE


def test_a_run_that_seems_stuck_says_so(barto: Barto, local: Cli) -> None:
    async def hangs() -> None:
        await a_history(barto)
        await barto.tell(
            "web1",
            Decided(
                schedule_uid=schedule_uid("backup"), schedule="backup",
                first_slot=NOON + 8 * MINUTE, last_slot=NOON + 9 * MINUTE, count=2, verdict=4,
                reason="overlap: it was still running",
            ),
        )  # fmt: skip

    asyncio.run(hangs())
    _, out, _ = local("runs", "--running")
    assert "running, seems stuck: 2 planned starts were" in out.decode()
    run = json.loads(local("runs", "--running", "-o", "jsonl")[1])["id"]
    assert (
        "seems stuck: 2 planned starts were skipped because of it" in local("show", run)[1].decode()
    )


def test_giving_up_asks_or_needs_a_yes(barto: Barto, local: Cli) -> None:
    async def away() -> None:
        await barto.takes_on("web1", "backup", connected=False)
        await barto.run("web1", "backup", NOON + MINUTE, verdict=None)
        await barto.waits("web1", "backup", NOON + 2 * MINUTE)
        barto.clock.at = NOON + 6 * MINUTE

    asyncio.run(away())
    assert local("give-up")[0] == 2
    code, out, err = local("give-up", "--worker", "web1")
    assert (code, "would count 5 planned starts as lost; without a terminal say --yes" in err) == (
        2, True,
    )  # fmt: skip
    code, out, err = local("give-up", "backup", "--dry-run")
    assert (code, err) == (0, "5 planned starts would be lost\n")
    assert [line.split()[-2:] for line in out.decode().splitlines()] == [
        ["COUNT", "WAS"],
        ["3", "unknown"],
        ["1", "running"],
        ["1", "waiting"],
    ]
    code, out, err = local("give-up", "backup", "--yes")
    assert (code, err) == (0, "5 planned starts are lost\n")
    code, out, _ = local("verify", "-o", "json")
    counts = {(one["verdict"], one["reason"]): one["count"] for one in json.loads(out)["counts"]}
    assert code == 0
    assert sum(counts.values()) == 5
    assert all(verdict == "lost" for verdict, _ in counts)
    code, out, _ = local("give-up", "--worker", "web1", "-o", "json")
    assert (code, json.loads(out)["count"]) == (0, 0)


def test_stored_output_is_compared_with_what_was_printed(barto: Barto, local: Cli) -> None:
    run = ran(barto, "web1", "backup", printed=[(OUT, b"hi\n"), (ERR, b"no\n")])
    code, out, err = local("show", run, "--check")
    assert (code, "its output is whole" in err) == (0, True)
    assert [line.split() for line in out.decode().splitlines()] == [
        ["STREAM", "PRINTED", "STORED", "SHA-256"],
        ["stdout", "3", "3", "the", "same"],
        ["stderr", "3", "3", "the", "same"],
    ]
    chunks = next(iter(barto.store._chunks.values()))
    chunks[0] = replace(chunks[0], data=b"ho\n")
    code, out, err = local("show", "@last", "--check")
    assert (code, "what is stored is not what was printed" in err) == (1, True)
    del chunks[0]
    code, out, err = local("show", "@last", "--check", "-o", "json")
    assert (code, json.loads(out)["missing_bytes"]) == (1, 3)
    code, out, err = local("show", "@last", "--check")
    assert "3 bytes are not here" in err
    assert local("show", "", "--check")[0] == 2


def test_output_that_was_cut_is_whole_but_for_that(barto: Barto, local: Cli) -> None:
    ran(barto, "web1", "backup", printed=[(OUT, b"hi\n")], cut_bytes=7)
    code, _, err = local("show", "@last", "--check")
    assert code == 0
    assert "whole, but for what was cut; 7 bytes were cut because of output_max" in err
