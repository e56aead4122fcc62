"""What do runs print while they run? Followed until they have ended, one or many at once.

Of one run the output goes out as it is, as `logs` has it; of several each line has its worker
before it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from barto_cli.client import NO_SUCH_THING, UNREACHABLE, Failure
from barto_cli.commands.history import outcome
from barto_cli.given import Given
from barto_cli.lines import bytes_of, colour_of
from barto_cli.render import COLOURS, plain
from libbarto.harmless import safe, safe_lines

POLL_FIRST_S: Final = 0.1
POLL_MOST_S: Final = 1.0
OUTPUT_S: Final = 15.0
"""How long what a run printed is waited for, once it has ended."""
AWAY_S: Final = 300.0
"""How long a server that went away is waited for."""


@dataclass(slots=True)
class _Followed:
    """A run, and how far it has been shown."""

    worker: str
    run_id: str
    known: dict[str, Any] | None = None
    attempt: int = 1
    after: int = -1
    rest: bytes = b""
    verdict: str | None = None
    reason: str = ""
    over: bool = False
    ended_at: float | None = None


@dataclass(slots=True)
class Follower:
    """Follows the runs of an answer that are with a worker; with `shown` what they print is
    written."""

    given: Given
    answer: Mapping[str, Any]
    shown: bool
    _runs: list[_Followed] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._runs = [
            _Followed(one["worker"], one["run"])
            if one["run"] is not None
            else _Followed(one["worker"], "", reason=f"refused: {one['reason']}", over=True)
            for one in self.answer["workers"]
        ]

    @property
    def all_ok(self) -> bool:
        """Did all of them end ok?"""
        return all(one.verdict == "ok" for one in self._runs)

    def runs(self) -> list[dict[str, Any]]:
        """What the server says of each that ran."""
        return [one.known for one in self._runs if one.known is not None]

    def until_ended(self) -> None:
        """Until each has ended, or is known not to start now."""
        progress = self.given.progress
        if self.shown:
            progress.stop()
        with progress.waiting():
            self._wait()
        for one in self._runs:
            self._say_end(one)

    def _wait(self) -> None:
        pause, away_since = POLL_FIRST_S, None
        while not all(one.over for one in self._runs):
            over = sum(one.over for one in self._runs)
            self.given.progress.say("runs have ended", over, len(self._runs))
            try:
                moved = self._look_at_all()
            except Failure as error:
                # What runs goes on without a server, which may only be started anew.
                now = time.monotonic()
                if error.exit_code != UNREACHABLE or now - (away_since or now) > AWAY_S:
                    raise
                if away_since is None:
                    self.given.note("the server is away, and what runs goes on; trying again")
                    away_since = now
                moved, pause = False, POLL_MOST_S
            else:
                away_since = None
            pause = POLL_FIRST_S if moved else min(POLL_MOST_S, pause * 1.5)
            if not all(one.over for one in self._runs):
                time.sleep(pause)

    def _look_at_all(self) -> bool:
        moved = self._look_at_orders()
        for one in self._runs:
            if not one.over:
                moved = self._look(one) or moved
        return moved

    # -- what there is to see ---------------------------------------------------------------------

    def _look_at_orders(self) -> bool:
        """Who has it by now, and what will not run at all."""
        waiting = [one for one in self._runs if one.known is None and not one.over]
        if not waiting:
            return False
        request = quote(str(self.answer["request"]))
        told = self.given.client.get(f"/api/v1/orders/{request}")["workers"]
        states = {state["run"]: state for state in told}
        moved = False
        for one in waiting:
            state = states.get(one.run_id)
            if state is None:
                continue
            one.worker = state["worker"] or one.worker
            if state["verdict"] is not None:
                one.verdict, one.reason, one.over = state["verdict"], state["reason"], True
                moved = True
            elif state["state"] == "offline":
                one.reason, one.over = "is offline; it starts when it comes back in time", True
                moved = True
        return moved

    def _look(self, one: _Followed) -> bool:
        path = f"/api/v1/runs/{quote(one.run_id)}"
        try:
            found: dict[str, Any] = self.given.client.get(path)
        except Failure as error:
            if error.exit_code == NO_SUCH_THING:
                return False  # nobody has claimed it yet
            raise
        if found["attempt"] != one.attempt:
            self._flush(one)
            one.attempt, one.after = found["attempt"], -1
        one.known = found
        moved = self.shown and self._print(one, path)
        if found["verdict"] is None:
            return moved
        if one.ended_at is None:
            one.ended_at = time.monotonic()
        # Where it is complete, all that it printed was there before this was looked at.
        late = time.monotonic() - one.ended_at > OUTPUT_S
        if found["complete"] or late or not self.shown:
            one.verdict, one.reason, one.over = found["verdict"], found["reason"], True
            self._flush(one)
            if self.shown and not found["complete"]:
                self.given.note(f"{plain(one.worker)}: not all that it printed is here")
            return True
        return moved

    def _print(self, one: _Followed, path: str) -> bool:
        moved = False
        while True:
            query = {"after": one.after, "attempt": one.attempt}
            page = self.given.client.get(f"{path}/output.json", query)
            for segment in page["segments"]:
                moved = True
                one.after = segment["chunk"]
                self._write(one, bytes_of(segment))
            if page["next"] is None:
                return moved

    # -- writing ----------------------------------------------------------------------------------

    def _write(self, one: _Followed, data: bytes) -> None:
        if len(self._runs) == 1 and not self.given.screen.terminal:
            self.given.out.flush()
            self.given.raw.write(data)
            self.given.raw.flush()
            return
        lines = (one.rest + data).split(b"\n")
        one.rest = lines.pop()
        self._lines(one, lines)

    def _flush(self, one: _Followed) -> None:
        if one.rest:
            self._lines(one, [one.rest])
            one.rest = b""

    def _lines(self, one: _Followed, lines: list[bytes]) -> None:
        before = self._before(one)
        for line in lines:
            text = safe_lines(line.decode("utf-8", "backslashreplace").removesuffix("\r"))
            self.given.out.write(f"{before}{text}\n")
        self.given.out.flush()

    def _before(self, one: _Followed) -> str:
        if len(self._runs) == 1:
            return ""
        width = max(len(safe(other.worker)) for other in self._runs)
        return self.given.screen.paint(f"{safe(one.worker):<{width}} | ", colour_of(one.worker))

    def _say_end(self, one: _Followed) -> None:
        if one.verdict is None:
            self.given.note(f"{one.worker or 'it'} {one.reason}")
            return
        words = outcome(one.known or {"verdict": one.verdict, "reason": one.reason})
        words = self.given.screen.shape(one.verdict) + words
        words = f"{plain(one.worker)}: {words}" if one.worker else words
        self.given.say(words, COLOURS.get(one.verdict))
