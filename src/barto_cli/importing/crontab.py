"""What do crontabs mean as schedules? Their text in, jobs and what is left out.

Read as cron reads it (crontab(5) of Debian's cron, and of cronie where that has more): variables
hold for the lines below them, `%` ends the command and begins its input, comments above a line are
what it is for.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from barto_cli.importing.jobs import Found, Job, Left, description, is_text
from libbarto.errors import UserError
from libbarto.realtime import zones
from libbarto.realtime.cron import Cron

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT: Final = re.compile(
    r"""\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<name>[^\s=]+))\s*=\s*(?P<value>.*)""",
    re.DOTALL,
)
_RUN_PARTS: Final = re.compile(r"\brun-parts\b.*?(/etc/cron\.[A-Za-z]+)")
_POSIX: Final = frozenset(("sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"))
_RUNNERS: Final[Mapping[str, tuple[int, str]]] = {
    **dict.fromkeys(("nohup", "exec", "time", "chronic"), (0, "")),
    **{"sudo": (0, "-u -g"), "env": (0, "-u"), "nice": (0, "-n"), "ionice": (0, "-c -n")},
    **{"flock": (1, "-w -E"), "timeout": (1, "-k -s")},
}
"""Programs that run another one: the words that come before it, and options that have a value."""
_NO_NAMES: Final = frozenset(
    ("cd", "test", "[", "[[", "command", "if", "then", ".", "source", "export")
)
_OWN: Final = frozenset(("MAILTO", "MAILFROM", "CONTENT_TYPE", "CONTENT_TRANSFER_ENCODING"))
"""Variables by which cron sends mail."""
_KEPT_BY_CRON: Final = frozenset(("LOGNAME", "USER"))


@dataclass(frozen=True, slots=True)
class Crontab:
    """A crontab: its text, what it is called, and whose it is.

    `user` is None where each line names it (/etc/crontab, /etc/cron.d). `name` is what its jobs
    are called after, where that says more than their commands. `file` is "" where there is none
    that may be written.
    """

    text: str
    where: str
    user: str | None
    zone: str
    name: str = ""
    file: str = ""


def read_crontab(crontab: Crontab) -> Found:
    """The jobs of a crontab, and what is left in it."""
    return _Reader(crontab).read()


def names_users(text: str, users: Collection[str]) -> bool:
    """Whether each job of a crontab seems to begin with one of `users`, as in /etc/crontab, where
    none is expected.

    >>> names_users("@daily root tidy", {"root"}), names_users("@daily tidy", {"root"})
    (True, False)
    """
    found = []
    for line in text.split("\n"):
        if _is_job(line.strip()) and not line.strip().startswith("#"):
            split = _split(line.strip(), with_user=True)
            found.append(split is not None and split[1] in users)
    return bool(found) and all(found)


class _Reader:
    """One reading of one crontab."""

    def __init__(self, crontab: Crontab) -> None:
        self.crontab = crontab
        self.variables: dict[str, str] = {}
        self.lost_always: list[str] = []
        self.comments: list[str] = []
        self.jobs: list[Job] = []
        self.left: list[Left] = []

    def read(self) -> Found:
        for number, line in enumerate(self.crontab.text.split("\n"), 1):
            self.line(number, line.removesuffix("\r"))
        return Found(tuple(self.jobs), tuple(self.left))

    def line(self, number: int, line: str) -> None:
        text = line.strip(" \t")
        if not text:
            self.comments.clear()
        elif text.startswith("#"):
            said = text.lstrip("#").strip()
            if said and not _is_job(said) and not said.startswith(("m h ", "*", ".-", "|")):
                self.comments.append(said)
        elif (found := _ASSIGNMENT.fullmatch(text)) and not text.startswith(("@", "*")):
            self.assign(number, text, found)
            self.comments.clear()
        else:
            self.job(number, text)
            self.comments.clear()

    def where(self, number: int) -> str:
        return f"{self.crontab.where}:{number}"

    def leave(self, number: int, text: str, reason: str, *, matters: bool = True) -> None:
        self.left.append(Left(self.where(number), text, reason, matters))

    # -- variables --------------------------------------------------------------------------------

    def assign(self, number: int, text: str, found: re.Match[str]) -> None:
        """A variable, which holds for the lines below."""
        name = found["double"] or found["single"] or found["name"] or ""
        value = found["value"].strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        if name in _OWN:
            self.mail(number, text, name, value)
        elif name in _KEPT_BY_CRON:
            self.leave(number, text, "cron does not let it be set either", matters=False)
        elif name == "RANDOM_DELAY":
            self.variables[name] = value
            self.leave(number, text, "is said at each job that it delays", matters=False)
        elif name in {"SHELL", "CRON_TZ"}:
            self.variables[name] = value
        elif NAME.fullmatch(name) is None or name.startswith("BARTO_") or not is_text(value):
            self.leave(number, text, "no variable of a schedule can be called so")
        else:
            self.variables[name] = value

    def mail(self, number: int, text: str, name: str, value: str) -> None:
        reason = "what a run prints is kept with it (`barto-cli logs`), and not sent by mail"
        self.leave(number, text, reason, matters=name == "MAILTO" and bool(value))

    # -- jobs -------------------------------------------------------------------------------------

    def job(self, number: int, text: str) -> None:
        """A line with a time and a command."""
        split = _split(text, with_user=self.crontab.user is None)
        if split is None:
            self.leave(number, text, "is no line of a crontab that could be read")
            return
        times, user, command = split
        lost: list[str] = []
        if times.startswith("-"):
            times = times[1:]  # cronie: keep this job out of the log
        try:
            Cron.parse(times)
        except UserError as error:
            said = str(error).split("\n")[0]
            self.leave(number, text, f"its time cannot be read: {said}")
            return
        if not is_text(text):
            self.leave(number, text, "is no text in UTF-8; write the schedule by hand")
            return
        anacron = re.search(r"\banacron\b", command) is not None
        if (parts := _RUN_PARTS.search(command)) is not None:
            self.leave(number, text, run_parts_way(parts[1], anacron=anacron))
            return
        command, given = split_input(command)
        if not command.strip():
            self.leave(number, text, "has no command that could be run")
            return
        owner = self.crontab.user if user is None else user
        keys: dict[str, object] = {}
        if self.comments:
            keys["description"] = description(self.comments)
        keys["cron"] = times
        keys["timezone"] = self.zone(lost)
        keys |= {"overlap": "allow", "missed": "none", "run_as": owner}
        keys |= self.surroundings(lost)
        self.commands(keys, command, given, lost)
        if times.lower() == "@reboot":
            del keys["missed"]
        self.jobs.append(
            Job(
                self.where(number),
                text,
                self.crontab.name or command_name(command),
                keys,
                tuple(lost),
                self.crontab.file,
                number,
            )
        )

    def zone(self, lost: list[str]) -> str:
        zone = self.variables.get("CRON_TZ")
        if zone is None:
            return self.crontab.zone
        if zones.is_zone(zone):
            return zone
        lost.append(f"CRON_TZ={zone}: no time zone has this name; {self.crontab.zone} is used")
        return self.crontab.zone

    def surroundings(self, lost: list[str]) -> dict[str, object]:
        """Shell, directory and environment."""
        keys: dict[str, object] = {}
        env = dict(self.variables)
        env.pop("CRON_TZ", None)
        shell = env.pop("SHELL", "")
        delay = env.pop("RANDOM_DELAY", "")
        if delay.isdecimal() and int(delay):
            lost.append(
                f"RANDOM_DELAY={delay}: each worker has times of its own with R in on_calendar, as "
                "in *-*-* 02:R"
            )
        if shell and shell not in {"/bin/sh", "sh"}:
            keys["shell"] = [shell, "-c"]
            env["SHELL"] = shell
        home = env.get("HOME", "")
        if home.startswith("/"):
            keys["cwd"] = home
        if env:
            keys["env"] = env
        return keys

    def commands(
        self, keys: dict[str, object], command: str, given: str | None, lost: list[str]
    ) -> None:
        if given is None:
            keys["cmds"] = [command]
            return
        shell = self.variables.get("SHELL", "sh").rpartition("/")[2]
        if shell not in _POSIX:
            lost.append(f"the input behind %: {shell} is no POSIX shell; give it by hand")
            keys["cmds"] = [command]
            return
        keys["script"] = with_input(command, given)


def _split(text: str, *, with_user: bool) -> tuple[str, str | None, str] | None:
    """The time, the user (where the line names one) and the command of a line."""
    count = (1 if text.startswith("@") else 5) + with_user
    words = re.findall(r"[^ \t]+", text)
    found = re.match(rf"((?:[^ \t]+[ \t]+){{{count}}})(.*)", text, re.DOTALL)
    if found is None or len(words) <= count:
        return None
    head = words[:count]
    user = head.pop() if with_user else None
    return " ".join(head), user, found[2]


def _is_job(text: str) -> bool:
    """Whether a comment is a line that was commented out."""
    split = _split(text, with_user=False)
    if split is None:
        return False
    try:
        Cron.parse(split[0])
    except UserError:
        return False
    return True


def split_input(command: str) -> tuple[str, str | None]:
    """A command as cron runs it, and what it reads: behind the first `%` that is not `\\%`.

    >>> split_input(r"date +\\%F")
    ('date +%F', None)
    >>> split_input("mail ann%hello%world")
    ('mail ann', 'hello\\nworld\\n')
    """
    parts: list[list[str]] = [[]]
    escaped = False
    for character in command:
        if character == "%" and not escaped:
            parts.append([])
        elif character == "%":
            parts[-1][-1] = "%"  # in the place of the backslash
        else:
            parts[-1].append(character)
        escaped = character == "\\" and not escaped
    first, *rest = map("".join, parts)
    given = "\n".join(rest)
    if not given:
        return first.rstrip(), None
    return first.rstrip(), given if given.endswith("\n") else f"{given}\n"


def with_input(command: str, given: str) -> str:
    """A command with what it reads, as a script.

    >>> print(with_input("mail ann", "hello\\n"), end="")
    mail ann <<'INPUT'
    hello
    INPUT
    """
    end, number = "INPUT", 1
    while end in given.split("\n"):
        end, number = f"INPUT{number}", number + 1
    # In braces: the command may be several, and the first of them is not to have it all.
    simple = re.search(r"[;&|(){}<>#\\\n]", command) is None
    whole = command if simple else f"{{ {command}\n}}"
    return f"{whole} <<'{end}'\n{given}{end}\n"


def command_name(command: str) -> str:
    """What a job is called after: the program that it runs.

    >>> command_name("cd / && sudo -u ann /usr/local/bin/backup.sh --full")
    'backup'
    """
    for part in re.split(r"&&|\|\||[;|{}]", command):
        skip, before, valued = 0, 0, ""
        for word in part.split():
            bare = word.strip("'\"()").rpartition("/")[2]
            if skip:
                skip -= 1
            elif bare in _RUNNERS:
                before, valued = _RUNNERS[bare]
            elif word in valued.split():
                skip = 1
            elif before and not word.startswith("-"):
                before -= 1
            elif bare in _NO_NAMES:
                break
            elif "=" not in bare and re.match(r"[A-Za-z]", bare):
                return re.sub(r"\.(sh|py|pl|rb|php|bash)$", "", bare)
    return "job"


def run_parts_way(directory: str, *, anacron: bool) -> str:
    """Why a line of run-parts is not taken, and what to do for the same."""
    also = " (anacron does it where it is installed, and catches up)" if anacron else ""
    return (
        f"it runs whatever lies in {directory}{also}: write a schedule for each of these files, as "
        f'cmds = ["{directory}/NAME"]'
    )


# -- anacron --------------------------------------------------------------------------------------


def read_anacrontab(text: str, where: str) -> Found:
    """What anacron does, none of which is taken, with the way to have it (anacrontab(5))."""
    return Found((), tuple(_anacron_lines(text, where)))


def _anacron_lines(text: str, where: str) -> Iterator[Left]:
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if len(words) < 4 or words[0].startswith("#") or "=" in words[0]:
            continue
        period, _, name, *_ = words
        when = _PERIODS.get(period, f'every = "{period}d"')
        yield Left(
            f"{where}:{number}",
            line.strip(),
            f'a schedule with {when}, missed = "latest" and catch_up = "72h" catches up as anacron '
            f'does; "{name}" runs whatever its command says',
        )


_PERIODS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("1", "@daily"), 'on_calendar = "daily"'),
    **dict.fromkeys(("7", "@weekly"), 'on_calendar = "weekly"'),
    "@monthly": 'on_calendar = "monthly"',
    **dict.fromkeys(("@yearly", "@annually"), 'on_calendar = "yearly"'),
}
