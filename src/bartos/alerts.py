"""What is worth telling somebody, and when is it told no more? Outcomes in, alerts out.

For each schedule on each worker (or alone, where the server chooses the worker) the first failure
is told, a planned start that was missed, a run that is stuck, and the recovery; what is no worse
than what was told already is not. What many workers tell of a schedule within a short while is
one alert. How an alert reads is said by `bartos.alert_text`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bartos.exits import signal_name
from bartos.store.alerts import (
    ANY_WORKER,
    FAILED,
    MISSED,
    OVER,
    RECOVERED,
    STUCK,
    AlertRow,
    AlertState,
    Member,
    Outcome,
    Pair,
)
from libbarto.clock import SECOND
from libbarto.identity import netstring
from libbarto.message.v2.record import Verdict

WINDOW_US: Final = 10 * SECOND
"""So long an alert waits for further workers."""
MEMBERS: Final = 100
"""So many workers an alert names; of more only the number."""
ROAMING_US: Final = 7 * 86_400 * SECOND
"""So long a roaming worker may be away without any alert (DESIGN section 5)."""

_RANKS: Final = {"": 0, MISSED: 1, STUCK: 2, FAILED: 3}


@dataclass(frozen=True, slots=True)
class Hanging:
    """A run that seems to hang, and why."""

    schedule_uid: bytes
    schedule: str
    worker_uid: bytes
    worker: str
    run_id: bytes
    slot: int
    why: str


@dataclass(frozen=True, slots=True)
class Known:
    """What was told, and what is known of schedules and workers, by uid.

    `gathering` are alerts that workers may still join. `floating` schedules have one state for all
    workers, `silent` ones are never told. `roaming` workers are often away.
    """

    states: Mapping[Pair, AlertState] = field(default_factory=dict)
    gathering: Sequence[AlertRow] = ()
    floating: Collection[bytes] = ()
    silent: Collection[bytes] = ()
    roaming: Collection[bytes] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The states that changed, and the alerts that are new or that workers joined."""

    states: Sequence[AlertState] = ()
    alerts: Sequence[AlertRow] = ()


def decide(
    known: Known, outcomes: Iterable[Outcome], hanging: Iterable[Hanging], now: int
) -> Decision:
    """What `outcomes`, in any order, and runs that hang at `now` change in what is `known`."""
    deciding = _Deciding(known, now)
    for one in sorted(outcomes, key=lambda one: one.at):
        if one.verdict in OVER:
            deciding.over(one)
        else:
            deciding.trouble(one)
    for run in hanging:
        deciding.hangs(run)
    deciding.drop_others()
    return Decision(list(deciding.states.values()), list(deciding.alerts.values()))


class _Deciding:
    """What has changed so far."""

    def __init__(self, known: Known, now: int) -> None:
        self.states: dict[Pair, AlertState] = {}
        self.alerts: dict[bytes, AlertRow] = {}
        self._known = known
        self._now = now
        self._gathering = {(row.event, row.schedule_uid): row for row in known.gathering}

    def _pair(self, schedule_uid: bytes, worker_uid: bytes) -> Pair:
        floats = schedule_uid in self._known.floating
        return schedule_uid, ANY_WORKER if floats else worker_uid

    def _state(self, pair: Pair) -> AlertState:
        held = self.states.get(pair) or self._known.states.get(pair)
        return held or AlertState(*pair, "", 0, 0)

    # -- outcomes ---------------------------------------------------------------------------------

    def trouble(self, one: Outcome) -> None:
        """A failure, or starts that did not run."""
        state = self._state(self._pair(one.schedule_uid, one.worker_uid))
        # By both, since the two clocks of a worker and of this server may be apart.
        if one.at <= state.seen and one.slot <= state.slot:
            return
        seen, slot = max(one.at, state.seen), max(one.slot, state.slot)
        if one.schedule_uid in self._known.silent:
            self.states[state.pair] = replace(state, trouble="", seen=seen, slot=slot)
            return
        missed = one.verdict is Verdict.MISSED
        if missed and one.worker_uid in self._known.roaming and self._now - one.slot < ROAMING_US:
            self.states[state.pair] = replace(state, seen=seen, slot=slot)
            return
        event = MISSED if missed else FAILED
        worse = _RANKS[event] > _RANKS[state.trouble]
        self.states[state.pair] = replace(
            state,
            trouble=event if worse else state.trouble,
            seen=seen,
            slot=slot,
            # What is stuck is known by its run.
            run_id=one.run_id if worse or state.trouble != STUCK else state.run_id,
        )
        if worse:
            member = Member(one.worker, words(one), one.slot, one.run_id, one.worker_uid)
            self._tell(event, one.schedule_uid, one.schedule, member)

    def over(self, one: Outcome) -> None:
        """A run that ended ok, or was cancelled."""
        state = self._state(self._pair(one.schedule_uid, one.worker_uid))
        same = one.run_id == state.run_id
        later = one.slot > state.slot and one.at > state.seen and state.trouble != STUCK
        ok = one.verdict is Verdict.OK
        if not state.trouble or not (same or (later and ok)):
            return
        self.states[state.pair] = AlertState(
            *state.pair, "", max(one.at, state.seen), max(one.slot, state.slot), one.run_id
        )
        if ok and one.schedule_uid not in self._known.silent:
            before = "it failed" if state.trouble == FAILED else f"it was {state.trouble}"
            text = f"ok, after {before}"
            member = Member(one.worker, text, one.slot, one.run_id, one.worker_uid)
            self._tell(RECOVERED, one.schedule_uid, one.schedule, member)

    def hangs(self, run: Hanging) -> None:
        """A run that seems to hang, which is told once."""
        state = self._state(self._pair(run.schedule_uid, run.worker_uid))
        told = _RANKS[state.trouble] >= _RANKS[STUCK] or state.run_id == run.run_id
        if told or run.schedule_uid in self._known.silent:
            return
        slot = max(run.slot, state.slot)
        self.states[state.pair] = replace(state, trouble=STUCK, slot=slot, run_id=run.run_id)
        member = Member(run.worker, f"stuck: {run.why}", run.slot, run.run_id, run.worker_uid)
        self._tell(STUCK, run.schedule_uid, run.schedule, member)

    def drop_others(self) -> None:
        """Forget the trouble of what floats no more, or floats now: nothing would ever end it."""
        for state in self._known.states.values():
            floated = state.worker_uid == ANY_WORKER
            if state.trouble and floated != (state.schedule_uid in self._known.floating):
                self.states[state.pair] = replace(state, trouble="")

    # -- alerts -----------------------------------------------------------------------------------

    def _tell(self, event: str, schedule_uid: bytes, schedule: str, member: Member) -> None:
        """A new alert, or one more worker of one that is not due yet."""
        key = event, schedule_uid
        row = self._gathering.get(key)
        if row is None:
            parts = (event.encode(), schedule_uid, member.worker_uid, member.run_id)
            text = b"".join(map(netstring, (*parts, str(self._now).encode())))
            uid = hashlib.sha256(text).digest()[:16]
            due = self._now + WINDOW_US
            row = AlertRow(uid, event, schedule_uid, schedule, self._now, due, (member,), 1)
        elif any(one.worker_uid == member.worker_uid for one in row.members):
            return
        else:
            members = (*row.members, member)[:MEMBERS]
            row = replace(row, members=members, count=row.count + 1)
        self._gathering[key] = row
        self.alerts[row.alert_id] = row


def words(one: Outcome) -> str:
    """What became of it, in words.

    >>> words(Outcome(b"", "", b"", "", Verdict.FAILED, 0, 0, exit_code=1))
    'failed, exit 1'
    >>> words(Outcome(b"", "", b"", "", Verdict.MISSED, 0, 0, "asleep", count=3))
    'missed 3 planned starts: asleep'
    """
    said = one.verdict.word.replace("_", " ")
    if one.verdict is Verdict.INTERRUPTED and not one.reason:
        return f"{said}: may or may not have started"
    if one.count > 1:
        said = f"{said} {one.count} planned starts"
    detail, reason = "", one.reason
    if one.signal is not None:
        detail = signal_name(one.signal)
        reason = reason.replace(f"killed by signal {one.signal}", detail)
    elif one.exit_code:
        detail = f"exit {one.exit_code}"
    if detail and detail in reason:  # it says that, and perhaps of which step
        return f"{said}, {reason}"
    if detail:
        said = f"{said}, {detail}"
    return f"{said}: {reason}" if reason else said
