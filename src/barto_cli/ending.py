"""How does the program end? Errors as one line for people, and exit codes (DESIGN section 9)."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Final

from libbarto.errors import BartoError, UserError
from libbarto.harmless import safe_lines

ERROR: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130


def program_name(arguments: Sequence[str] | None) -> str:
    """What the program was called by; its own name where it is called by another program."""
    return PurePath(sys.argv[0]).name if arguments is None else "barto-cli"


def have_streams() -> None:
    """Let what is closed (`>&-`, as some daemons start their children) lead to nowhere."""
    for number, mode in ((0, "r"), (1, "w"), (2, "w")):
        name = ("stdin", "stdout", "stderr")[number]
        if getattr(sys, name) is None:
            nowhere = io.FileIO(os.devnull, mode)
            buffer = io.BufferedReader(nowhere) if mode == "r" else io.BufferedWriter(nowhere)
            setattr(sys, name, io.TextIOWrapper(buffer, encoding="utf-8"))


def ended_well(program: str, work: Callable[[], int]) -> int:
    """The exit code of `work`; what it raises for people to read is told on standard error."""
    try:
        return work()
    except BartoError as error:
        code = USAGE if isinstance(error, UserError) else getattr(error, "exit_code", ERROR)
        sys.stderr.write(safe_lines(f"{program}: {error}\n"))
        return int(code)
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return INTERRUPTED
    except OSError as error:
        sys.stderr.write(safe_lines(f"{program}: cannot write: {error.strerror or error}\n"))
        return ERROR
