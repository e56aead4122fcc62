"""What did runs print, and what do they print now? The command `logs`, of one run or of many hosts.

Of one run the very bytes go to a pipe. Wherever lines of several hosts are mixed, each has its
host before it, in a colour that is always that host's.
"""

from __future__ import annotations

import codecs
import heapq
import re
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from barto_cli import lines, times
from barto_cli.client import NO_SUCH_THING, UNREACHABLE, Failure
from barto_cli.commands.history import outcome, run_path
from barto_cli.commands.naming import has_run, is_schedule, mistyped, unknown
from barto_cli.given import Given
from barto_cli.lines import Line, Lines, bytes_of
from barto_cli.render import COLOURS, DIM, Format, Listing, Row, plain
from libbarto.harmless import safe, safe_lines

Json = Mapping[str, Any]

PAGE: Final = 1000
KEYS: Final = ("worker", "run", "step", "stream", "at", "text", "base64")
LINE_KEYS: Final = ("worker", "run", "stream", "at", "text")
"""Of a line, where not all are asked for."""
LOOK_S: Final = 0.5
"""How often one looks for runs that have begun."""
POLL_FIRST_S: Final = 0.1
POLL_MOST_S: Final = 1.0
RETRY_MOST_S: Final = 15.0
OUTPUT_S: Final = 15.0
"""How long what a run printed is waited for, once it has ended."""
LAST: Final = "@last"
_RUN: Final = re.compile(r"@last|[0-9A-Fa-f-]+")


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for."""

    what: str
    follow: bool = False
    newest: int | None = None
    since: str | None = None
    worker: str | None = None
    grep: str | None = None
    fold: bool = False
    stream: str = "both"
    timestamps: bool = False
    raw: bool = False

    @property
    def whole(self) -> bool:
        """Is everything asked for, as it was printed?"""
        less = self.newest or self.since or self.grep
        return not (self.follow or self.fold or self.timestamps or less)


def logs(given: Given, asked: Asked) -> None:
    """What a run printed, or the runs of a schedule."""
    wanted = None if asked.grep is None else lines.pattern(asked.grep)
    if asked.what == LAST and asked.whole and given.form is Format.TABLE:
        _bytes(given, LAST, asked)
        return
    try:
        found = _named(given, asked)
    except Failure as failure:
        if failure.exit_code != NO_SUCH_THING or not _RUN.fullmatch(asked.what):
            raise
        from barto_cli.commands.why import not_begun

        waits = not_begun(given, asked.what)
        if waits is None:
            raise
        given.note(f"nothing is printed yet: {' '.join([waits['headline'], *waits['because']])}")
        return
    if asked.fold:
        _folded(given, asked, found)
    elif isinstance(found, str):
        _of_schedule(given, asked, found, wanted)
    elif given.form is not Format.TABLE and not asked.follow:
        _rows(given, asked, [found], wanted)
    elif asked.whole:
        _bytes(given, str(found["id"]), asked)
    else:
        _Reader(given, asked, wanted, [found]).read()


# -- which runs -----------------------------------------------------------------------------------


def _named(given: Given, asked: Asked) -> Json | str:
    """The run that is meant, or the name of the schedule."""
    what = asked.what
    if what and is_schedule(given, what):
        return what
    if not what or _RUN.fullmatch(what):
        run: Json = given.client.get(run_path(what))
        return run
    if has_run(given, what):
        return what
    raise unknown(given, what, "neither a run nor a schedule is called")


def _runs(given: Given, query: Mapping[str, object]) -> Iterator[list[Json]]:
    """Pages of runs, newest planned start first."""
    cursor = None
    while True:
        page = given.client.get("/api/v1/runs", {"limit": PAGE, **query, "cursor": cursor})
        yield page["runs"]
        cursor = page["next"]
        if cursor is None:
            return


def _newest(given: Given, schedule: str, worker: str | None) -> list[Json]:
    """Each worker's last run of a schedule."""
    found: dict[str, Json] = {}
    for page in _runs(given, {"schedule": schedule, "worker": worker}):
        before = len(found)
        for run in page:
            found.setdefault(run["worker"], run)
        if len(found) == before or worker is not None:
            break
    return list(found.values())


def _since(given: Given, asked: Asked) -> datetime | None:
    if asked.since is None:
        return None
    return times.when(asked.since, given.screen.now, given.screen.zone)


def _meant(given: Given, asked: Asked, schedule: str) -> list[Json]:
    """The runs of a schedule that are meant: each worker's last one, or those since a time."""
    since = _since(given, asked)
    if since is None:
        return _newest(given, schedule, asked.worker)
    query = {"schedule": schedule, "worker": asked.worker}
    after = query | {"since": times.rfc3339(since)}
    runs = [run for page in _runs(given, after) for run in page]
    known = {run["id"] for run in runs}
    for page in _runs(given, query | {"running": "true"}):
        runs += [run for run in page if run["id"] not in known]
    return runs


def _be_known(given: Given, asked: Asked, runs: Sequence[Json]) -> None:
    """Raises `Failure` where nothing was found, and the worker is one that there is not."""
    if runs or not asked.worker:
        return
    said = mistyped(given, worker=asked.worker)
    if said:
        raise Failure(NO_SUCH_THING, said)


def _of_schedule(given: Given, asked: Asked, schedule: str, wanted: re.Pattern[str] | None) -> None:
    runs = _meant(given, asked, schedule)
    _be_known(given, asked, runs)
    if not runs and not asked.follow:
        where = f" on {asked.worker}" if asked.worker else ""
        given.note(f"{plain(schedule)} has not run{where}" + (" since then" if asked.since else ""))
        return
    if given.form is not Format.TABLE and not asked.follow:
        _rows(given, asked, runs, wanted)
        return
    _Reader(given, asked, wanted, runs, schedule).read()


# -- the very bytes -------------------------------------------------------------------------------


def _bytes(given: Given, run: str, asked: Asked) -> None:
    """What a run printed: the very bytes where they go to a file or a pipe, and harmless text
    where they go to a terminal; what is missing is said beside it."""
    query = {"stream": asked.stream}
    with given.client.open(f"{run_path(run)}/output", query) as body:
        if given.screen.terminal and not asked.raw:
            _show(given, body.pieces)
        else:
            given.out.flush()
            count = 0
            for piece in body.pieces:
                given.raw.write(piece)
                given.raw.flush()
                count += len(piece)
                given.progress.say("bytes read", count)
    given.note(_missing(body.headers))


def _show(given: Given, pieces: Iterator[bytes]) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    held = ""
    for piece in pieces:
        text = held + decoder.decode(piece)
        # A carriage return is harmless before a line feed only, which may be in the next piece.
        held = "\r" if text.endswith("\r") else ""
        given.out.write(safe_lines(text.removesuffix("\r")))
        given.out.flush()
    given.out.write(safe_lines(held + decoder.decode(b"", final=True)))
    given.out.flush()


def _missing(headers: Mapping[str, str]) -> str:
    said = []
    if headers.get("barto-running") == "true":
        said.append("it still runs, and this is what it has printed so far")
    elif headers.get("barto-complete") != "true":
        said.append("not all that it printed is here")
    cut = int(headers.get("barto-cut-bytes", "0") or 0)
    if cut:
        left_out = headers.get("barto-cut-lines", "0")
        said.append(f"{cut} bytes ({left_out} lines) were cut because of output_max")
    return f"run {headers.get('barto-run', '')}: {'; '.join(said)}" if said else ""


# -- for programs ---------------------------------------------------------------------------------


def _rows(given: Given, asked: Asked, runs: Sequence[Json], wanted: re.Pattern[str] | None) -> None:
    """Pieces as they came; lines, where only some of the lines are asked for."""
    if asked.grep is None and asked.newest is None:
        given.emit(Listing((), _segments(given, asked, runs), KEYS))
    else:
        given.emit(Listing((), _Reader(given, asked, wanted, runs).rows(), LINE_KEYS))


def _segments(given: Given, asked: Asked, runs: Sequence[Json]) -> Iterator[Row]:
    """The pieces of all of them, by time."""
    since = _since(given, asked)
    read = [_pieces(given, run, asked.stream) for run in runs]
    for segment in heapq.merge(*read, key=lambda piece: times.read(str(piece["at"]))):
        if since is None or times.read(str(segment["at"])) >= since:
            yield segment


def _pieces(given: Given, run: Json, stream: str) -> Iterator[dict[str, Any]]:
    after: object = -1
    while after is not None:
        page = given.client.get(f"{run_path(run['id'])}/output.json", {"after": after})
        for segment in page["segments"]:
            if stream in {"both", segment["stream"]} or segment["stream"] == "marker":
                yield {"worker": run["worker"], "run": run["id"], **segment}
        after = page["next"]


# -- lines ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Followed:
    """A run that is followed, and how far it has been read."""

    run: Json
    gathered: Lines
    attempt: int
    after: int = -1
    pause: float = POLL_FIRST_S
    due: float = 0.0
    ended_at: float | None = None


@dataclass(slots=True)
class _Reader:
    """Reads lines of runs: those of the past by time, then, where asked, those that come."""

    given: Given
    asked: Asked
    wanted: re.Pattern[str] | None
    runs: Sequence[Json]
    schedule: str | None = None
    _width: int = 0
    _many: bool = False
    _joined: float = 0.0
    _mark: datetime | None = None
    _since: datetime | None = None
    _known: set[str] = field(default_factory=set)
    _followed: list[_Followed] = field(default_factory=list)

    def read(self) -> None:
        """All of it; while one follows a schedule, until interrupted."""
        self._since = _since(self.given, self.asked)
        workers = {str(run["worker"]) for run in self.runs}
        # Whoever follows a schedule of which there is one host may see a second one any time.
        self._many = len(workers) > 1 or (self.asked.follow and self.schedule is not None)
        self._width = max((len(safe(worker)) for worker in workers), default=0)
        self._known = {str(run["id"]) for run in self.runs}
        self._mark = max((times.read(run["claimed"]) for run in self.runs), default=None)
        self._followed = [self._following(run) for run in self.runs]
        self._write(self._wanted_of(self._past()))
        if not self.asked.follow:
            self._say_missing()
            return
        # What had ended already has been shown, and is no news.
        self._followed = [one for one in self._followed if not one.run["complete"]]
        self._follow()

    def rows(self) -> Iterator[Row]:
        """What is past of it, for programs."""
        self._since = _since(self.given, self.asked)
        self._followed = [self._following(run) for run in self.runs]
        return map(_as_row, self._wanted_of(self._past()))

    def _wanted_of(self, past: Iterator[Line]) -> Iterable[Line]:
        return past if self.asked.newest is None else deque(past, self.asked.newest)

    def _following(self, run: Json) -> _Followed:
        gathered = Lines(str(run["worker"]), str(run["id"]))
        return _Followed(run, gathered, run["attempt"])

    # -- what is past -----------------------------------------------------------------------------

    def _past(self) -> Iterator[Line]:
        read = [self._lines_of(number, one) for number, one in enumerate(self._followed)]
        for line in heapq.merge(*read) if len(read) > 1 else iter(read[0] if read else ()):
            if self._fits(line):
                yield line

    def _lines_of(self, number: int, one: _Followed) -> Iterator[Line]:
        more = True
        while more:
            self.given.progress.say("runs read", number, len(self._followed))
            some, more = self._page(one)
            yield from some
        if one.run["verdict"] is not None or not self.asked.follow:
            yield from one.gathered.rest()

    def _page(self, one: _Followed) -> tuple[list[Line], bool]:
        """The lines of the next pieces, and whether there are more at once."""
        query = {"after": one.after, "attempt": one.attempt}
        page = self.given.client.get(f"{run_path(one.run['id'])}/output.json", query)
        told: list[Line] = []
        for segment in page["segments"]:
            one.after = segment["chunk"]
            if self.asked.stream in {"both", segment["stream"]}:
                at = times.read(segment["at"])
                told += one.gathered.feed(segment["stream"], at, bytes_of(segment))
        return told, page["next"] is not None

    def _fits(self, line: Line) -> bool:
        if self._since is not None and line.at < self._since:
            return False
        return self.wanted is None or self.wanted.search(line.text) is not None

    def _say_missing(self) -> None:
        going = [one.run for one in self._followed if one.run["verdict"] is None]
        if going:
            names = lines.names(sorted({str(run["worker"]) for run in going}))
            self.given.note(f"still running, and this is what is here so far: {names}")

    # -- what comes -------------------------------------------------------------------------------

    def _follow(self) -> None:
        self.given.progress.stop()
        pause = LOOK_S
        while self._followed or self.schedule is not None:
            try:
                self._step()
                pause = LOOK_S
            except Failure as error:
                if error.exit_code != UNREACHABLE:
                    raise
                if pause == LOOK_S:
                    self.given.note(f"{error}; trying again")
                pause = min(RETRY_MOST_S, pause * 2)
            due = min((one.due for one in self._followed), default=time.monotonic() + LOOK_S)
            if self._followed or self.schedule is not None:
                time.sleep(pause if pause > LOOK_S else self._until(due))

    def _until(self, due: float) -> float:
        return min(LOOK_S, max(0.02, due - time.monotonic()))

    def _step(self) -> None:
        """Take in what has begun, then look at those whose time it is."""
        if self.schedule is not None and time.monotonic() - self._joined >= LOOK_S:
            self._joined = time.monotonic()
            self._join(self.schedule)
        told: list[Line] = []
        ended: list[_Followed] = []
        for one in self._followed:
            if one.due <= time.monotonic():
                told += self._look(one, ended)
        # What several hosts printed meanwhile comes in the order in which it was printed.
        self._write(sorted(line for line in told if self._fits(line)))
        for one in ended:
            self._followed.remove(one)
            self._say(one.run, self._end(one.run), str(one.run["verdict"]))

    def _join(self, schedule: str) -> None:
        """Take in the runs that have begun since."""
        query = {"schedule": schedule, "worker": self.asked.worker}
        for more in (query, query | {"running": "true"}):
            for page in _runs(self.given, more | {"limit": 100}):
                new = [run for run in page if self._is_new(run)]
                for run in reversed(new):
                    self._known.add(str(run["id"]))
                    self._width = max(self._width, len(safe(str(run["worker"]))))
                    self._followed.append(self._following(run))
                    self._say(run, f"started, run {run['id']}", "running")
                if len(new) < len(page):
                    break

    def _is_new(self, run: Json) -> bool:
        """Whether it has begun since one follows; the history of before is not taken in."""
        if run["id"] in self._known:
            return False
        begun = self._mark is None or times.read(run["claimed"]) > self._mark
        return begun or run["verdict"] is None

    def _look(self, one: _Followed, ended: list[_Followed]) -> list[Line]:
        """What it has printed since, a page at most; where nothing more will come, it has ended."""
        run: Json = self.given.client.get(run_path(one.run["id"]))
        told: list[Line] = []
        if run["attempt"] != one.attempt:
            told += one.gathered.rest()
            one.attempt, one.after = run["attempt"], -1
        one.run = run
        some, more = self._page(one)
        told += some
        # Of very many, each is looked at less often, so that the server has other things to do.
        most = max(POLL_MOST_S, len(self._followed) / 100)
        one.pause = POLL_FIRST_S if some else min(most, one.pause * 1.5)
        one.due = time.monotonic() + (0.0 if more else one.pause)
        if run["verdict"] is not None and not more:
            one.ended_at = one.ended_at or time.monotonic()
            if run["complete"] or time.monotonic() - one.ended_at > OUTPUT_S:
                told += one.gathered.rest()
                ended.append(one)
        return told

    def _end(self, run: Json) -> str:
        words = outcome(run)
        if isinstance(run["seconds"], int | float):
            words += f" after {times.duration(run['seconds'])}"
        return words if run["complete"] else f"{words}; not all that it printed is here"

    # -- writing ----------------------------------------------------------------------------------

    def _say(self, run: Json, words: str, state: str) -> None:
        screen = self.given.screen
        self.given.say(f"{plain(run['worker'])}: {screen.shape(state)}{words}", COLOURS.get(state))

    def _write(self, some: Iterable[Line]) -> None:
        paint = self.given.screen.paint
        out = self.given.out
        told = False
        for line in some:
            told = True
            if self.given.form is not Format.TABLE:
                out.write(_as_json(line))
                continue
            text = lines.marked(line.text, self.wanted, paint)
            if self.asked.timestamps:
                moment = self.given.screen.time(line.at)
                text = f"{paint(f'{moment}.{line.at.microsecond // 1000:03}', DIM)}  {text}"
            out.write(f"{self._before(line)}{text}\n")
        if told or self.asked.follow:
            out.flush()

    def _before(self, line: Line) -> str:
        if not self._many:
            return ""
        sign = "!" if line.stream == "stderr" else "|"
        before = f"{safe(line.worker):<{self._width}} {sign} "
        return self.given.screen.paint(before, lines.colour_of(line.worker))


def _as_json(line: Line) -> str:
    from barto_cli.render import json_text

    return json_text(_as_row(line)) + "\n"


def _as_row(line: Line) -> Row:
    row = {"worker": line.worker, "run": line.run, "stream": line.stream, "at": line.at}
    return {**row, "text": line.text}


# -- folded ---------------------------------------------------------------------------------------


def _folded(given: Given, asked: Asked, found: Json | str) -> None:
    """Groups of hosts whose runs ended and printed alike; of the others how they differ."""
    runs = _newest(given, found, asked.worker) if isinstance(found, str) else [found]
    _be_known(given, asked, runs)
    if not runs:
        given.note(f"{plain(asked.what)} has not run")
        return
    slot, count = Counter(str(run["slot"]) for run in runs).most_common(1)[0]
    if 2 * count >= len(runs) and asked.worker is None:
        # One planned start, of which the server knows which outputs are the same.
        groups = _groups(given, str(runs[0]["schedule"]), slot)
        others = sorted(str(run["worker"]) for run in runs if run["slot"] != slot)
        if others:
            given.note(
                f"planned for {given.screen.time(times.read(slot))}; the last run of "
                f"{lines.names(others)} was planned for another time"
            )
    else:
        groups = _compared(given, asked, runs)
    groups = lines.largest_first(groups)
    if given.form is Format.TABLE:
        given.write(_told(given, asked, groups))
        return
    rows = (
        {
            "outcome": group.outcome,
            "hosts": group.count,
            "workers": list(group.workers),
            "run": group.run,
            "lines": _printed(given, asked, group.run),
        }
        for group in groups
    )
    given.emit(Listing((), rows, ("outcome", "hosts", "workers", "run", "lines")))


def _groups(given: Given, schedule: str, slot: str) -> list[lines.Group]:
    query = {"schedule": schedule, "slot": slot}
    found = given.client.get("/api/v1/runs/groups", query)
    if found["cut"]:
        given.note(f"there are more than the {found['runs']:,} runs that were looked at")
    return [
        lines.Group(
            outcome({**one, "reason": "", "count": 1}), one["count"], one["workers"], one["run"]
        )
        for one in found["groups"]
    ]


def _compared(given: Given, asked: Asked, runs: Sequence[Json]) -> list[lines.Group]:
    """The same of runs of several planned starts: what they printed is read, and compared."""
    import hashlib

    alike: dict[tuple[str, bytes], list[Json]] = {}
    for number, run in enumerate(runs):
        given.progress.say("runs compared", number, len(runs))
        hashed = {"stdout": hashlib.sha256(), "stderr": hashlib.sha256()}
        for piece in _pieces(given, run, asked.stream):
            hashed.get(piece["stream"], hashed["stdout"]).update(bytes_of(piece))
        key = (outcome({**run, "reason": ""}), b"".join(it.digest() for it in hashed.values()))
        alike.setdefault(key, []).append(run)
    found = []
    for (words, _), same in alike.items():
        same.sort(key=lambda run: str(run["worker"]))
        workers = [str(run["worker"]) for run in same]
        found.append(lines.Group(words, len(same), workers, str(same[0]["id"])))
    return found


def _printed(given: Given, asked: Asked, run: str) -> list[str]:
    """The lines that a run printed, as far as they are compared."""
    gathered, told = Lines("", run), list[Line]()
    for piece in _pieces(given, {"id": run, "worker": ""}, asked.stream):
        at = times.read(str(piece["at"]))
        told += gathered.feed(str(piece["stream"]), at, bytes_of(piece))
        if len(told) > lines.COMPARED:
            break
    return [line.text for line in [*told, *gathered.rest()]]


def _told(given: Given, asked: Asked, groups: Sequence[lines.Group]) -> Iterator[str]:
    paint = given.screen.paint
    usual, *others = groups
    printed = _printed(given, asked, usual.run)
    yield paint(lines.summary(groups), "1")
    yield ""
    yield paint(_title(usual), DIM)
    yield from map(safe, printed)
    title = lines.names(usual.workers, 1, usual.count)
    for group in others[:DIFFS]:
        yield ""
        yield paint(_title(group), DIM)
        mine = lines.names(group.workers, 1, group.count)
        differing = False
        for line in lines.differences(printed, _printed(given, asked, group.run), title, mine):
            differing = True
            yield paint(safe(line), DIFF_COLOURS.get(line[:1]))
        if not differing:
            yield "(it printed the same)"
    if len(others) > DIFFS:
        yield ""
        left = sum(group.count for group in others[DIFFS:])
        yield f"and {len(others) - DIFFS} more groups, of {left:,} hosts; -o json has them all"


def _title(group: lines.Group) -> str:
    hosts = f" ({group.count:,} hosts)" if group.count > 1 else ""
    return f"== {lines.names(group.workers, count=group.count)}{hosts}: {group.outcome}"


DIFFS: Final = 20
"""So many groups are compared for people."""
DIFF_COLOURS: Final = {"-": "31", "+": "32", "@": "36"}
