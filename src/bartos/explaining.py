"""What does an expression of time mean? Its words, the starts that come next, and what was probably
not meant by it: for who is typing it, so what cannot be read is an answer as well.

Instants are microseconds since 1970, UTC.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from libbarto.errors import CalendarError
from libbarto.identity import calendar_seed, schedule_uid
from libbarto.realtime import Realtime, words
from libbarto.realtime.cron import Cron
from libbarto.realtime.doubts import Asked, Doubt, doubts
from libbarto.realtime.preview import Rules, Start, is_span, upcoming

_FIVE_FIELDS: Final = 5
_LIKE_CRON: Final = re.compile(r"@[a-z]+|[-\d*/,?a-z]+", re.IGNORECASE)


class Kind(StrEnum):
    """How an expression is read; `auto` finds out."""

    AUTO = "auto"
    CALENDAR = "calendar"
    CRON = "cron"


@dataclass(frozen=True, slots=True)
class Wrong:
    """Why a text cannot be read: its characters `start` to `end` are at fault."""

    message: str
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Explained:
    """What an expression means. With `wrong` nothing else is known but how it was read.

    `times` says what `starts` are: "exact", each worker's "range", or an "example" of a worker's.
    """

    kind: Kind
    wrong: Wrong | None = None
    calendars: tuple[Realtime, ...] = ()
    meaning: str = ""
    boot: bool = False
    times: str = "exact"
    starts: tuple[Start, ...] = ()
    doubts: tuple[Doubt, ...] = ()


def explain(
    texts: Sequence[str], kind: Kind, rules: Rules, after: int, count: int, worker: bytes = b""
) -> Explained:
    """What `texts`, a union, mean in the zone and under the policies of `rules`, with the first
    `count` starts after the instant `after`. `worker` (16 bytes) is whose `R` is drawn.

    Raises `CalendarError` for a zone that there is not.
    """
    try:
        read, calendars, boot = _read(texts, kind)
    except CalendarError as error:
        wrong = Wrong(error.message, error.text, error.start, error.end)
        return Explained(kind if kind is not Kind.AUTO else _guess(texts), wrong)
    shown, times = _drawn(calendars, worker)
    meaning = [words.describe_boot()] if boot else []
    if calendars:
        meaning.append(words.describe_all(calendar.parts for calendar in calendars))
    asked = Asked(
        calendars, rules.timezone, dst_gap=rules.dst_gap, dst_repeat=rules.dst_repeat, workers=1
    )
    starts = tuple(upcoming(shown, after, count, rules))
    told = doubts(asked, after)
    return Explained(
        kind=read,
        calendars=calendars,
        meaning="; ".join(meaning),
        boot=boot,
        times=times,
        starts=starts,
        # Of what never comes, that is all there is to say.
        doubts=tuple(one for one in told if starts or one.code.startswith("never")),
    )


def _guess(texts: Sequence[str]) -> Kind:
    """What a text that says nothing of itself looks like."""
    fields = [text.split() for text in texts]
    cron = all(
        one
        and (one[0].startswith("@") or len(one) == _FIVE_FIELDS)
        and all(_LIKE_CRON.fullmatch(field) for field in one)
        for one in fields
    )
    return Kind.CRON if cron and fields else Kind.CALENDAR


def _read(texts: Sequence[str], kind: Kind) -> tuple[Kind, tuple[Realtime, ...], bool]:
    """How they were read, the calendars, and whether the boot is meant too."""
    chosen = _guess(texts) if kind is Kind.AUTO else kind
    if chosen is Kind.CALENDAR:
        return chosen, tuple(Realtime.parse(text) for text in texts), False
    lines = [Cron.parse(text) for text in texts]
    found = dict.fromkeys(text for line in lines for text in line.expressions)
    return chosen, tuple(map(Realtime.parse, found)), any(line.at_boot for line in lines)


def _drawn(calendars: tuple[Realtime, ...], worker: bytes) -> tuple[tuple[Realtime, ...], str]:
    """The calendars with `R` drawn, or as they are where its range says more."""
    if not any(calendar.has_random for calendar in calendars):
        return calendars, "exact"
    if not worker and all(map(is_span, calendars)):
        return calendars, "range"
    # Without a schedule of its own, a worker's draw is one example.
    seed = calendar_seed(schedule_uid(""), worker or bytes(16))
    return tuple(calendar.bind(seed) for calendar in calendars), "example"
