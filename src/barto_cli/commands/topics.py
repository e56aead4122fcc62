"""What do the words mean? The command `help`, of topics that belong to no command."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from barto_cli.given import screen_of
from barto_cli.render import DIM, Column, Screen, table, width_of
from libbarto.command_line import Context
from libbarto.errors import UserError
from libbarto.states import STATES, Act

ENDED: Final = (
    *("ok", "failed", "timed_out", "cancelled", "skipped", "missed", "interrupted", "lost"),
)
"""The verdicts: what a planned start ends with, one of them and no other."""
NOT_YET: Final = ("running", "stuck", "waiting", "late", "unknown")
OTHERS: Final = ("connected", "away", "paused", "drained", "disabled")
MUST: Final = {Act.NO: "no", Act.LOOK: "look", Act.YES: "yes"}

EXIT_CODES: Final = (
    ("0", "done, whatever it reports"),
    ("1", "it failed, or a check found something"),
    ("2", "usage or configuration"),
    ("3", "the server, or its database, cannot be reached"),
    ("4", "refused"),
    ("5", "no such thing"),
    ("6", "something would change (plan)"),
    ("130", "interrupted"),
)


def _states(names: Sequence[str], screen: Screen, title: str) -> Iterator[str]:
    """A line for each state; what has no room goes on below itself."""
    import textwrap

    words = {name: screen.shape(name) + STATES[name].word for name in names}
    lead = max(map(width_of, [title, *words.values()]))
    head = f"{title:<{lead}}  ACT?  MEANS"
    yield screen.paint(head, DIM)
    indent = " " * (lead + 8)
    room = None if screen.width is None else max(20, screen.width - len(indent))
    for name, word in words.items():
        state = STATES[name]
        text = state.means if state.act is Act.NO else f"{state.means}; {state.advice}"
        first, *more = [text] if room is None else textwrap.wrap(text, room)
        fill = " " * (lead - width_of(word))
        yield f"{screen.paint(word, state.look.ansi)}{fill}  {MUST[state.act]:<4}  {first}"
        yield from (f"{indent}{line}" for line in more)


def verdicts(screen: Screen) -> Iterator[str]:
    """A line for each word, and whether someone must act."""
    yield "Every planned start gets exactly one verdict."
    yield ""
    yield from _states(ENDED, screen, "VERDICT")
    yield ""
    yield from _states(NOT_YET, screen, "NOT YET")
    yield ""
    yield from _states(OTHERS, screen, "OTHERS")


def exit_codes(screen: Screen) -> Iterator[str]:
    """What barto-cli ends with."""
    rows = [{"code": code, "means": means} for code, means in EXIT_CODES]
    columns = [Column("code", "CODE", right=True, least=None), Column("means", "MEANS")]
    yield from table(columns, rows, screen)


def times(screen: Screen) -> Iterator[str]:
    """How times are written."""
    rows = [
        {"text": text, "means": means}
        for text, means in (
            ("2h, 30m, 7d", "so long ago"),
            ("now, today, yesterday", "now, or the midnight before"),
            ("2026-11-24", "the midnight at which that day begins"),
            ("2026-11-24 08:00", "a time in your zone"),
            ("2026-11-24T08:00:00Z", "a time of RFC 3339, in any zone"),
        )
    ]
    yield f"Times are read and shown in your zone, {screen.zone.name}; with --utc in UTC."
    yield ""
    yield from table(
        [Column("text", "WRITTEN", least=None), Column("means", "MEANS")], rows, screen
    )


TOPICS: Final[Mapping[str, Callable[[Screen], Iterator[str]]]] = {
    "verdicts": verdicts,
    "exit-codes": exit_codes,
    "times": times,
}


def explained(context: Context, words: Sequence[str]) -> str:
    """The text of a topic or of a command's help. Raises `UserError` for what is neither."""
    root: Any = context.find_root()
    if not words:
        return f"{root.get_help()}\n"
    topic = TOPICS.get(" ".join(words))
    if topic is not None:
        lines = topic(screen_of(sys.stdout, utc=False))
        return "".join(f"{line}\n" for line in lines)
    command, where = root.command, root
    for number, word in enumerate(words):
        known = getattr(command, "commands", {})
        if word not in known:
            import difflib

            names = [*known, *(TOPICS if number == 0 else ())]
            near = difflib.get_close_matches(word, names, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
            raise UserError(f'no command or topic is called "{" ".join(words)}"; {hint}')
        command = known[word]
        where = Context(command, info_name=word, parent=where)
    return f"{command.get_help(where)}\n"
