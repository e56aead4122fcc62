"""What an operator asks of the server in a chaos run: pauses, and starts by hand.

Each answer may be lost on its way; then it is asked for again, by the same name.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.acceptance.fleet import Fleet, UnixConnection
from tests.chaos.database import Database
from tests.chaos.history import Cancel, Hold, Order

PATIENCE_S: Final = 90.0
AGAIN_S: Final = 0.5
ORDERS_EVERY_S: Final = 2.0
ORDERED: Final = ("work", "again")
CANCELLED: Final = ("work", "again", "float", "redo")

Answer = Mapping[str, Any]


class Refused(OSError):
    """The server said no, or nothing."""


class Asking:
    """Asks the server of a fleet; `orders`, `holds` and `cancels` are what came of it."""

    def __init__(self, fleet: Fleet, database: Database, seed: str) -> None:
        self.orders: list[Order] = []
        self.holds: list[Hold] = []
        self.cancels: list[Cancel] = []
        self._socket: Path = fleet.state / "bartos.sock"
        self._database = database
        self._rng = random.Random(f"orders {seed}")

    def ask(self, path: str, body: Mapping[str, object] | None, seconds: float = 5.0) -> Answer:
        """POST to the API, or (without a body) GET. Raises `Refused`."""
        connection = UnixConnection(self._socket, seconds)
        try:
            if body is None:
                connection.request("GET", path)
            else:
                headers = {"content-type": "application/json"}
                connection.request("POST", path, json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Refused(f"{path}: {error}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise Refused(f"{path}: {answer.status} {text[:200]!r}")
        told: Answer = json.loads(text)
        return told

    def insist(self, path: str, body: Mapping[str, object]) -> Answer:
        """Ask until it is answered: a server may be killed again and again. Raises `Refused` where
        it is no, or after a while."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self.ask(path, body)
            except Refused as error:
                no = any(f": {status} " in str(error) for status in (400, 409))
                if no or time.monotonic() > deadline:
                    raise
            time.sleep(AGAIN_S)

    # -- what the server says of its history ------------------------------------------------------

    def faults_of_the_history(self) -> list[str]:
        """What `barto-cli verify` finds wrong, or why it cannot tell."""
        found: list[str] = []
        cursor: object = ""
        while cursor is not None:
            query = f"?cursor={cursor}" if cursor else ""
            try:
                page = self.ask(f"/api/v1/verify{query}", None, PATIENCE_S)
            except Refused as error:
                return [*found, f"verify: {error}"]
            found += [
                "verify: {fault} of {schedule} on {worker}, {first} to {last}: {text}".format(**one)
                for one in page["faults"]
            ]
            cursor = page["next"]
        return found

    # -- pauses -----------------------------------------------------------------------------------

    def pause(self, schedule: str) -> Callable[[], None]:
        """Pause a schedule; what resumes it."""
        began = time.time_ns() // 1000
        confirmed: list[str] = []
        with contextlib.suppress(Refused):
            told = self.ask(f"/api/v1/schedules/{schedule}/pause", {"reason": "chaos", "wait": 1.0})
            workers = told["workers"]
            confirmed = [one["worker"] for one in workers if one["state"] == "confirmed"]
        first = self._generations(confirmed)
        hold = len(self.holds)
        self.holds.append(Hold(schedule=schedule, began=began, ended=began, generations={}))

        def resume() -> None:
            last = self._generations(confirmed)
            try:
                self.insist(f"/api/v1/schedules/{schedule}/resume", {"wait": 0.0})
            except Refused as error:
                if "it is not paused" not in str(error):
                    raise
            self.holds[hold] = Hold(
                schedule=schedule,
                began=began,
                ended=time.time_ns() // 1000,
                generations={
                    name: (first[name], last[name] + 1) for name in first.keys() & last.keys()
                },
            )

        return resume

    def _generations(self, workers: Sequence[str]) -> dict[str, int]:
        """The version of the set that the server has for each worker; none where it cannot tell."""
        try:
            rows = self._database.rows("name, generation", "worker")
        except OSError:
            return {}
        return {str(row[0]): int(row[1] or 0) for row in rows if row[0] in workers}

    # -- ends by hand -----------------------------------------------------------------------------

    def cancel(self, schedule: str) -> None:
        """End all runs of a schedule."""
        began = time.time_ns() // 1000
        runs: list[str] | None = None
        with contextlib.suppress(Refused):
            body = {"reason": "chaos", "wait": 0.0}
            told = self.ask(f"/api/v1/schedules/{schedule}/cancel", body)
            runs = [one["run"] for one in told["workers"]]
        ended = time.time_ns() // 1000
        self.cancels.append(Cancel(schedule=schedule, began=began, ended=ended, runs=runs))

    # -- starts by hand ---------------------------------------------------------------------------

    def order_until(self, over: threading.Event, workers: Sequence[str]) -> None:
        """Ask for a start every few seconds."""
        while not over.wait(ORDERS_EVERY_S):
            schedule, worker = self._rng.choice(ORDERED), self._rng.choice(workers)
            self.order(schedule, worker, uuid.UUID(int=self._rng.getrandbits(128), version=4))

    def order(self, schedule: str, worker: str, request: uuid.UUID) -> None:
        """Ask for one start, a few times where there is no answer."""
        body = {"schedule": schedule, "on": worker, "request": str(request), "wait": 0.0}
        at = time.time_ns() // 1000
        run: str | None = None
        for _ in range(3):
            with contextlib.suppress(Refused):
                for meant in self.ask("/api/v1/runs", body, 3.0)["workers"]:
                    run = meant["run"]
            if run is not None:
                break
        self.orders.append(Order(schedule=schedule, worker=worker, at=at, run=run))
