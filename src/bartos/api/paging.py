"""Where did a page end? Cursors: text that means nothing to others, and a page of a list.

A cursor has the key of the last row of its page, so that rows that come or go meanwhile move no
other row from one page to another.
"""

from __future__ import annotations

import base64
import binascii
import json
from bisect import bisect_right
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import Query

from bartos.api.problems import Problem

PAGE_MAX = 1000
"""Rows of a page, at most."""

Row = TypeVar("Row")

Limit = Annotated[int, Query(ge=1, le=PAGE_MAX, description="rows of a page, at most")]
Cursor = Annotated[
    str | None, Query(max_length=500, description="`next` of the page before: the page after it")
]


def write(key: Sequence[Any]) -> str:
    """The cursor of a key: texts, numbers, truths and None."""
    return base64.urlsafe_b64encode(json.dumps(list(key)).encode()).decode()


def read(cursor: str, like: Sequence[type]) -> tuple[Any, ...]:
    """The key that a cursor has, of these types. Raises `Problem` where it has none."""
    try:
        key = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise none() from error
    if not isinstance(key, list) or [type(part) for part in key] != list(like):
        raise none()
    if any(isinstance(part, int) and not -(1 << 62) < part < 1 << 62 for part in key):
        raise none()
    return tuple(key)


def none() -> Problem:
    """What is said of a cursor that cannot be read."""
    return Problem(HTTPStatus.NOT_FOUND, "that cursor is none of ours")


def page(
    rows: Sequence[Row],
    key: Callable[[Row], tuple[Any, ...]],
    like: Sequence[type],
    limit: int,
    cursor: str | None,
) -> tuple[Sequence[Row], str | None]:
    """A page of rows that are ordered by `key`, and the cursor of the next one."""
    start = 0 if cursor is None else bisect_right(rows, read(cursor, like), key=key)
    taken = rows[start : start + limit]
    more = start + limit < len(rows)
    return taken, write(key(taken[-1])) if more else None
