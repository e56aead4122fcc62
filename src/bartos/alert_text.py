"""How does an alert read? A message for people and programs, in which nothing that others wrote
does anything: escape sequences are taken out, and names of everybody call nobody.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote

from bartos.store.alerts import FAILED, MISSED, NO_RUN, RECOVERED, STUCK, AlertRow
from libbarto.harmless import UNSAFE
from libbarto.identity import uuid_text
from libbarto.realtime import zones

LINES: Final = 20
"""So many of the last lines are in a message."""
LINE_MAX: Final = 400
NAMED: Final = 20
"""So many workers the text names."""
CONTENT_MAX: Final = 1900
"""Characters of `content`: Discord takes 2,000."""
TEXT_MAX: Final = 12_000
SUBJECT_MAX: Final = 200
TEST: Final = "test"
VERSION: Final = 1

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SEQUENCE: Final = re.compile(
    # ECMA-48: CSI; strings (OSC, DCS, APC, PM, SOS) up to their end; other sequences.
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|$)"
    r"|\x1b[ -/]*[0-~]"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
_UNSAFE: Final = re.compile(f"[{UNSAFE}]")
_VERBS: Final = {
    FAILED: "failed",
    MISSED: "was missed",
    STUCK: "is stuck",
    RECOVERED: "has recovered",
}


@dataclass(frozen=True, slots=True)
class Around:
    """What a message says beside the alert: the server's address, how many workers the schedule
    matches, the last lines of the run of the first worker, and what the schedule says."""

    url: str
    total: int = 0
    lines: Sequence[str] = ()
    runbook: str = ""
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Message:
    """What goes by every channel."""

    alert_id: str
    event: str
    subject: str
    schedule: str = ""
    workers: Sequence[str] = ()
    count: int = 0
    total: int = 0
    verdict: str = ""
    planned: str = ""
    run: str = ""
    lines: Sequence[str] = ()
    runbook: str = ""
    link: str = ""
    why: str = ""
    text: str = ""
    at: str = ""

    def as_json(self) -> dict[str, object]:
        """The documented schema. `text` and `content` are for chats."""
        chat = calls_nobody(self.text)
        return {
            "version": VERSION,
            "id": self.alert_id,
            "event": self.event,
            "at": self.at,
            "subject": self.subject,
            "schedule": self.schedule,
            "worker": self.workers[0] if self.workers else "",
            "workers": list(self.workers),
            "worker_count": self.count,
            "worker_total": self.total,
            "verdict": self.verdict,
            "planned": self.planned,
            "run": self.run,
            "lines": list(self.lines),
            "runbook": self.runbook,
            "link": self.link,
            "why": self.why,
            "text": chat,
            "content": shortened(chat, CONTENT_MAX),
            "allowed_mentions": {"parse": []},
        }

    def as_environment(self) -> dict[str, str]:
        """What a command finds in its environment; it has the whole as JSON on its input."""
        named: Mapping[str, object] = {
            "ID": self.alert_id,
            "EVENT": self.event,
            "SUBJECT": self.subject,
            "SCHEDULE": self.schedule,
            "WORKER": self.workers[0] if self.workers else "",
            "WORKER_COUNT": self.count,
            "VERDICT": self.verdict,
            "PLANNED": self.planned,
            "RUN": self.run,
            "RUNBOOK": self.runbook,
            "LINK": self.link,
            "WHY": self.why,
            "TEXT": self.text,
        }
        return {f"BARTO_ALERT_{name}": str(value) for name, value in named.items()}


def compose(alert: AlertRow, around: Around) -> Message:
    """The message of an alert."""
    first = alert.members[0]
    where = _where(alert, around.total)
    # As its worker tells it.
    schedule = clean(alert.schedule)
    subject = shortened(clean(f"{schedule} {_VERBS[alert.event]} {where}"), SUBJECT_MAX)
    lines = [clean_line(line) for line in around.lines][-LINES:]
    verdict = clean(first.words)
    run = "" if first.run_id == NO_RUN else uuid_text(first.run_id)
    link = f"{around.url}/runs/{run}" if run else f"{around.url}/schedules/{quote(schedule)}"
    on = f" --on {shlex.quote(clean(first.worker))}" if first.worker else ""
    why = f"barto-cli why {shlex.quote(schedule)}{on}"
    workers = [clean(one.worker) for one in alert.members if one.worker]
    runbook = clean(around.runbook)
    body = [subject, f"{verdict}; planned for {local(first.slot, around.timezone)}"]
    if alert.count > 1:
        body[-1] = f"{workers[0]}: {body[-1]}" if workers else body[-1]
        named = ", ".join(workers[:NAMED])
        more = alert.count - min(len(workers), NAMED)
        body.append(f"workers: {named}{f' and {more} more' if more > 0 else ''}")
    if lines:
        body += ["", "last lines:", *(f"    {line}" for line in lines), ""]
    if runbook:
        body.append(f"runbook: {runbook}")
    body += [f"{'run' if run else 'schedule'}: {link}", f"why: {why}"]
    return Message(
        alert_id=alert.alert_id.hex(),
        event=alert.event,
        subject=subject,
        schedule=schedule,
        workers=workers,
        count=alert.count,
        total=max(around.total, alert.count),
        verdict=verdict,
        planned=rfc3339(first.slot),
        run=run,
        lines=lines,
        runbook=runbook,
        link=link,
        why=why,
        text=shortened("\n".join(body), TEXT_MAX),
        at=rfc3339(alert.at),
    )


def message_of_test(alert_id: str, now: int, url: str, who: str) -> Message:
    """What `alerts test` sends."""
    subject = "a test of barto's alerts"
    text = "\n".join(
        [
            subject,
            f"asked for by {clean(who)}; nothing has failed",
            f"server: {url}",
            "why: barto-cli status",
        ]
    )
    return Message(
        alert_id, TEST, subject, link=url, why="barto-cli status", text=text, at=rfc3339(now)
    )


def _where(alert: AlertRow, total: int) -> str:
    if alert.count == 1:
        worker = alert.members[0].worker
        return f"on {worker}" if worker else "(on no worker)"
    if total > alert.count:
        return f"on {alert.count} of {total} workers"
    return f"on {alert.count} workers"


# -- text -----------------------------------------------------------------------------------------


def clean(text: str) -> str:
    """`text` on one line, without escape sequences and all else that is no character to read.

    >>> clean("a\\x1b[31mb\\x1b]0;title\\x07c\\r\\nd")
    'abc d'
    """
    bare = _SEQUENCE.sub("", text).replace("\r\n", "\n")
    return _UNSAFE.sub("", re.sub(r"[\t\n\r]", " ", bare))


def clean_line(text: str) -> str:
    """A line of output as it stood at last: what a carriage return wrote over is gone.

    >>> clean_line("10 %\\r100 %")
    '100 %'
    """
    shown = text.rstrip("\r").rpartition("\r")[2]
    return shortened(clean(shown), LINE_MAX)


def shortened(text: str, most: int) -> str:
    """At most so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def calls_nobody(text: str) -> str:
    """A text for a chat, in which neither `@all` nor `<!channel>` nor a fence means anything."""
    apart = "\u200b"
    return text.replace("@", f"@{apart}").replace("<", f"<{apart}").replace("```", "'''")


def lines_at_end(data: Iterable[str], most: int = LINES) -> list[str]:
    """The last lines that are not empty at the end."""
    found = list(data)
    while found and not found[-1].strip():
        found.pop()
    return found[-most:]


def rfc3339(instant: int) -> str:
    """An instant in UTC, to the second; what no datetime can show is cut to what one can.

    >>> rfc3339(1_795_482_000_500_000), rfc3339(1 << 62)
    ('2026-11-24T01:00:00Z', '9999-12-29T00:00:00Z')
    """
    at = _EPOCH + timedelta(seconds=zones.shown(instant) // 1_000_000)
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def local(instant: int, timezone: str) -> str:
    """A planned start by the clock of its schedule's zone.

    >>> local(1_795_482_000_000_000, "Europe/Berlin")
    'Tue 24 Nov 2026 02:00:00 (Europe/Berlin)'
    """
    zone = zones.load(timezone)
    instant = zones.shown(instant)
    wall = zone.datetime((instant + zone.offset_at(instant)) // 1_000_000 * 1_000_000)
    return f"{wall:%a %d %b %Y %H:%M:%S} ({timezone})"
