"""Which readings of the host's clocks are believed, and when was this worker away?

A clock may start in 1970, be stepped, or jump to 2098 and back; a host may sleep. Nothing fires by
a reading that is not believed (DESIGN section 4), and a slot that passed unseen says why.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from bartoc.events import Note, Now

CLOCK_PATIENCE_S: Final = 120.0
"""How long a clock that reads earlier than before is waited for."""
AFTER_BOOT_S: Final = 60.0
AFTER_WAKING_S: Final = 15.0
"""Before that nothing is caught up: the host has other things to do."""
AWAY_S: Final = 2.0
"""A shorter sleep or step of the clock is passed over."""
KEEP_CLAIMS_US: Final = 7 * 86_400_000_000
"""At least twice the longest `catch_up`, which is 72 hours."""
_AGREES_US: Final = 1_000_000
_AWAY_MAX: Final = 32

DOWN: Final = "the worker was down"
ASLEEP: Final = "the host was asleep"
FORWARD: Final = "the host's clock was put forward, or stood still"
WRONG: Final = "the host's clock was wrong"
DISK: Final = "disk: the journal could not be written"
NO_KEEPER: Final = "the keeper of commands could not be reached"


@dataclass(frozen=True, slots=True)
class Away:
    """From `after` (not with it) to `until` nothing could start, because of `why`."""

    after: int
    until: int
    why: str


class Belief(enum.Enum):
    """What is made of a reading."""

    TRUSTED = enum.auto()
    DOUBTED = enum.auto()
    BACK = enum.auto()
    """Accepted, though it is earlier than readings before."""


class Clockwork:
    """Judges readings, one after the other. `built` is the day this program was made, 0 where that
    is not known; `away` is when the worker was away before it began at `now`."""

    def __init__(self, now: Now, built: int = 0, away: Sequence[Away] = ()) -> None:
        self.away = list(away) or [Away(-(1 << 63), now.wall, DOWN)]
        self.notes: list[Note] = []
        self._last = now
        self._built = built
        self._awake_from = AFTER_BOOT_S
        self._doubted: Now | None = None

    def notice(self, now: Now) -> None:
        """A reading was taken: has the host slept since the last one?"""
        last, self._last = self._last, now
        passed = now.boottime - last.boottime
        ran = passed
        if now.monotonic is not None and last.monotonic is not None:
            ran = now.monotonic - last.monotonic
        why = ""
        if passed - ran > AWAY_S:
            why = ASLEEP
        elif (now.wall - last.wall) / 1e6 - passed > AWAY_S:
            why = FORWARD
        if why:
            self._awake_from = max(self._awake_from, now.boottime + AFTER_WAKING_S)
            self.was_away(Away(last.wall, now.wall, why))

    def was_away(self, away: Away) -> None:
        """Nothing could start for a while."""
        if away.until > away.after:
            self.away = [*self.away[-_AWAY_MAX:], away]

    def judge(self, now: Now, newest: int) -> Belief:
        """May anything be decided by this reading? `newest` is the newest in the journal."""
        earliest = max(newest, self._built)
        if now.wall >= earliest:
            self._doubted = None
            return Belief.TRUSTED
        if self._doubted is None:
            self._doubted = now
            self._note(
                "the clock reads earlier than before; nothing starts until it is put right",
                behind_s=round((earliest - now.wall) / 1e6, 3),
                patience_s=CLOCK_PATIENCE_S,
            )
        # The server's word counts if it was given since: a new measurement is another number.
        told = now.offset_us is not None and now.offset_us != self._doubted.offset_us
        agreed = told and abs(now.offset_us or 0) < _AGREES_US
        waited = now.boottime - self._doubted.boottime
        if waited < CLOCK_PATIENCE_S and not agreed:
            return Belief.DOUBTED
        self._doubted = None
        self._built = 0  # it was waited for once; the newest reading keeps order from here on
        self.was_away(Away(now.wall - round(waited * 1e6), now.wall, WRONG))
        self._note("the clock was accepted though it reads earlier than before")
        return Belief.BACK if now.wall < newest else Belief.TRUSTED

    def catch_up_from(self, now: Now) -> int:
        """The earliest instant at which anything is caught up."""
        return now.wall + round(max(0.0, self._awake_from - now.boottime) * 1e6)

    def _note(self, message: str, **facts: object) -> None:
        self.notes.append(Note("warning", message, facts))


def explained(
    after: int, until: int, away: Iterable[Away], otherwise: str
) -> list[tuple[int, int, str]]:
    """The span (after, until] in pieces, each with the reason why its slots were not seen.

    >>> explained(0, 9, [Away(-5, 3, "down"), Away(5, 7, "asleep")], "too late")
    [(0, 3, 'down'), (3, 5, 'too late'), (5, 7, 'asleep'), (7, 9, 'too late')]
    """
    known = list(away)
    cuts = {after, until}
    for one in known:
        cuts |= {cut for cut in (one.after, one.until) if after < cut < until}
    edges = sorted(cuts)
    pieces: list[tuple[int, int, str]] = []
    for begin, end in itertools.pairwise(edges):
        why = next((a.why for a in known if a.after <= begin and end <= a.until), otherwise)
        joined = bool(pieces) and pieces[-1][2] == why
        pieces.append((pieces.pop()[0] if joined else begin, end, why))
    return pieces


def floor(wall: int, contact: int) -> int:
    """Up to where nothing is ever claimed: the earlier of the host's clock and the server's time
    at the last contact, less 7 days (DESIGN section 7); 0 without any contact.

    >>> floor(10 * 86_400_000_000, 9 * 86_400_000_000) == 2 * 86_400_000_000
    True
    """
    return max(0, min(wall, contact) - KEEP_CLAIMS_US)
