"""Where barto-cli begins: which command is asked for, and need the whole command line be imported?

Making the command line takes longer than showing a calendar. So what is plainly `calendar` is read
here in a quick way, from the same table of options; whatever is not plain (help, completion, a
mistake) goes the thorough way of `barto_cli.app`, with the same result.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from barto_cli.asked import MOST, OPTIONS, Wanted
from barto_cli.ending import ended_well, program_name
from barto_cli.render import Format

_BEFORE = {"-c": 1, "--config": 1, "-q": 0, "--quiet": 0, "-o": 1, "--output": 1, "--utc": 0}
"""Options before the command, and how many arguments they have; the first four change nothing."""
_NUMBERS = {"limit": (1, MOST), "workers": (0, sys.maxsize)}
_FLAGS = {flag: name for name, option in OPTIONS.items() for flag in option.flags}
_FORMS = {form.value: form for form in Format}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    plain = quickly(given)
    if plain is None:
        from barto_cli import app

        return app.main(arguments)
    from barto_cli.commands.calendar import answer

    wanted, form, utc = plain
    return ended_well(program_name(arguments), lambda: answer(wanted, form, utc))


def quickly(arguments: Sequence[str]) -> tuple[Wanted, Format, bool] | None:
    """What is wanted where that is plainly a calendar; None where it takes more to tell."""
    left = list(arguments)
    form, utc = "table", False
    while left and left[0] != "calendar":
        word = left.pop(0)
        count = _BEFORE.get(word)
        if count is None or len(left) < count:
            return None
        if word in OPTIONS["output"].flags:
            form = left[0]
        utc = utc or word == "--utc"
        del left[:count]
    if not left:
        return None
    values: dict[str, object] = {}
    expressions: list[str] = []
    del left[0]
    while left:
        word = left.pop(0)
        name = _FLAGS.get(word)
        if name is None:
            if word.startswith("-"):
                return None
            expressions.append(word)
        elif not OPTIONS[name].metavar:
            values[name] = True
        elif not left or left[0].startswith("-"):
            return None
        else:
            values[name] = left.pop(0)
    form, utc = str(values.pop("output", form)), bool(values.pop("utc", utc))
    for name, (least, most) in _NUMBERS.items():
        text = values.get(name)
        if isinstance(text, str):
            if not (text.isascii() and text.isdecimal() and least <= int(text) <= most):
                return None
            values[name] = int(text)
    if form not in _FORMS:
        return None
    return Wanted(tuple(expressions), **values), _FORMS[form], utc  # type: ignore[arg-type]  # as the table has them


if __name__ == "__main__":
    sys.exit(main())
