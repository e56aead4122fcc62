"""What does an exit code, or a signal, say? In words, for those who do not know the table by heart.

Sources: exit_status and signals as in bash(1) and POSIX (XCU 2.8.2), timeout(1), sysexits(3),
signal(7) with the numbers of Linux on x86 and ARM.
"""

from __future__ import annotations

from typing import Final

_SIGNALS: Final = (
    *("HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2"),
    *("PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG"),
    *("XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS"),
)
_OFTEN: Final = {
    2: "as by Ctrl-C",
    6: "it aborted itself",
    9: "by somebody, or by the kernel as memory ran out",
    11: "it touched memory that is not its own",
    13: "nobody read its output any more",
    15: "somebody asked it to end",
    24: "its limit of processor time was reached",
    25: "its limit of file size was reached",
}
_CODES: Final = {
    2: "often: it was called in a wrong way",
    64: "it was called in a wrong way",
    65: "its input was wrong",
    66: "it could not open its input",
    67: "it does not know the user",
    68: "it does not know the host",
    69: "a service that it needs was not there",
    70: "an error within the program",
    71: "the system refused it something",
    72: "a file of the system was missing or wrong",
    73: "it could not create its output",
    74: "reading or writing failed",
    75: "a passing trouble: the next try may succeed",
    76: "the other side broke the protocol",
    77: "it was not permitted",
    78: "its configuration is wrong",
    124: "the time that timeout(1) gave it was over",
    125: "the tool that was to run it failed itself",
    126: "the command was found, and could not be executed",
    127: "the command was not found",
    255: "out of range; of ssh: the connection failed",
}


def signal_name(number: int) -> str:
    """A signal's name, as `kill -l` has it.

    >>> signal_name(9), signal_name(34), signal_name(0)
    ('SIGKILL', 'signal 34', 'signal 0')
    """
    return f"SIG{_SIGNALS[number - 1]}" if 1 <= number <= len(_SIGNALS) else f"signal {number}"


def code_in_words(code: int) -> str:
    """What a command that ended with this code probably means by it; empty where nobody knows.

    >>> code_in_words(127)
    'the command was not found'
    >>> code_in_words(137)
    'killed by SIGKILL: by somebody, or by the kernel as memory ran out'
    >>> code_in_words(1)
    ''
    """
    if code in _CODES:
        return _CODES[code]
    return signal_in_words(code - 128) if 1 <= code - 128 <= len(_SIGNALS) else ""


def signal_in_words(number: int) -> str:
    """How a command ended that a signal ended.

    >>> signal_in_words(10)
    'killed by SIGUSR1'
    """
    often = _OFTEN.get(number)
    name = f"killed by {signal_name(number)}"
    return f"{name}: {often}" if often else name


def ended_in_words(code: int | None, signal: int | None, *, out_of_memory: bool = False) -> str:
    """How a command ended, short, with what that means.

    >>> ended_in_words(137, None, out_of_memory=True)
    'exit 137 (killed by SIGKILL: memory ran out)'
    >>> ended_in_words(3, None), ended_in_words(None, 15)
    ('exit 3', 'killed by SIGTERM: somebody asked it to end')
    """
    if out_of_memory:
        memory = f"killed by {signal_name(9)}: memory ran out"
        return memory if code is None else f"exit {code} ({memory})"
    if signal is not None:
        return signal_in_words(signal)
    if code is None:
        return "it could not start"
    words = code_in_words(code)
    return f"exit {code} ({words})" if words else f"exit {code}"
