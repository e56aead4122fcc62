"""What would an experienced colleague say of these schedules? Findings of `bartos check`.

Errors keep a configuration out of force. Warnings do not: they name, with file and line, what is
allowed and seldom meant; notes, what is worth a thought and may well be.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bartos.plan import Plan, WorkerFacts, without_workers
from bartos.schedules import BOOT, DEFAULT_ZONE, Definition
from libbarto.findings import Finding, Judged, Line, findings
from libbarto.realtime import Realtime
from libbarto.realtime.cron import Cron
from libbarto.realtime.moment import parse_moment
from libbarto.settings import Fault

_PIPEFAIL: Final = re.compile(r"(?:^|[\s;&|])set\s+(?:-\w+\s+)*-\w*o\s+pipefail\b")
_SHOWN: Final = 60
"""Characters of a command that a message quotes."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found."""

    faults: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()
    schedules: int = 0
    notes: tuple[Fault, ...] = ()

    @property
    def exit_code(self) -> int:
        """0, or 1 where the check found an error (DESIGN section 9)."""
        return 1 if self.faults else 0

    def __str__(self) -> str:
        """One finding a line, in order of file and line, and a summary."""
        found = [(fault, "") for fault in self.faults]
        found += [(warning, "warning: ") for warning in self.warnings]
        found += [(note, "note: ") for note in self.notes]
        found.sort(key=lambda item: (item[0].file, item[0].line))
        lines = [f"{fault.place}: {kind}{fault.message}" for fault, kind in found]
        counts = f"{_count(len(self.faults), 'error')}, {_count(len(self.warnings), 'warning')}"
        if self.notes:
            counts = f"{counts}, {_count(len(self.notes), 'note')}"
        if not self.faults:
            counts = f"{_count(self.schedules, 'schedule')}, {counts}"
        return "\n".join([*lines, f"{counts}; nothing changed"])


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def check(
    definitions: Sequence[Definition],
    faults: Iterable[Fault] = (),
    workers: Sequence[WorkerFacts] | None = None,
    now: int | None = None,
    *,
    zone_given: bool = True,
) -> Report:
    """The report on a configuration: `faults` from reading it, and warnings.

    `workers` are those that are known, None where nobody could be asked. With `now`
    (microseconds) the calendars are judged as well; `zone_given` says whether anybody wrote a
    zone for them.
    """
    doubted = [] if now is None else _of_calendars(definitions, workers, now, zone_given=zone_given)
    found = [
        *warnings(definitions, workers),
        *(_of_finding(finding) for finding in doubted if not finding.doubt.gentle),
    ]
    return Report(
        tuple(dict.fromkeys(faults)),
        tuple(sorted(found, key=lambda fault: (fault.file, fault.line))),
        len(definitions),
        tuple(_of_finding(finding) for finding in doubted if finding.doubt.gentle),
    )


def warnings(
    definitions: Sequence[Definition], workers: Sequence[WorkerFacts] | None = None
) -> list[Fault]:
    """What is allowed and seldom meant of commands and workers, in order of file and line."""
    found: list[Fault] = []
    for definition in definitions:
        for index, step in enumerate(definition.steps):
            key = ("cmds", index) if definition.script is None else ("script",)
            found += [_warning(definition, text, *key) for text in _of_command(definition, step)]
    if workers is not None:
        found += _of_workers(definitions, workers)
    return sorted(found, key=lambda fault: (fault.file, fault.line))


def _warning(definition: Definition, text: str, *key: str | int) -> Fault:
    place = definition.source.of(*key)
    return Fault(str(place), f'schedule "{definition.name}": {text}', place.file, place.line)


# -- calendars ------------------------------------------------------------------------------------


def _of_calendars(
    definitions: Sequence[Definition],
    workers: Sequence[WorkerFacts] | None,
    now: int,
    *,
    zone_given: bool,
) -> list[Finding]:
    """What was probably not meant by when they are due; those that are switched off are not."""
    counts: Counter[str] = Counter()
    if workers:
        plan = Plan(definitions)
        for worker in workers:
            counts.update(definition.name for definition in plan.matching(worker))
    return findings(
        [
            _judged(definition, counts[definition.name] if workers else None, zone_given=zone_given)
            for definition in definitions
            if definition.enabled
        ],
        now,
    )


def _judged(definition: Definition, count: int | None, *, zone_given: bool) -> Judged:
    """What the judge of calendars wants to know of a definition."""
    source = definition.source
    lines = [
        Line(text, source.of("on_calendar", index).line, (Realtime.parse(text),))
        for index, text in enumerate(definition.on_calendar)
    ]
    for index, text in enumerate(definition.cron):
        cron = Cron.parse(text)
        if not cron.at_boot:
            lines.append(Line(text, source.of("cron", index).line, cron.calendars.members))
    for index, text in enumerate(definition.at):
        if text != BOOT:
            instant = parse_moment(text, definition.timezone)
            lines.append(Line(text, source.of("at", index).line, (), instant))
    return Judged(
        name=definition.name,
        file=source.file,
        number=source.line,
        lines=tuple(lines),
        trigger=(
            f"{definition.every} {definition.anchor} {definition.after} {definition.when} "
            f"{definition.on_boot}"
        ),
        action=definition.steps,
        timezone=definition.timezone,
        zone_given=zone_given or definition.timezone != DEFAULT_ZONE,
        dst_gap=definition.dst_gap,
        dst_repeat=definition.dst_repeat,
        workers=definition.workers,
        floating=definition.floating,
        count=count,
    )


def _of_finding(finding: Finding) -> Fault:
    place = f"{finding.file}:{finding.number}"
    return Fault(place, str(finding), finding.file, finding.number)


# -- workers --------------------------------------------------------------------------------------


def _of_workers(
    definitions: Sequence[Definition], workers: Sequence[WorkerFacts]
) -> Iterator[Fault]:
    known = f"{_count(len(workers), 'worker')} known" if workers else "none is known yet"
    for definition in without_workers(definitions, workers):
        text = f'workers = "{definition.workers}" matches no known worker ({known})'
        yield _warning(definition, text, "workers")
    by_name = {definition.name: definition for definition in definitions}
    plan = Plan(definitions)
    for worker in workers:
        for refusal in plan.refusals(worker):
            text = f"does not run on {worker.name}: {refusal.reason}"
            yield _warning(by_name[refusal.schedule], text, "run_as")


# -- commands -------------------------------------------------------------------------------------


def _of_command(definition: Definition, command: str) -> Iterable[str]:
    bare = _without_quoted(command)
    shown = _quoted(command)
    shell = definition.shell
    if _is_posix_shell(shell):
        if _has_pipe(bare) and not _sees_pipes(shell, bare):
            remedy = 'shell = ["bash", "-euo", "pipefail", "-c"]'
            yield f"{shown}: a failure left of | is not seen under {shell[0]}; use {remedy}"
        if _sudo_may_ask(bare):
            yield f"{shown}: sudo without -n may wait for a password that nobody types; use sudo -n"
        if _only_cd(definition, bare):
            yield (
                f"{shown}: a cd alone changes nothing for the next command, which has a shell of "
                "its own; use cwd, or cd DIR && COMMAND"
            )
        if "\\%" in command:
            yield f"{shown}: \\% is of a crontab, where a bare % ends the line; write %"
        elif _percent_of_crontab(bare):
            yield (
                f"{shown}: a bare % is a line break in a crontab, and here only a %; "
                "use script for more lines, or printf … | COMMAND for input"
            )
    if definition.script is not None and command.startswith("#!"):
        yield f"the script's first line is not obeyed: it is run by {' '.join(shell)}; set shell"


def _quoted(command: str) -> str:
    line = command.strip().split("\n")[0]
    short = line if len(line) <= _SHOWN and "\n" not in command.strip() else f"{line[:_SHOWN]}…"
    return f'"{short}"'


def _is_posix_shell(shell: Sequence[str]) -> bool:
    return shell[0].rpartition("/")[2] in {"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"}


def _without_quoted(command: str) -> str:
    """The command with what is quoted, escaped or a comment blanked out, each character by `_`.

    That is enough to see operators and words; it is no parser of shells.
    """
    out: list[str] = []
    quote = ""
    position = 0
    while position < len(command):
        character = command[position]
        if quote:
            if character == "\\" and quote == '"':
                out.append("_")
                position += 1
            elif character == quote:
                quote = ""
            out.append("_")
        elif character in "'\"":
            quote = character
            out.append("_")
        elif character == "\\":
            out.append("__")
            position += 1
        elif character == "#" and (position == 0 or command[position - 1] in " \t\n;&|("):
            end = command.find("\n", position)
            position = len(command) if end < 0 else end
            continue
        else:
            out.append(character)
        position += 1
    return "".join(out)


def _has_pipe(bare: str) -> bool:
    """A single |, or |&; not || and not the >| of a redirection."""
    return re.search(r"(?<![|>])\|(?!\|)", bare) is not None


def _sees_pipes(shell: Sequence[str], bare: str) -> bool:
    return "pipefail" in shell or _PIPEFAIL.search(bare) is not None


def _commands(bare: str) -> list[list[str]]:
    """The simple commands of a line, as words."""
    parts = re.split(r"[;\n(){}]|&&|\|\||[|&]", bare)
    return [words for part in parts if (words := part.split())]


def _sudo_may_ask(bare: str) -> bool:
    """Whether a sudo runs a command without -n among its options (sudo(8))."""
    for words in _commands(bare):
        if words[0].rpartition("/")[2] != "sudo":
            continue
        argument = False
        for word in words[1:]:
            if argument:
                argument = False
            elif word == "--non-interactive" or re.fullmatch(r"-[A-Za-z]*n[A-Za-z]*", word):
                break
            elif not word.startswith("-"):
                return True
            else:
                argument = re.fullmatch(r"-[A-Za-z]*[ughpCTUDRrt]", word) is not None
    return False


def _only_cd(definition: Definition, bare: str) -> bool:
    commands = _commands(bare)
    return definition.script is None and len(commands) == 1 and commands[0][0] in {"cd", "pushd"}


def _percent_of_crontab(bare: str) -> bool:
    """Whether a % stands where crontab(5) makes it a line break: behind a word that is no format.

    Formats (`date +%F`, `--format=%h`), expansions (`${name%.gz}`) and remainders are left alone.
    """
    for words in _commands(re.sub(r"\$\{[^}]*\}|\$\(\([^)]*\)\)", "_", bare)):
        if words[0].rpartition("/")[2] in {"expr", "printf", "stat", "find", "let"}:
            continue
        for word in words[1:]:
            if word == "%" or re.fullmatch(r"[A-Za-z0-9./@,][A-Za-z0-9./@,_-]*%.*", word):
                return True
    return False
