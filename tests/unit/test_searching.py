"""A search in output finds what is there, over the borders of chunks, and goes on from a mark."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartos.api.app import create_app
from bartos.api.guard import over_unix_socket
from bartos.api.search import BUDGET_S
from bartos.searching import Hit, Line, Mark, Needle, Numbering, Searching
from bartos.store.port import ChunkRow
from bartos.transcript import LINE_MAX, Piece
from libbarto.message.v2 import segment
from libbarto.message.v2.record import Stream, Verdict
from tests.asgi import request
from tests.faces import ERR, NOON, OUT, SECOND, Barto, Store

Parts = Sequence[tuple[Stream, bytes]]


def chunk(number: int, parts: Parts) -> ChunkRow:
    packed = segment.pack([segment.Segment(stream=s, length=len(data)) for s, data in parts])
    return ChunkRow(number, 0, 0, 0, 0, NOON, packed, b"".join(data for _, data in parts))


def search(chunks: Sequence[ChunkRow], needle: Needle, room: int = 1 << 30) -> list[Hit]:
    """All that is found; with `room` the search stops whenever so much is, and goes on anew."""
    hits: dict[int, Hit] = {}
    mark = Mark()
    while True:
        searching = Searching(needle, mark)
        left = [it for it in chunks if it.chunk_no > searching.after]
        for one in left:
            found = searching.feed(one, room)
            for hit in found:
                hits.setdefault(hit.number, hit)
            if len(found) >= room:
                for hit in searching.left():
                    hits.setdefault(hit.number, hit)
                break
        else:
            for hit in searching.rest():
                hits.setdefault(hit.number, hit)
            return [hits[number] for number in sorted(hits)]
        mark = searching.mark


def test_a_text_is_found_over_the_border_of_chunks() -> None:
    chunks = [
        chunk(0, [(OUT, b"one\ntwo nee")]),
        chunk(1, [(ERR, b"an error\n")]),
        chunk(2, [(OUT, b"dle\nthree\n"), (ERR, b"Needle")]),
    ]
    found = search(chunks, Needle("needle"))
    assert [(hit.number, hit.stream, hit.text[hit.start : hit.end]) for hit in found] == [
        (2, OUT, "needle"),
        (5, ERR, "Needle"),
    ]
    assert [hit.number for hit in search(chunks, Needle("needle", exact=True))] == [2]


def test_a_text_is_found_as_a_reader_sees_it() -> None:
    chunks = [chunk(0, [(OUT, b"\x1b[31mer\x1b[1mror\x1b[0m\n  10%\r 100%\nerr\x1b]0;x\x07or\n")])]
    assert [hit.number for hit in search(chunks, Needle("error"))] == [1, 3]
    assert search(chunks, Needle("31m")) == []
    assert [hit.text for hit in search(chunks, Needle("100%"))] == [" 100%"]


def test_a_long_line_is_told_cut_to_what_is_around() -> None:
    chunks = [chunk(0, [(OUT, b"x" * 1000 + b"needle" + b"y" * 1000 + b"\n")])]
    (hit,) = search(chunks, Needle("needle"))
    assert len(hit.text) == 406
    assert hit.text[hit.start : hit.end] == "needle"


def test_a_line_that_is_too_long_counts_as_several() -> None:
    numbering = Numbering()
    piece = Piece(0, 0, OUT, 0, b"x" * (2 * LINE_MAX + 5) + b"\nnext\n")
    lines = list(numbering.feed(piece))
    assert [(line.number, len(line.data)) for line in lines] == [
        (1, LINE_MAX),
        (2, LINE_MAX),
        (3, 5),
        (4, 4),
    ]


STREAMS = st.sampled_from([OUT, ERR])
WORDS = (b"ne", b"edle", b"needle", b"\n", b"x\n", b"", b"dle\nn")
PARTS = st.lists(
    st.lists(
        st.tuples(STREAMS, st.sampled_from(WORDS)),
        max_size=4,
    ),
    max_size=8,
)


@given(PARTS, st.integers(1, 3))
def test_a_search_that_stops_and_goes_on_finds_what_one_at_once_does(
    parts: list[list[tuple[Stream, bytes]]], room: int
) -> None:
    chunks = [chunk(number, part) for number, part in enumerate(parts)]
    whole = search(chunks, Needle("needle"))
    assert [hit.number for hit in search(chunks, Needle("needle"), room)] == [
        hit.number for hit in whole
    ]


@given(PARTS)
def test_what_is_found_is_what_the_lines_have(parts: list[list[tuple[Stream, bytes]]]) -> None:
    numbering = Numbering()
    lines: list[Line] = []
    for number, part in enumerate(parts):
        for stream, data in part:
            lines += numbering.feed(Piece(number, 0, stream, 0, data))
    lines += numbering.rest()
    assert sorted(line.number for line in lines) == list(range(1, len(lines) + 1))
    wanted = sorted(line.number for line in lines if b"needle" in line.data)
    chunks = [chunk(number, part) for number, part in enumerate(parts)]
    assert [hit.number for hit in search(chunks, Needle("needle"))] == wanted


# -- over HTTP ------------------------------------------------------------------------------------


async def got(barto: Barto, path: str, status: int = 200) -> Any:
    app = over_unix_socket(create_app(barto.services))
    answer = await request(app, path)
    assert answer.status == status, answer.body
    return answer.json()


async def test_the_newest_runs_come_first_with_their_lines() -> None:
    barto = Barto()
    old = await barto.run("web1", "backup", NOON - SECOND, [(OUT, b"all well\n")])
    new = await barto.run(
        "web2", "backup", NOON, [(OUT, b"a\n"), (ERR, b"Well, no\n")], verdict=Verdict.FAILED
    )
    told = await got(barto, "/api/v1/output/search?text=well")
    found = [(one["run"].replace("-", ""), one["line"], one["stream"]) for one in told["lines"]]
    assert found == [(new, 2, "stderr"), (old, 1, "stdout")]
    assert told["lines"][0]["text"] == "Well, no"
    assert told["lines"][0]["verdict"] == "failed"
    assert (told["runs"], told["bytes"], told["next"], told["stopped"]) == (2, 20, None, None)
    one = await got(barto, "/api/v1/output/search?text=well&worker=web1&exact=true")
    assert len(one["lines"]) == 1


async def test_a_search_ends_with_its_limit_and_goes_on_with_its_cursor() -> None:
    barto = Barto()
    for number in range(3):
        lines = b"".join(b"hit %d\n" % line for line in range(4))
        await barto.run("web1", "tick", NOON + number * SECOND, [(OUT, lines)] * 2)
    seen: list[tuple[str, int]] = []
    cursor = ""
    while True:
        told = await got(barto, f"/api/v1/output/search?text=hit&limit=5{cursor}")
        seen += [(one["slot"], one["line"]) for one in told["lines"]]
        if told["next"] is None:
            break
        cursor = f"&cursor={quote(told['next'])}"
    assert len(seen) == len(set(seen)) == 24
    assert seen == sorted(seen, key=lambda one: (one[0], -one[1]), reverse=True)


async def test_a_run_is_searched_by_itself() -> None:
    barto = Barto()
    run = await barto.run("web1", "tick", printed=[(OUT, b"one\nhit\nhit"), (OUT, b"!\n")])
    first = await got(barto, f"/api/v1/runs/{run}/output/search?text=hit&limit=1")
    assert [one["line"] for one in first["lines"]] == [2]
    more = await got(
        barto, f"/api/v1/runs/{run}/output/search?text=hit&cursor={quote(first['next'])}"
    )
    assert [(one["line"], one["text"]) for one in more["lines"]] == [(3, "hit!")]
    other = await barto.run("web2", "tick", printed=[(OUT, b"x\n")])
    said = await got(
        barto, f"/api/v1/runs/{other}/output/search?text=x&cursor={quote(first['next'])}", 404
    )
    assert said["detail"] == "that cursor is of another search"


@pytest.mark.parametrize("cursor", ["x", "AAAA", "k8QAAA", "%F0%9F%98%80"])
async def test_a_cursor_that_is_none_of_ours_is_a_problem(cursor: str) -> None:
    said = await got(Barto(), f"/api/v1/output/search?text=x&cursor={cursor}", 404)
    assert said["detail"] == "that cursor is none of ours"


class _SlowStore(Store):
    """Each look at chunks takes 0.7 seconds."""

    async def chunks(
        self, run_id: bytes, attempt: int, after: int = -1, limit: int = 64
    ) -> list[ChunkRow]:
        await asyncio.sleep(0.7)
        return await super().chunks(run_id, attempt, after, limit)


async def test_a_search_takes_two_seconds_and_says_how_far_it_came() -> None:
    barto = Barto(store=_SlowStore())
    for number in range(10):
        await barto.run("web1", "tick", NOON + number * SECOND, [(OUT, b"hit\n")])
    seen = 0
    cursor = ""
    answers = 0
    while True:
        told = await got(barto, f"/api/v1/output/search?text=hit{cursor}")
        answers += 1
        seen += len(told["lines"])
        if told["next"] is None:
            break
        assert told["stopped"] is not None
        cursor = f"&cursor={quote(told['next'])}"
    assert BUDGET_S == 2.0
    assert (seen, answers > 3) == (10, True)
