"""What may parameters and bodies hold? The types of those that would be read too kindly: a number
is no time, and 0 is no `false`, so that what is accepted is what the description says.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Final

from fastapi import Query
from pydantic import AwareDatetime, BeforeValidator, Strict, WithJsonSchema

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
