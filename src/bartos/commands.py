"""What does the server answer to the commands of barto 1.x? One table for each request.

`answer` turns a request into the frames that follow it: the columns, the rows in as many frames
as they need, and `Done`; or `Failed`. Every request gets an answer, whatever happens, and no
more of it is in memory than a frame and a few chunks of output.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from bartos.nearest import no_such
from bartos.services import Services
from bartos.store.port import (
    Pruned,
    QueryLimits,
    Retention,
    RunFilter,
    RunRow,
    StepRow,
    Store,
    WorkerRow,
)
from bartos.transcript import Line, Lines, pieces
from bartos.updates import KINDS, Update, Updates
from libbarto.build_info import build_info
from libbarto.errors import BartoError, StoreUnavailable, UserError
from libbarto.identity import uuid_text
from libbarto.message.v2 import cli as wire
from libbarto.message.v2.record import Verdict

log = logging.getLogger(__name__)

ERROR: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
NO_SUCH_THING: Final = 5

FRAME: Final = 48 * 1024
"""Bytes of values after which a frame is sent; what they are wrapped in fits below 64 KiB."""

CHUNKS: Final = 16
LISTED: Final = 1000
UPDATES_READ: Final = 4 * 1024 * 1024
"""How much of a run's output `updates` reads: an update check prints a thousandth of that."""

KEPT_BY_WORKERS: Final = 7 * 86_400 * 1_000_000
"""How long workers keep what was acknowledged, for a server that is restored (DESIGN section 6)."""

NOT_OK: Final = frozenset(
    {
        Verdict.FAILED,
        Verdict.TIMED_OUT,
        Verdict.CANCELLED,
        Verdict.INTERRUPTED,
        Verdict.LOST,
    }
)

Answer = wire.Columns | wire.Rows | wire.Done | wire.Failed
Cell = wire.Null | wire.Text | wire.Integer | wire.Real | wire.Flag | wire.Blob | wire.Moment


class Refused(BartoError):
    """A request that cannot be served: `exit_code` is what the command ends with."""

    def __init__(self, exit_code: int, message: str) -> None:
        self.exit_code = exit_code
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Table:
    """An answer before it is cut into frames. Cells are plain values; instants are `Moment`."""

    columns: Sequence[str]
    rows: AsyncIterator[Sequence[object]]
    note: str = ""
    truncated: bool = False


async def answer(request: object, given: Services) -> AsyncIterator[Answer]:
    """The frames that answer `request`, ending with `Done` or `Failed`."""
    try:
        table = await _table(request, given)
        yield wire.Columns(names=list(table.columns))
        count = 0
        frame: list[list[Cell]] = []
        size = 0
        async for row in table.rows:
            cells = [cell(value) for value in row]
            weight = sum(map(_weight, cells))
            if frame and size + weight > FRAME:
                yield wire.Rows(rows=frame)
                frame, size = [], 0
            frame.append(cells)
            size += weight
            count += 1
        if frame:
            yield wire.Rows(rows=frame)
        yield wire.Done(count=count, truncated=table.truncated, note=table.note)
    except Refused as error:
        yield wire.Failed(exit_code=error.exit_code, message=str(error))
    except StoreUnavailable as error:
        message = f"the server's database does not answer: {error}"
        yield wire.Failed(exit_code=UNREACHABLE, message=message)
    except UserError as error:
        yield wire.Failed(exit_code=USAGE, message=str(error))
    except BartoError as error:
        yield wire.Failed(exit_code=ERROR, message=str(error))
    except Exception:
        log.exception("request of barto-cli failed", extra={"request": type(request).__name__})
        yield wire.Failed(exit_code=ERROR, message="an error in bartos; its log has more")


async def _table(request: object, given: Services) -> Table:
    match request:
        case wire.Info():
            return _info(given)
        case wire.Clients():
            return await _clients(given)
        case wire.List(name=name, cmd_name=None):
            return await _names(given.store, name)
        case wire.List(name=name, cmd_name=str(schedule), limit=limit):
            return await _list(given.store, name, schedule, limit)
        case wire.Cmd(cmd_name=schedule, limit=limit):
            return await _cmd(given.store, schedule, limit)
        case wire.FailedRuns(limit=limit):
            return await _failed(given.store, limit)
        case wire.Query(query=sql):
            return await _query(given.store, sql)
        case wire.Cleanup():
            return await _cleanup(given, request)
        case wire.Updates(name=name, kind=kind):
            return await _updates(given.store, name, kind)
        case wire.WorkerAdd(name=name, labels=labels):
            return await _worker_add(given, name, labels)
        case _:
            raise Refused(
                USAGE, "this server does not know that request; it may be older than barto-cli"
            )


# -- cells and frames -----------------------------------------------------------------------------


def cell(value: object) -> Cell:
    """A plain value as it travels; what has no form of its own goes as its text.

    A time without a zone counts as UTC, as the store's are.
    """
    match value:
        case None:
            return wire.Null()
        case (
            wire.Null()
            | wire.Text()
            | wire.Integer()
            | wire.Real()
            | wire.Flag()
            | wire.Blob()
            | wire.Moment()
        ):
            return value
        case bool():
            return wire.Flag(value=value)
        case int() if -(1 << 63) <= value < 1 << 63:
            return wire.Integer(value=value)
        case float():
            return wire.Real(value=value)
        case bytes() | bytearray() | memoryview():
            return wire.Blob(value=bytes(value))
        case datetime():
            aware = value if value.tzinfo else value.replace(tzinfo=UTC)
            return wire.Moment(value=round((aware - _EPOCH).total_seconds() * 1e6))
        case str():
            return wire.Text(value=value.encode(errors="replace").decode())
        case _:
            return wire.Text(value=str(value))


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _weight(value: Cell) -> int:
    match value:
        case wire.Text(value=text):
            return 8 + (len(text) if text.isascii() else len(text.encode()))
        case wire.Blob(value=data):
            return 8 + len(data)
        case _:
            return 16


def _at(instant: int | None) -> wire.Moment | None:
    return None if instant is None else wire.Moment(value=instant)


def _line(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


async def _each(rows: Iterable[Sequence[object]]) -> AsyncIterator[Sequence[object]]:
    for row in rows:
        yield row


# -- the server and its workers -------------------------------------------------------------------


def _info(given: Services) -> Table:
    build = build_info()
    facts = given.facts()
    rows: list[tuple[str, str, object]] = [
        ("build", "Version", build.version),
        ("git", "Commit", build.commit),
        ("git", "Commit Date", build.commit_date),
        ("python", "Version", platform.python_version()),
        ("python", "Implementation", platform.python_implementation()),
        ("system", "Platform", platform.platform()),
        ("server", "Store", facts.store),
        ("server", "Configuration", facts.config_file),
        ("server", "Workers Connected", len(given.fleet.connected())),
    ]
    if facts.config_error:
        rows.append(("server", "Configuration Error", facts.config_error))
    return Table(("category", "label", "value"), _each(rows))


async def _clients(given: Services) -> Table:
    links = {link.uid: link for link in given.fleet.connected()}
    columns = (
        *("name", "state", "address", "since", "last_seen", "os", "os_version", "kernel"),
        *("arch", "host", "version", "labels", "alarm"),
    )
    alarms = given.fleet.alarms()
    drains = given.planner.drains

    def row(known: WorkerRow) -> Sequence[object]:
        link = links.get(known.uid)
        facts = known.capabilities
        return (
            known.name,
            "drained" if known.uid in drains else "away" if link is None else "connected",
            known.address if link is None else link.address,
            None if link is None else _at(link.since),
            _at(known.last_seen),
            *(facts.get(key) or None for key in ("os", "os_version", "kernel", "arch", "hostname")),
            (known.version if link is None else link.version) or "unknown",
            " ".join(f"{key}={value}" for key, value in sorted(known.labels.items())),
            alarms.get(known.uid),
        )

    return Table(columns, _each([row(known) for known in await given.store.workers()]))


async def _worker_add(given: Services, name: str, labels: dict[str, str]) -> Table:
    code = given.enrolment.join_code(name, labels)
    known = await given.store.worker_named(name)
    note = f'"{name}" is known already: another host can only join when it is gone' if known else ""
    row = (name, code, f"bartoc join {given.enrolment.url} {code}")
    return Table(("name", "code", "command"), _each([row]), note)


# -- runs and what they printed -------------------------------------------------------------------

RUN_COLUMNS: Final = (
    *("run", "worker", "schedule", "slot", "started", "ended", "verdict"),
    *("exit_code", "signal", "reason", "steps"),
)
LINE_COLUMNS: Final = ("step", "stream", "at", "line")


async def _names(store: Store, worker: str) -> Table:
    await _known_worker(store, worker)
    names = [own_name(worker, name) for name in await store.schedule_names(worker)]
    note = "" if names else f'"{worker}" has run nothing yet'
    return Table(("schedule",), _each([(name,) for name in names]), note)


async def _list(store: Store, worker: str, schedule: str, limit: int) -> Table:
    await _known_worker(store, worker)
    runs = await _newest(store, RunFilter(worker=worker, schedule=schedule), limit)
    if not runs:
        await _known_schedule(store, schedule, await store.schedule_names(worker))
    return _printed(store, runs[:limit][::-1], len(runs) > limit, limit)


async def _cmd(store: Store, schedule: str, limit: int) -> Table:
    runs = await _newest(store, RunFilter(schedule=schedule), limit)
    if not runs:
        await _known_schedule(store, schedule, ())
    shown = sorted(runs[:limit], key=lambda run: (run.worker, run.slot, run.run_id))
    return _printed(store, shown, len(runs) > limit, limit)


async def _failed(store: Store, limit: int) -> Table:
    runs = await _newest(store, RunFilter(verdicts=NOT_OK), limit)

    async def rows() -> AsyncIterator[Sequence[object]]:
        for run in runs[:limit]:
            yield _run_cells(run, await store.steps(run.run_id))

    more = len(runs) > limit
    return Table(RUN_COLUMNS, rows(), _left_out(limit) if more else "", more)


def _printed(store: Store, runs: Sequence[RunRow], more: bool, limit: int) -> Table:
    """Every line of `runs`; a run that printed nothing has one row without a line."""

    async def rows() -> AsyncIterator[Sequence[object]]:
        for run in runs:
            about = _run_cells(run, await store.steps(run.run_id))
            silent = True
            async for line in _lines(store, run):
                silent = False
                yield (
                    *about,
                    line.step,
                    line.stream.name.lower(),
                    _at(line.at),
                    _line(line.data),
                )
            if silent:
                yield (*about, None, None, None, None)

    note = _left_out(limit) if more else ""
    return Table((*RUN_COLUMNS, *LINE_COLUMNS), rows(), note, more)


async def _lines(store: Store, run: RunRow) -> AsyncIterator[Line]:
    gathering = Lines()
    after = -1
    while chunks := await store.chunks(run.run_id, run.attempt, after, CHUNKS):
        for chunk in chunks:
            for piece in pieces(chunk):
                for line in gathering.feed(piece):
                    yield line
        after = chunks[-1].chunk_no
    for line in gathering.rest():
        yield line


def _run_cells(run: RunRow, steps: Iterable[StepRow]) -> tuple[object, ...]:
    return (
        uuid_text(run.run_id),
        run.worker,
        run.schedule,
        _at(run.slot),
        _at(run.started_at),
        _at(run.ended_at),
        "running" if run.verdict is None else run.verdict.word,
        run.exit_code,
        run.signal,
        run.reason or None,
        ", ".join(map(how_it_ended, steps)) or None,
    )


def how_it_ended(step: StepRow) -> str:
    """A step's end in a few words: its exit code, its signal, or that neither is known."""
    if step.exit_code is not None:
        return f"exit {step.exit_code}"
    if step.signal is not None:
        return f"signal {step.signal}"
    return step.reason or "end not seen"


def own_name(worker: str, schedule: str) -> str:
    """The name of a schedule as barto 1.x knew it: without the worker's before it.

    >>> own_name("web1", "web1/backup"), own_name("web1", "backup")
    ('backup', 'backup')
    """
    return schedule.removeprefix(f"{worker}/")


def _left_out(limit: int) -> str:
    return f"older runs are left out: these are the newest {limit} (--limit)"


async def _newest(store: Store, wanted: RunFilter, limit: int) -> list[RunRow]:
    """The newest runs, one more than `limit` where there are more."""
    if not 1 <= limit <= LISTED:
        raise Refused(USAGE, f"the limit is 1 to {LISTED} runs, got {limit}")
    return await store.runs(
        RunFilter(
            worker=wanted.worker,
            schedule=wanted.schedule,
            verdicts=wanted.verdicts,
            limit=limit + 1,
        )
    )


async def _known_worker(store: Store, name: str) -> None:
    if await store.worker_named(name) is None:
        known = [worker.name for worker in await store.workers()]
        raise Refused(NO_SUCH_THING, no_such("worker", name, known))


async def _known_schedule(store: Store, name: str, also: Iterable[str]) -> None:
    """Raises `Refused` unless `name` is a schedule, or a 1.x name after its worker's."""
    names = {schedule.name for schedule in await store.schedules()} | set(also)
    names |= {known.partition("/")[2] for known in names if "/" in known}
    if name not in names:
        raise Refused(NO_SUCH_THING, no_such("schedule", name, sorted(names)))


# -- the rest -------------------------------------------------------------------------------------


async def _query(store: Store, sql: str) -> Table:
    result = await store.query(sql, QueryLimits())
    note = f"cut off after {len(result.rows)} rows" if result.truncated else ""
    return Table(result.columns, _each(result.rows), note, result.truncated)


async def _cleanup(given: Services, asked: wire.Cleanup) -> Table:
    now = given.clock.now()
    if asked.older_than_us is None:
        keep = given.facts().retention
        before = now - KEPT_BY_WORKERS
    else:
        age = asked.older_than_us / 1e6
        keep = Retention(output_age=age, verdict_age=age, total_bytes=1 << 62)
        before = now - asked.older_than_us
    total = await given.store.prune(keep, now, dry_run=asked.dry_run)
    while total.more and not asked.dry_run:
        total = _sum(total, await given.store.prune(keep, now))
    if not asked.dry_run:
        await given.store.forget_orders(before)
    workers = (
        len(given.fleet.connected())
        if asked.dry_run
        else await given.fleet.clean_up_workers(before)
    )
    columns = ("runs", "output_rows", "output_bytes", "status_rows", "workers", "dry_run")
    row = (
        *(total.runs, total.output_rows, total.output_bytes, total.status_rows),
        *(workers, asked.dry_run),
    )
    return Table(columns, _each([row]))


def _sum(total: Pruned, step: Pruned) -> Pruned:
    return Pruned(
        output_rows=total.output_rows + step.output_rows,
        output_bytes=total.output_bytes + step.output_bytes,
        status_rows=total.status_rows + step.status_rows,
        runs=total.runs + step.runs,
        more=step.more,
    )


async def _updates(store: Store, worker: str, number: int) -> Table:
    """What the newest update check of `worker` named: of each schedule its newest run that ended
    ok is looked at, newest first, and the first that printed what such a check prints counts."""
    if number not in KINDS:
        raise Refused(USAGE, "this server does not know that kind of update check")
    await _known_worker(store, worker)
    kind = KINDS[number]
    ok = frozenset({Verdict.OK})
    newest: list[RunRow] = []
    for name in await store.schedule_names(worker):
        newest += await store.runs(RunFilter(worker=worker, schedule=name, verdicts=ok, limit=1))
    for run in sorted(newest, key=lambda run: (run.slot, run.run_id), reverse=True):
        found = kind.read(await _text(store, run))
        if found is not None:
            return _updates_table(run, found)
    raise Refused(
        NO_SUCH_THING,
        f'no run of "{worker}" that ended ok printed what {kind.command} prints',
    )


def _updates_table(run: RunRow, found: Updates) -> Table:
    columns = (
        *("package", "channel", "old_version", "new_version", "net_bytes", "download_bytes"),
        *("total_download_bytes", "total_installed_bytes", "total_net_bytes", "run", "checked"),
    )
    common = (
        *(found.download_bytes, found.installed_bytes, found.net_bytes),
        *(uuid_text(run.run_id), _at(run.ended_at)),
    )

    def row(update: Update) -> Sequence[object]:
        return (
            *(update.package, update.channel, update.old_version, update.new_version),
            *(update.net_bytes, update.download_bytes, *common),
        )

    return Table(columns, _each([row(update) for update in found.packages]))


async def _text(store: Store, run: RunRow) -> str:
    """The lines that a run printed to stdout and stderr, as text, up to a bound."""
    read = bytearray()
    async for line in _lines(store, run):
        read += line.data + b"\n"
        if len(read) > UPDATES_READ:
            break
    return read.decode(errors="replace")
