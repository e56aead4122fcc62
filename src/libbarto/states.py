"""What does a state look like, and must someone act? One table for the command line and the pages.

Every state is a word, a shape and a colour, in this order of importance: the word says all, the
shape stays where there is no colour, and the colours can be told apart by colour-blind eyes.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


class Act(enum.StrEnum):
    """Must someone do something about it?"""

    NO = "no"
    LOOK = "look"
    YES = "yes"


@dataclass(frozen=True, slots=True)
class Look:
    """What states of one kind share: `shape` is one character, `css` the class of the pages,
    `light` and `dark` the shape's colours there (on white, on near-black), `ansi` the parameters
    of SGR (ECMA-48 §8.3.117) in a terminal, of the reader's own palette."""

    css: str
    shape: str
    light: str
    dark: str
    ansi: str


OK: Final = Look("ok", "●", "#0072B2", "#56B4E9", "34")
RUNNING: Final = Look("running", "◐", "#007A59", "#4DD0A7", "36")
FAILED: Final = Look("failed", "■", "#B3261E", "#FF8A80", "31")
STUCK: Final = Look("stuck", "▲", "#9A5B00", "#FFB74D", "33")
INTERRUPTED: Final = Look("interrupted", "◆", "#7B3FA0", "#CE93D8", "35")
MISSED: Final = Look("missed", "○", "#5F6368", "#9AA0A6", "90")
UNKNOWN: Final = Look("unknown", "◌", "#5F6368", "#9AA0A6", "90")
PAUSED: Final = Look("paused", "‖", "#5F6368", "#9AA0A6", "90")

LOOKS: Final = (OK, RUNNING, FAILED, STUCK, INTERRUPTED, MISSED, UNKNOWN, PAUSED)


@dataclass(frozen=True, slots=True)
class State:
    """A state as people see it. `means` is a line without an end, `act` whether someone must do
    something, and `advice` how that reads."""

    name: str
    word: str
    look: Look
    act: Act
    means: str
    advice: str


_NOTHING: Final = "nothing to do"
_LOOK: Final = "someone should look"

_TABLE: Final = (
    State("ok", "ok", OK, Act.NO, "ran, and every step ended with 0", _NOTHING),
    State("running", "running", RUNNING, Act.NO, "has not ended", _NOTHING),
    State(
        "waiting",
        "waiting",
        RUNNING,
        Act.NO,
        "will start, or be given up: queued, to be caught up, for room, for a retry",
        _NOTHING,
    ),
    State(
        "failed",
        "failed",
        FAILED,
        Act.YES,
        "a step ended with another code, by a signal, or could not start",
        _LOOK,
    ),
    State(
        "timed_out",
        "timed out",
        FAILED,
        Act.YES,
        "it took longer than its timeout and was ended",
        _LOOK,
    ),
    State(
        "lost",
        "lost",
        FAILED,
        Act.YES,
        "nobody will tell: its worker was away for too long, was given up, or lost its records",
        "run it again if it must have run",
    ),
    State(
        "stuck",
        "stuck",
        STUCK,
        Act.LOOK,
        "runs for much longer than usual, or makes planned starts skip",
        "look at its output; cancel it if it hangs",
    ),
    State(
        "late",
        "late",
        STUCK,
        Act.LOOK,
        "its worker is connected, and more than 10 seconds behind",
        "look at the worker if it stays so",
    ),
    State(
        "interrupted",
        "interrupted",
        INTERRUPTED,
        Act.YES,
        "claimed, and its end was not seen: it may or may not have started",
        "see whether it did its work; run it again if not",
    ),
    State(
        "missed",
        "missed",
        MISSED,
        Act.LOOK,
        "did not run, and should have: the worker was down or asleep, or it was too late",
        "run it by hand if it must have run",
    ),
    State(
        "skipped",
        "skipped",
        MISSED,
        Act.NO,
        "did not run, and was not to: overlap, paused, drained, disabled, or the worker was full",
        "look, if it is often",
    ),
    State("cancelled", "cancelled", MISSED, Act.NO, "someone stopped it", _NOTHING),
    State(
        "unknown",
        "unknown",
        UNKNOWN,
        Act.LOOK,
        "its worker is away, and tells when it comes back",
        "bring the worker back",
    ),
    State("away", "away", UNKNOWN, Act.LOOK, "the worker is not connected", "bring it back"),
    State("connected", "connected", OK, Act.NO, "the worker is here", _NOTHING),
    State(
        "paused",
        "paused",
        PAUSED,
        Act.NO,
        "planned starts are skipped, as someone wished",
        _NOTHING,
    ),
    State(
        "drained",
        "drained",
        PAUSED,
        Act.NO,
        "the worker starts nothing new, as someone wished",
        _NOTHING,
    ),
    State("disabled", "disabled", PAUSED, Act.NO, "switched off in its definition", _NOTHING),
)

STATES: Final[Mapping[str, State]] = {state.name: state for state in _TABLE}
"""Every state by its name, as the API writes it."""


def state_of(name: str | None) -> State:
    """The state that the API calls `name`; a run without a verdict (None) runs.

    A name that is not known, as of a server that is newer, is a state of that word of which we
    can say nothing.

    >>> state_of(None).word, state_of("timed_out").word, state_of("novel").look.shape
    ('running', 'timed out', '◌')
    """
    if name is None:
        return STATES["running"]
    known = STATES.get(name)
    if known is not None:
        return known
    word = name.replace("_", " ")
    return State(name, word, UNKNOWN, Act.LOOK, "this version does not know it", _LOOK)
