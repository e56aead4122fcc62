"""How does the program end? Errors as one line for people, and exit codes (DESIGN section 9)."""

from __future__ import annotations

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
