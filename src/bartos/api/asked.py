"""What may parameters and bodies hold? The types of those that would be read too kindly: a number
is no time, 0 is no `false`, and a parameter that there is not is refused, so that what is accepted
is what the description says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import Query, Request
from fastapi.dependencies.models import Dependant
from pydantic import AwareDatetime, BeforeValidator, Strict, WithJsonSchema

from bartos.api.problems import Problem
from bartos.nearest import nearest
from libbarto.message.v2.record import Verdict

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")


def _time(value: object) -> object:
    if not isinstance(value, str) or _TIME.match(value) is None:
        raise ValueError("expected a time as 2026-11-24T02:00:00Z")
    return value


def _day(value: object) -> object:
    if not isinstance(value, str) or _DAY.fullmatch(value) is None:
        raise ValueError("expected a day as 2026-11-24")
    return value


Time = Annotated[AwareDatetime, BeforeValidator(_time)]
"""An instant as RFC 3339 has it, with its offset."""
Date = Annotated[date, BeforeValidator(_day)]
"""A day as RFC 3339 has it."""
Flag = Annotated[bool, Strict()]
"""`true` or `false`, in a body."""
Number = Annotated[float, Strict()]
"""A number, in a body."""

_WORDS: Final = [verdict.word for verdict in Verdict]


def _one_of(words: list[str]) -> WithJsonSchema:
    # Told, and not checked: who writes one wrong is told which was meant.
    return WithJsonSchema({"type": "string", "enum": words})


Verdicts = Annotated[
    list[Annotated[str, _one_of(_WORDS)]] | None,
    Query(description="one or more; any of them"),
]
"""Verdicts to filter by."""
AnyWords = Annotated[
    list[Annotated[str, _one_of([*_WORDS, "running", "late", "unknown", "waiting"])]] | None,
    Query(description="one or more; any of them"),
]
"""Verdicts, or what a start has instead."""


# -- which parameters there are -------------------------------------------------------------------


async def only_known(request: Request) -> None:
    """A dependency of every route: raises `Problem` (422) for a parameter of the query that the
    route has not, with the one that may be meant; a filter that is mistyped would filter nothing.
    """
    asked = dict.fromkeys(request.query_params)
    if not asked:
        return
    known = sorted(set(_parameters(request.scope["route"].dependant)))
    faults = [
        {"where": f"query.{name}", "message": _unknown(name, known)}
        for name in asked
        if name not in known
    ]
    if faults:
        said = "; ".join(f"{one['where']}: {one['message']}" for one in faults)
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, said, errors=faults)


def _parameters(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for one in dependant.dependencies:
        yield from _parameters(one)


def _unknown(name: str, known: list[str]) -> str:
    if not known:
        return "there is no such parameter, and none at all here"
    near = nearest(name, known)
    hint = f"did you mean {near}?" if near else f"there are {', '.join(known)}"
    return f"there is no such parameter; {hint}"
