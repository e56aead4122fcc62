"""Why did a planned start end as it did, or not begin? One paragraph out of the ledger, with the
next step: facts go in, sentences come out.

The facts are gathered by `bartos.asking_why`. What is not known is left out, never guessed.
Instants are microseconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bartos.exits import ended_in_words
from bartos.ledger import shortly
from bartos.outlook import DISABLED, DRAINED, NEVER, OFFLINE, PAUSED, Drain, Timer
from bartos.store.orders import OrderRow, PauseRow
from bartos.store.port import EventRow, RunRow, SlotRange, StepRow, WaitingRow
from bartos.why_words import Face, command, lasted, listed, many
from libbarto.harmless import safe
from libbarto.identity import Kind, uuid_text
from libbarto.message.v2.record import Verdict
from libbarto.quantity import format_duration
from libbarto.states import Act, state_of

LATE_US: Final = 1_000_000
"""A start that is late by less is not called late."""
LONGER: Final = 1.5
"""So many times the usual is called longer than usual."""
OKS_MOST: Final = 100
"""So many runs before are looked at."""

NOT_DUE: Final = "not_due"
PLANNED: Final = "planned"
NOT_COUNTED: Final = "not_counted"
NO_WORKER: Final = "no_worker"
NOT_FOLLOWED: Final = "not_followed"
NEVER_DUE: Final = "never"

OUT_OF_MEMORY: Final = "out of memory"
"""How the reason of a step begins whose process the kernel ended as memory ran out."""

# The reasons of workers (bartoc), by how they begin.
DOWN: Final = "the worker was down"
ASLEEP: Final = "the host was asleep"
FORWARD: Final = "the host's clock was put forward"
WRONG: Final = "the host's clock was wrong"
DISK: Final = "disk"
NO_KEEPER: Final = "the keeper of commands could not be reached"
NO_SERVER: Final = "no server for longer than offline_max"
NEWER: Final = ("too late: a newer one was due", "too late: a newer one started")
TOO_LATE: Final = "too late: start_within had passed"
NOT_CAUGHT_UP: Final = "too late: it could not start within catch_up"
WILL_BE_NEWER: Final = "too late: a newer one is to be caught up"


# -- facts ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Away:
    """The server did not see a worker from `since` to `until` (None: it is not here yet); it was
    not there itself before `server_from`, where that is within."""

    since: int
    until: int | None
    server_from: int | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """A schedule as it was in force from `since` on; `keys` are those of its definition."""

    number: int
    since: int
    keys: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Before:
    """What ran before: `oks` in a row right before (of at most `OKS_MOST`), or, where the last
    ones failed as well, `failures` in a row with this one, since `since`; the last that was ok."""

    oks: int = 0
    failures: int = 1
    since: int | None = None
    last_ok: RunRow | None = None


@dataclass(frozen=True, slots=True)
class Since:
    """What changed between the last good run and this one: of the schedule (`keys`, by the version
    of this instant), of the worker's program (from, to), and whether its host was started anew."""

    keys: Sequence[str] = ()
    at: int | None = None
    versions: tuple[str, str] | None = None
    rebooted: bool = False


@dataclass(frozen=True, slots=True)
class Policies:
    """The keys of a schedule that decide whether a start begins; durations in seconds."""

    enabled: bool = True
    overlap: str = "skip"
    missed: str = "latest"
    catch_up: float = 3600.0
    start_within: float = 30.0
    timeout: float | None = None
    rerun_interrupted: bool = False
    after: str | None = None
    when: str = "ok"
    workers: str = ""
    runbook: str = ""
    floating: bool = False
    on_boot: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """Since when a schedule counts on a worker: from `begins` to `ends`, in version `version`."""

    begins: int
    ends: int | None
    version: int


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of a start. `face` is the reader's clock, `own` the schedule's.

    `cover` is what the ledger has for it. `state` is told where that alone does not tell: `stuck`,
    `late`, `unknown`, or one of this module's. `around` are the planned starts before and after.
    """

    schedule: str
    worker: str
    slot: int | None
    face: Face
    own: Face
    cover: RunRow | SlotRange | WaitingRow | OrderRow | None = None
    state: str = ""
    policies: Policies | None = None
    """None where the schedule is not in force any more."""
    steps: Sequence[StepRow] = ()
    lines: Sequence[str] = ()
    before: Before = Before()
    since: Since = Since()
    usual: Sequence[int] = ()
    """How long its last runs took that ended ok (microseconds)."""
    stuck: str = ""
    blocking: RunRow | None = None
    parent: RunRow | SlotRange | None = None
    pause: PauseRow | None = None
    """The pause in force now."""
    paused_by: EventRow | None = None
    """Who paused it then."""
    resumed: EventRow | None = None
    cancelled_by: EventRow | None = None
    order: OrderRow | None = None
    """Who ordered it by hand."""
    away: Away | None = None
    connected: bool = False
    last_seen: int | None = None
    drain: Drain | None = None
    spans: Sequence[Span] = ()
    around: tuple[int | None, int | None] = (None, None)
    timer: Timer | None = None
    others: Mapping[str, int] = field(default_factory=dict)
    """Of the same start on other workers: how many have which state."""
    near: str | None = None
    """A name of a worker that may have been meant."""
    removed: int | None = None
    """Since when it is not in force."""
    renamed: tuple[str, int] | None = None
    """The name by which it was asked for, which it bore until then."""

    @property
    def now(self) -> int:
        """When it is asked."""
        return self.face.now


# -- the answer -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """A next step: what it does, and the command for it (empty where there is none)."""

    words: str
    command: str = ""

    def __str__(self) -> str:
        return f"{self.words}:  {self.command}" if self.command else self.words


@dataclass(frozen=True, slots=True)
class Why:
    """The answer. `lines` are the last ones that it printed; `next` says when it is due again, at
    `next_at`; `act` whether someone must do something."""

    state: str
    headline: str
    because: Sequence[str]
    lines: Sequence[str] = ()
    next: str = ""
    next_at: int | None = None
    steps: Sequence[Step] = ()
    act: Act = Act.NO

    @property
    def text(self) -> str:
        """All of it: a paragraph, what was printed, what is next, and commands, each on a line of
        its own."""
        parts = [" ".join([self.headline, *self.because])]
        parts += [f"    {line}" for line in self.lines]
        if self.next:
            parts.append(self.next)
        parts += [str(step) for step in self.steps]
        return "\n".join(parts)


def explain(facts: Facts) -> Why:
    """Why it is as it is."""
    teller = _Teller(facts)
    told = list(teller.because())
    told += teller.elsewhere()
    steps = list(teller.steps())
    state = teller.state
    timer = facts.timer
    return Why(
        state,
        teller.headline(),
        told,
        facts.lines,
        teller.next(),
        timer.next if timer is not None and facts.policies is not None else None,
        steps,
        state_of(state).act if state in _WORDS else Act.NO,
    )


_WORDS: Final[Mapping[str, str]] = {
    "ok": "ok",
    "running": "running",
    "stuck": "running, and it seems to be stuck",
    "waiting": "waiting",
    "failed": "failed",
    "timed_out": "timed out",
    "lost": "lost",
    "late": "late",
    "interrupted": "interrupted",
    "missed": "not run (missed)",
    "skipped": "not run (skipped)",
    "cancelled": "cancelled",
    "unknown": "unknown",
}


class _Teller:
    """Finds the words for one set of facts."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.face = facts.face
        self.state = facts.state or _state(facts.cover)

    # -- the headline -----------------------------------------------------------------------------

    def headline(self) -> str:
        """What it is about, and what became of it."""
        facts = self.facts
        who = f"{safe(facts.schedule)}{self._on()}"
        word = _WORDS.get(self.state)
        if word is None:
            return f"{who}: {self._strange()}."
        tail = self._code() if self.state == "failed" else ""
        return f"{who}, {self._which()}: {word}{tail}."

    def _on(self) -> str:
        return f" on {safe(self.facts.worker)}" if self.facts.worker else ""

    def _which(self) -> str:
        facts = self.facts
        if facts.slot is None:
            return "at any time"
        kind = _kind(facts.cover)
        when = self.face.due(facts.slot, facts.own)
        if kind == Kind.MANUAL:
            return f"by hand at {when}"
        if kind == Kind.EXEC:
            return f"a command of {when}"
        if kind == Kind.FOLLOW:
            return f"after {safe(self._parent())} of {when}"
        if facts.policies is not None and facts.policies.on_boot:
            return f"at the boot of {when}"
        count = facts.cover.count if isinstance(facts.cover, SlotRange) else 1
        return f"due {when}" if count == 1 else f"{count:,} planned starts, this one due {when}"

    def _parent(self) -> str:
        policies = self.facts.policies
        return policies.after if policies is not None and policies.after else "another"

    def _strange(self) -> str:
        """What is said of a start that is none."""
        facts = self.facts
        when = "" if facts.slot is None else self.face.due(facts.slot, facts.own)
        match self.state:
            case "planned":
                return f"planned for {when}"
            case "not_due":
                return f"not due at {when}"
            case "not_counted":
                return "is not to run there" if not when else f"was not to run there at {when}"
            case "no_worker":
                return "runs nowhere"
            case "not_followed":
                return f"did not follow {safe(self._parent())} of {when}"
            case _:
                return "never due"

    def _code(self) -> str:
        step = self._failing()
        if step is not None:
            return f", {_ended(step)}"
        run = self._run()
        if run is None or (run.exit_code is None and run.signal is None):
            return ""
        return f", {ended_in_words(run.exit_code, run.signal)}"

    def _failing(self) -> StepRow | None:
        return next((step for step in self.facts.steps if not step.success), None)

    def _run(self) -> RunRow | None:
        cover = self.facts.cover
        return cover if isinstance(cover, RunRow) else None

    # -- why --------------------------------------------------------------------------------------

    def because(self) -> Iterator[str]:
        """The sentences, the most telling first."""
        if self.facts.renamed is not None:
            name, until = self.facts.renamed
            yield f"Until {self.face.about(until)} it was called {safe(name)}."
        yield from self._by_whom()
        tell: Mapping[str, Callable[[], Iterator[str]]] = {
            "ok": self._ok,
            "running": self._running,
            "stuck": self._running,
            "waiting": self._waiting,
            "failed": self._failed,
            "timed_out": self._timed_out,
            "cancelled": self._cancelled,
            "interrupted": self._interrupted,
            "lost": self._lost,
            "missed": self._missed,
            "skipped": self._skipped,
            "late": self._late,
            "unknown": self._unknown,
            PLANNED: self._planned,
            NOT_DUE: self._not_due,
            NOT_COUNTED: self._not_counted,
            NO_WORKER: self._no_worker,
            NOT_FOLLOWED: self._not_followed,
        }
        yield from tell.get(self.state, self._never_due)()
        if self.facts.removed is not None:
            yield f"It is not in force any more, since {self.face.about(self.facts.removed)}."

    def _by_whom(self) -> Iterator[str]:
        order = self.facts.order
        if order is not None and order.intent.who:
            why = f": {safe(order.intent.reason)}" if order.intent.reason else ""
            yield f"{safe(order.intent.who)} asked for it{why}."
        if _kind(self.facts.cover) == Kind.FOLLOW and self.facts.parent is not None:
            yield f"{safe(self._parent())} had ended {_outcome(self.facts.parent)}."

    def _ok(self) -> Iterator[str]:
        run = self._run()
        assert run is not None
        took = _took(run)
        if took is not None:
            usual = _usual(self.facts.usual)
            compared = f" (usual: {lasted(usual)})" if usual is not None else ""
            longer = usual is not None and took > max(LONGER * usual, LATE_US)
            yield f"It took {lasted(took)}{compared}{', longer than usual' if longer else ''}."
        yield from self._was_late(run)
        yield from self._attempts(run)
        if run.reason:
            yield _sentence(run.reason)

    def _was_late(self, run: RunRow) -> Iterator[str]:
        if run.late_us >= LATE_US and run.kind == Kind.CALENDAR:
            caught = self.facts.policies
            within = 30.0 if caught is None else caught.start_within
            how = "was caught up" if run.late_us > within * 1e6 else "began"
            yield f"It {how} {lasted(run.late_us)} late."

    def _attempts(self, run: RunRow) -> Iterator[str]:
        if run.attempt > 1:
            yield f"That was attempt {run.attempt}."

    def _running(self) -> Iterator[str]:
        run = self._run()
        assert run is not None
        began = run.claimed_at if run.started_at is None else run.started_at
        usual = _usual(self.facts.usual)
        compared = "" if usual is None else f"; it usually takes {lasted(usual)}"
        since = self.face.near(began, run.slot)
        yield f"It runs since {since}, for {lasted(self.facts.now - began)} now{compared}."
        if self.facts.stuck:
            yield f"{_sentence(self.facts.stuck)}"
        yield from self._was_late(run)
        yield from self._attempts(run)
        if not self.facts.connected:
            yield f"{self._the_worker()} is away, so nobody knows here whether it goes on."
        policies = self.facts.policies
        if policies is not None and policies.timeout is None and self.state == "stuck":
            yield "It has no timeout, so nothing will end it."

    def _failed(self) -> Iterator[str]:
        run = self._run()
        assert run is not None
        step = self._failing()
        if step is not None:
            count = len(self.facts.steps)
            name = f"Step {step.step} of {count}, `{_short(step.command)}`," if count > 1 else ""
            if name:
                yield f"{name} ended so."
            if step.reason and not step.reason.startswith(OUT_OF_MEMORY):
                yield _sentence(step.reason)
        elif run.reason:
            yield _sentence(run.reason)
        yield from self._history(run)

    def _timed_out(self) -> Iterator[str]:
        run = self._run()
        assert run is not None
        policies, usual = self.facts.policies, _usual(self.facts.usual)
        limit = policies.timeout if policies is not None else None
        timeout = "its timeout" if limit is None else f"its timeout of {format_duration(limit)}"
        compared = "" if usual is None else f"; it usually takes {lasted(usual)}"
        yield f"It took longer than {timeout}, and was ended{compared}."
        yield from self._history(run)

    def _history(self, run: RunRow) -> Iterator[str]:
        """Whether that is new, what was good last, and what changed since."""
        before = self.facts.before
        yield from self._attempts(run)
        if run.kind == Kind.EXEC:
            return  # what was run before it was another command
        if before.failures > 1 and before.since is not None:
            yield f"{before.failures:,} in a row now, since {self.face.at(before.since)}."
        elif before.oks:
            more = " or more" if before.oks >= OKS_MOST else ""
            yield (
                "That is new: the run before was ok."
                if before.oks == 1
                else f"That is new: the {before.oks}{more} runs before were ok."
            )
        good = before.last_ok
        if good is None:
            yield "It has never been ok here, as far as the history goes."
            return
        took = _took(good)
        yield f"Last ok: {self.face.at(good.slot)}{f' ({lasted(took)})' if took else ''}."
        changed = list(self._changes())
        if changed:
            yield f"Since then {listed(changed)}."
        else:
            yield "Nothing that barto knows of has changed since then."

    def _changes(self) -> Iterator[str]:
        since = self.facts.since
        if since.keys:
            when = "" if since.at is None else f" ({self.face.about(since.at)})"
            yield f"the schedule's {listed(since.keys)} changed{when}"
        if since.versions is not None:
            yield f"bartoc went from {safe(since.versions[0])} to {safe(since.versions[1])}"
        if since.rebooted:
            yield f"{safe(self.facts.worker)} was booted anew"

    def _cancelled(self) -> Iterator[str]:
        cover, event = self.facts.cover, self.facts.cancelled_by
        if event is not None:
            reason = str(event.facts.get("reason") or "")
            why = f": {safe(reason)}" if reason else ""
            at = self.face.near(event.at, self.facts.slot or event.at)
            yield f"{safe(str(event.facts.get('who') or 'Somebody'))} cancelled it at {at}{why}."
        elif isinstance(cover, RunRow | SlotRange | OrderRow) and cover.reason:
            yield _sentence(cover.reason)
        run = self._run()
        took = None if run is None else _took(run)
        if took is not None:
            yield f"It had run for {lasted(took)}."

    def _interrupted(self) -> Iterator[str]:
        run = self._run()
        assert run is not None
        claimed = self.face.near(run.claimed_at, run.slot)
        who = self._the_worker()
        if run.reason.startswith("did not start"):
            yield f"{who} claimed it at {claimed}, and it did not start: that is certain."
        elif run.reason.startswith("it had started"):
            yield f"{who} claimed it at {claimed}, it had started, and its end was not seen."
        else:
            yield f"{who} claimed it at {claimed}, and it may or may not have started."
        detail = run.reason.partition(": ")[2]
        if detail:
            yield _sentence(detail)
        if self.facts.since.rebooted:
            yield "The host was booted anew meanwhile."
        policies = self.facts.policies
        if policies is not None and not policies.rerun_interrupted:
            yield (
                "barto does not guess, so it was not run again; for a command that may run twice, "
                "rerun_interrupted = true does that."
            )

    def _lost(self) -> Iterator[str]:
        cover = self.facts.cover
        reason = cover.reason if isinstance(cover, RunRow | SlotRange | OrderRow) else ""
        yield "Nobody will tell any more whether it ran."
        if reason:
            yield _sentence(reason)
        if not self.facts.connected and self.facts.last_seen is not None:
            yield f"{self._the_worker()} was last heard of {self.face.about(self.facts.last_seen)}."
        yield "If it reports after all, its word takes the place of this."

    # -- what did not run -------------------------------------------------------------------------

    def _missed(self) -> Iterator[str]:
        reason, slot = self._reason(), self.facts.slot or 0
        policies = self.facts.policies or Policies()
        who, away = self._the_worker(), self.facts.away
        why = {ASLEEP: "asleep", DOWN: "bartoc was down"}.get(reason, "")
        if away is not None and away.until is not None and (why or not reason):
            since = self.face.near(away.since, slot)
            until = self.face.near(away.until, slot)
            shown = f" ({why})" if why else ""
            yield (
                f"{who} was away from {since} to {until}{shown}; at {until} it was "
                f"{lasted(away.until - slot)} late, {_too_late(policies)}."
            )
            if away.server_from is not None:
                at = self.face.near(away.server_from, slot)
                yield f"The server was not there either, until {at}."
        elif why:
            said = "its host was asleep" if reason == ASLEEP else "bartoc was not running there"
            limits = _limits(policies)
            yield f"{who} could not start it, as {said}, and then it was too late: {limits}."
        elif reason in NEWER or reason == WILL_BE_NEWER:
            rule = (
                '; missed = "latest" runs the newest alone' if policies.missed == "latest" else ""
            )
            yield f"A newer planned start took its place{rule}."
        elif reason == TOO_LATE:
            yield f"It was noticed too late: {_limits(policies)}."
        elif reason == NOT_CAUGHT_UP:
            yield (
                f"It was to be caught up, and could not start within catch_up "
                f"({format_duration(policies.catch_up)}): the worker was full, or a run went on."
            )
        elif reason.startswith(DISK):
            yield f"{who} could not write its journal ({_detail(reason)}); then nothing starts."
        elif reason.startswith(NO_KEEPER):
            yield f"{who} could not reach its keeper of commands; then nothing starts."
        elif reason.startswith((FORWARD, WRONG)):
            yield _sentence(reason)
        elif reason == NO_SERVER:
            yield f"{who} had no server for longer than offline_max, and then starts nothing."
        elif reason:
            yield _sentence(reason)

    def _skipped(self) -> Iterator[str]:
        reason = self._reason()
        match shortly(reason):
            case "overlap":
                yield from self._overlapped(reason)
            case "paused":
                yield from self._paused(_detail(reason))
            case "drained":
                yield from self._drained(_detail(reason))
            case "worker full":
                within = (self.facts.policies or Policies()).start_within
                yield (
                    f"{self._the_worker()} had as many runs as its max_running allows, for longer "
                    f"than start_within ({format_duration(within)})."
                )
            case "disabled" | "the schedule was removed or disabled":
                yield "It was waiting when its schedule was disabled or removed."
            case "":
                yield "Nobody said why."
            case _:
                yield _sentence(reason)

    def _overlapped(self, reason: str) -> Iterator[str]:
        run, policies = self.facts.blocking, self.facts.policies or Policies()
        rule = f'and overlap = "{policies.overlap}"'
        if "newer one" in reason:
            yield f"A newer start of it ran or waited already, {rule}."
        elif run is None:
            yield f"Another run of it was still going on, {rule}."
        else:
            began = run.claimed_at if run.started_at is None else run.started_at
            slot = self.facts.slot or began
            until = (
                "and runs still"
                if run.ended_at is None
                else f"and ended at {self.face.near(run.ended_at, slot)}"
            )
            yield (
                f"The run due {self.face.slot(run.slot, slot)} (since "
                f"{self.face.near(began, run.slot)}) was still running, {until}; {rule[4:]}."
            )

    def _paused(self, words: str) -> Iterator[str]:
        event, pause = self.facts.paused_by, self.facts.pause
        slot = self.facts.slot or self.facts.now
        if event is None:
            yield f"It was paused{f': {safe(words)}' if words else ''}."
        else:
            who = safe(str(event.facts.get("who") or "Somebody"))
            what = "everything" if "*" in _names(event) else "it"
            reason = str(event.facts.get("reason") or "")
            until = event.facts.get("until")
            end = f", until {self.face.near(until, slot)}" if isinstance(until, int) else ""
            why = f": {safe(reason)}" if reason else ""
            yield f"{who} paused {what} at {self.face.near(event.at, slot)}{end}{why}."
        if pause is not None:
            until = (
                "until it is resumed"
                if pause.until is None
                else f"until {self.face.near(pause.until, slot)}"
            )
            yield f"It is paused still, {until}."
        elif self.facts.resumed is not None:
            at = self.face.near(self.facts.resumed.at, slot)
            who = str(self.facts.resumed.facts.get("who") or "")
            yield f"The pause ended at {at}{f' by {safe(who)}' if who else ''}."

    def _drained(self, words: str) -> Iterator[str]:
        drain = self.facts.drain
        if drain is not None and drain.who:
            why = f": {safe(drain.reason)}" if drain.reason else ""
            yield f"{safe(drain.who)} drained {safe(self.facts.worker)}{why}."
            yield "It is drained still, and starts nothing new."
        else:
            yield f"{self._the_worker()} was drained{f': {safe(words)}' if words else ''}."

    # -- what has no verdict ----------------------------------------------------------------------

    def _waiting(self) -> Iterator[str]:
        cover = self.facts.cover
        if isinstance(cover, OrderRow):
            yield from self._ordered(cover)
            return
        assert isinstance(cover, WaitingRow)
        due = self.face.near(cover.due, cover.slot)
        match cover.why:
            case "catch_up":
                yield f"It is late, and will be caught up at {due}."
            case "queue":
                yield "Another run of it goes on; it begins when that ends."
            case "worker_full":
                yield f"{self._the_worker()} has as many runs as its max_running allows."
            case "retry":
                failed, following = cover.attempt - 1, cover.attempt
                yield f"Attempt {failed} failed; attempt {following} is due at {due}."
            case "follow":
                yield f"{safe(self._parent())} has ended, and it begins next."
            case other:
                yield _sentence(other)
        if cover.until is not None:
            until = self.face.near(cover.until, cover.slot)
            yield f"If it cannot begin before {until}, it is given up."

    def _ordered(self, order: OrderRow) -> Iterator[str]:
        intent = order.intent
        if not intent.worker:
            yield (
                "The server has offered it to a worker, and waits for the answer."
                if order.offers
                else "The server has found no worker for it yet."
            )
        elif self.facts.connected:
            yield f"{safe(intent.worker)} is told, and has not confirmed it yet."
        else:
            yield f"{safe(intent.worker)} is away; it starts it when it comes back in time."
        if intent.until > self.facts.now:
            yield f"After {self.face.near(intent.until, intent.slot)} it is given up."

    def _late(self) -> Iterator[str]:
        behind = lasted(self.facts.now - (self.facts.slot or self.facts.now))
        yield (
            f"{self._the_worker()} is connected, and has not said in {behind} what became of it: "
            "it is busy, its clock is behind, or its records are on their way."
        )

    def _unknown(self) -> Iterator[str]:
        who = self._the_worker()
        seen = self.facts.last_seen
        since = "" if seen is None else f" since {self.face.near(seen, self.facts.slot or seen)}"
        yield (
            f"{who} is away{since}. It starts by its own clock, server or not, and tells what it "
            "did when it comes back."
        )

    def _planned(self) -> Iterator[str]:
        slot, timer = self.facts.slot, self.facts.timer
        assert slot is not None
        left = lasted(slot - self.facts.now)
        state = "" if timer is None else timer.state
        pause = self.facts.pause
        if pause is not None and (pause.until is None or slot < pause.until):
            who = f" by {safe(pause.who)}" if pause.who else ""
            why = f" ({safe(pause.reason)})" if pause.reason else ""
            yield f"It is paused{who}{why}, so it will be skipped."
        elif state == DISABLED:
            yield "The schedule is disabled (enabled = false)."
        elif state == DRAINED:
            yield f"{self._the_worker()} is drained, and starts nothing new."
        elif self.facts.connected or not self.facts.worker:
            yield f"That is in {left}."
        else:
            yield (
                f"That is in {left}. {self._the_worker()} is away now; it starts by its own clock, "
                "server or not."
            )

    def _not_due(self) -> Iterator[str]:
        before, after = self.facts.around
        slot = self.facts.slot or self.facts.now
        told = []
        if before is not None:
            told.append(f"{self.face.at(before)} before that")
        if after is not None:
            told.append(f"{self.face.at(after)} after it")
        if told:
            yield f"Its planned starts are {listed(told)}."
        else:
            yield f"It has no planned start around {self.face.at(slot)}."

    def _not_counted(self) -> Iterator[str]:
        slot = self.facts.slot or 0
        where = f" on {safe(self.facts.worker)}" if self.facts.worker else ""
        later = next((one for one in self.facts.spans if one.begins >= slot), None)
        earlier = [one for one in self.facts.spans if one.ends is not None and one.ends < slot]
        if earlier:
            ends = earlier[-1].ends or 0
            yield f"It was taken away there, or disabled, {self.face.about(ends)}."
        if later is not None:
            since = self.face.about(later.begins)
            yield f"It counts{where} since {since} (version {later.version})."
            yield "What is due up to then is none of its planned starts."
        elif not earlier:
            yield f"No set of schedules with it was ever confirmed{where}."
            if not self.facts.connected:
                yield f"{self._the_worker()} is away."

    def _no_worker(self) -> Iterator[str]:
        policies = self.facts.policies or Policies()
        if not policies.enabled:
            yield "The schedule is disabled (enabled = false)."
            return
        yield f'No worker is known that workers = "{safe(policies.workers)}" means.'
        if self.facts.near:
            yield f"Did you mean {safe(self.facts.near)}?"

    def _not_followed(self) -> Iterator[str]:
        policies, parent = self.facts.policies or Policies(), self.facts.parent
        if parent is None:
            yield f"It runs when {safe(self._parent())} has ended, which has not happened yet."
        else:
            yield (
                f"{safe(self._parent())} ended {_outcome(parent)}, and it follows with "
                f'when = "{policies.when}" only.'
            )

    def _never_due(self) -> Iterator[str]:
        timer, policies = self.facts.timer, self.facts.policies
        if self.facts.removed is not None:
            return  # which is said of all that is not in force
        if policies is not None and not policies.enabled:
            yield "The schedule is disabled (enabled = false)."
        elif policies is not None and policies.after:
            yield f"It runs when {safe(policies.after)} has ended, which has not happened yet."
        elif timer is not None and timer.reason:
            yield _sentence(timer.reason)
        else:
            yield "It has not been due yet."

    # -- the rest ---------------------------------------------------------------------------------

    def elsewhere(self) -> list[str]:
        """What became of it on other workers."""
        others = self.facts.others
        if not others:
            return []
        same = others.get(self.state, 0)
        told = [f"{many(same, 'other worker')} the same"] if same else []
        told += [
            f"{state_of(word).word} on {count:,}"
            for word, count in sorted(others.items())
            if word != self.state
        ]
        return [f"Elsewhere: {listed(told, 6)}."]

    def next(self) -> str:
        """When it is due again, or why it is not."""
        timer = self.facts.timer
        if timer is None or self.facts.policies is None or self.state in {NO_WORKER, PLANNED}:
            return ""
        if timer.next is not None:
            after = ", after the pause" if timer.state == PAUSED else ""
            return f"Next: {self.face.at(timer.next)}{after}."
        planned = timer.planned
        match timer.state:
            case "paused":
                return "Next: none, until it is resumed."
            case "drained":
                if timer.until is None:
                    return f"Next: none, until {safe(timer.worker)} is no longer drained."
                until = self.face.about(timer.until)
                return f"Next: none while {safe(timer.worker)} is drained, until {until}."
            case "disabled":
                return "Next: none, as it is disabled."
            case _ if planned is not None and timer.state == OFFLINE:
                return f"Next: {self.face.at(planned)}, by the worker's own clock."
            case _ if planned is not None:
                return f"Next: {self.face.at(planned)}."
            case _:
                return (
                    f"Next: {safe(timer.reason)}." if timer.state == NEVER and timer.reason else ""
                )

    def steps(self) -> Iterator[Step]:
        """What one may do now, the likeliest first."""
        facts, run = self.facts, self._run()
        on = ["--on", facts.worker] if facts.worker and not _floating(facts) else []
        again = Step("To run it now", command("run", facts.schedule, *on))
        name = "" if run is None else uuid_text(run.run_id)
        may_run = facts.policies is not None and facts.policies.enabled
        match self.state:
            case "failed" | "timed_out":
                yield Step("All that it printed", command("logs", name))
                if may_run:
                    yield Step("To run it once more", command("rerun", name))
            case "interrupted":
                yield Step("What it printed", command("logs", name))
                if may_run:
                    yield Step("To run it again, if it did not do its work", command("rerun", name))
            case "running" | "stuck":
                yield Step("To watch it", command("logs", "-f", name))
                yield Step("To end it", command("cancel", name))
            case "skipped" if facts.blocking is not None and facts.blocking.ended_at is None:
                other = uuid_text(facts.blocking.run_id)
                yield Step("To see what hinders it", command("logs", "-f", other))
                yield Step("To end that", command("cancel", other))
            case "skipped" | "planned" | "missed" if facts.pause is not None:
                every = [facts.schedule] if facts.pause.schedule else ["--all"]
                yield Step("To end the pause", command("resume", *every))
            case "skipped" | "planned" | "missed" if facts.drain is not None:
                yield Step("To let it start again", command("undrain", facts.worker))
            case "lost" if run is None or may_run:
                if may_run:
                    yield again
            case "missed" | "skipped" if may_run:
                yield again
            case "late" | "unknown":
                yield Step("How its worker is", command("worker", "list"))
            case "no_worker" if may_run:
                yield Step("To add a worker", command("worker", "add", facts.near or "NAME"))
            case "not_followed" | "never" if facts.policies is not None and facts.policies.after:
                yield Step("Why that is so", command("why", facts.policies.after, *on))
            case "not_due":
                yield Step("Its planned starts", command("timers", facts.schedule))
            case _:
                pass
        if facts.policies is not None and facts.policies.runbook and self._must_act():
            yield Step(f"Runbook: {safe(facts.policies.runbook)}")

    def _must_act(self) -> bool:
        return self.state in _WORDS and state_of(self.state).act is not Act.NO

    def _reason(self) -> str:
        cover = self.facts.cover
        return cover.reason if isinstance(cover, RunRow | SlotRange | OrderRow) else ""

    def _the_worker(self) -> str:
        return safe(self.facts.worker) or "Its worker"


# -- small words ----------------------------------------------------------------------------------


def _state(cover: RunRow | SlotRange | WaitingRow | OrderRow | None) -> str:
    match cover:
        case None:
            return NEVER_DUE
        case WaitingRow():
            return "waiting"
        case OrderRow(verdict=None):
            return "waiting"
        case RunRow(verdict=None):
            return "running"
        case _:
            assert cover.verdict is not None
            return cover.verdict.word


def _kind(cover: RunRow | SlotRange | WaitingRow | OrderRow | None) -> int:
    match cover:
        case None:
            return Kind.CALENDAR
        case OrderRow():
            return cover.intent.kind
        case _:
            return cover.kind


def _floating(facts: Facts) -> bool:
    return facts.policies is not None and facts.policies.floating


def _ended(step: StepRow) -> str:
    out_of_memory = (step.reason or "").startswith(OUT_OF_MEMORY)
    return ended_in_words(step.exit_code, step.signal, out_of_memory=out_of_memory)


def _took(run: RunRow) -> int | None:
    if run.started_at is None or run.ended_at is None:
        return None
    return run.ended_at - run.started_at


def _usual(took: Sequence[int]) -> int | None:
    """The median: half of the runs took no longer."""
    return sorted(took)[(len(took) - 1) // 2] if took else None


def _outcome(row: RunRow | SlotRange) -> str:
    word = state_of(None if row.verdict is None else row.verdict.word).word
    if isinstance(row, RunRow) and row.verdict is Verdict.FAILED and row.exit_code is not None:
        return f"{word} (exit {row.exit_code})"
    return word


def _limits(policies: Policies) -> str:
    if policies.missed == "none":
        return 'missed = "none" catches nothing up'
    return f"catch_up is {format_duration(policies.catch_up)}"


def _too_late(policies: Policies) -> str:
    return f"and {_limits(policies)}"


def _detail(reason: str) -> str:
    return reason.partition(":")[2].strip()


def _sentence(text: str) -> str:
    """A reason as a sentence of its own."""
    shown = safe(text).strip()
    return f"{shown[:1].upper()}{shown[1:]}{'' if shown.endswith(('.', '!', '?')) else '.'}"


def _short(text: str, most: int = 60) -> str:
    line = safe(text.strip().partition("\n")[0])
    whole = len(line) <= most and "\n" not in text.strip()
    return line if whole else f"{line[: most - 1]}…"


def _names(event: EventRow) -> Sequence[object]:
    names = event.facts.get("schedules")
    return names if isinstance(names, list) else ()
