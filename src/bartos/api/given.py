"""What is a handler given? The services it stands on, and the run that a path names."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated, cast

from fastapi import Depends, Request

from bartos.api.problems import Problem
from bartos.services import Services
from bartos.store.orders import OrderRow
from bartos.store.port import RunFilter, RunRow, Store
from libbarto.identity import uuid_text

LAST = "@last"
CANDIDATES = 5

_PREFIX = re.compile(r"[0-9a-f]{1,32}")


async def services(request: Request) -> Services:
    """The services of the application that serves `request`."""
    return cast(Services, request.app.state.services)


Given = Annotated[Services, Depends(services)]


async def run_named(run: str, given: Given) -> RunRow:
    """The run of the path: its id, a prefix of it that is unique, or "@last" for the newest."""
    return await find_run(given.store, run)


NamedRun = Annotated[RunRow, Depends(run_named)]


async def find_run(store: Store, text: str) -> RunRow:
    """The run that `text` names.

    Raises `Problem`: 404 where there is none, 409 with candidates where it may be several.
    """
    if text == LAST:
        newest = await store.runs(RunFilter(limit=1))
        if not newest:
            raise Problem(HTTPStatus.NOT_FOUND, "nothing has run yet")
        return newest[0]
    prefix = text.lower().replace("-", "")
    if _PREFIX.fullmatch(prefix) is None:
        raise Problem(HTTPStatus.NOT_FOUND, f'"{text}" is not the id of a run')
    found = await store.runs_like(prefix, CANDIDATES)
    if not found:
        order = await find_order(store, text)
        if order is None:
            raise Problem(HTTPStatus.NOT_FOUND, f'no run has an id that begins with "{text}"')
        raise Problem(HTTPStatus.NOT_FOUND, _not_begun(order))
    if len(found) > 1:
        candidates = [
            {"id": uuid_text(row.run_id), "schedule": row.schedule, "worker": row.worker}
            for row in found
        ]
        raise Problem(
            HTTPStatus.CONFLICT,
            f'more than one run has an id that begins with "{text}"',
            candidates=candidates,
        )
    return found[0]


async def find_order(store: Store, text: str) -> OrderRow | None:
    """The start without a run that `text`, its id or a unique beginning of that, names: it waits
    for its worker, or was given up."""
    prefix = text.lower().replace("-", "")
    if _PREFIX.fullmatch(prefix) is None:
        return None
    least = int(prefix.ljust(32, "0"), 16)
    after = (least - 1).to_bytes(16, "big") if least else b""
    near = await store.ordered(after, CANDIDATES)
    found = [one for one in near if one.run_id.hex().startswith(prefix) and not one.ran]
    if len(found) != 1:
        return None
    orders = await store.orders(run_id=found[0].run_id)
    return next((order for order in orders if not order.claimed), None)


def _not_begun(order: OrderRow) -> str:
    """That there is no run of it, and why."""
    what = f"that start of {order.intent.schedule or 'a command'} has no run"
    if order.verdict is None:
        return f"{what} yet: it waits for {order.intent.worker or 'a worker that takes it'}"
    return f"{what}: {order.reason or order.verdict.word}"
