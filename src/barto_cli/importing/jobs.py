"""What was found on a host, and how does it read as schedules? Jobs in, TOML out.

Whoever reads a crontab or a unit makes `Job`s of what can be carried over and `Left`s of what
cannot; here they get names and become `[[schedule]]` tables, with all that was lost beside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from libbarto.toml_text import toml_key, toml_text

NAME_MOST: Final = 120
TEXT_MOST: Final = 300
"""Characters of a description, and of a line that is quoted in a comment."""
PROGRESS: Final = "not carried over: "

_NO_TEXT: Final = re.compile(r"[\x00\ud800-\udfff]")

_ORDER: Final = (
    *("name", "description", "workers", "on_calendar", "cron", "every", "at", "timezone"),
    *("dst_gap", "dst_repeat", "missed", "catch_up", "overlap", "retries", "timeout"),
    *("kill_after", "run_as", "nice", "shell", "cwd", "env", "continue_on_error"),
    *("cmds", "script"),
)
"""Keys as a person writes them: what, where, when, how, and the commands."""


@dataclass(frozen=True, slots=True)
class Job:
    """Something that becomes a schedule.

    `where` is the file and line, or unit, that it came from; `text` how it stood there. `keys` are
    those of the schedule, but for its name and its workers. `lost` has what could not be carried
    over, and the way to have it all the same.
    """

    where: str
    text: str
    name: str
    keys: Mapping[str, object]
    lost: tuple[str, ...] = ()
    file: str = ""
    """The file to comment it out in, with its `line` (from 1); or "" and the unit in `unit`."""
    line: int = 0
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Left:
    """Something that is left where it is, and why; with the way to have it as a schedule.

    `matters` is false for what no schedule has to do (a variable that is cron's own).
    """

    where: str
    text: str
    reason: str
    matters: bool = True


@dataclass(frozen=True, slots=True)
class Found:
    """All that was read, in order."""

    jobs: tuple[Job, ...] = ()
    left: tuple[Left, ...] = ()
    doubts: tuple[str, ...] = ()
    """What may have been misread, each with its file, and how it would be read otherwise."""

    def __add__(self, other: Found) -> Found:
        return Found(
            (*self.jobs, *other.jobs),
            (*self.left, *other.left),
            (*self.doubts, *other.doubts),
        )


@dataclass(frozen=True, slots=True)
class Heading:
    """What the file says of itself: where it was made, by what command, and when (for people)."""

    host: str
    command: str
    when: str
    remarks: Sequence[str] = field(default=())


def named(found: Found, prefix: str) -> Found:
    """The same with names that are schedules' and differ: `web1-backup`, `web1-backup-2`."""
    taken: set[str] = set()
    jobs = []
    for job in found.jobs:
        base = slug(f"{prefix}{job.name}")
        name, number = base, 2
        while name in taken:
            name, number = f"{base[: NAME_MOST - 5]}-{number}", number + 1
        taken.add(name)
        jobs.append(replace(job, name=name))
    return replace(found, jobs=tuple(jobs))


def is_text(text: str) -> bool:
    """Whether a schedule can hold this: what was UTF-8, and has no NUL."""
    return _NO_TEXT.search(text) is None


def slug(text: str) -> str:
    """A text as the name of a schedule.

    >>> slug("nightly backup (full).sh"), slug("/"), slug("")
    ('nightly-backup-full-.sh', 'job', 'job')
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")
    return plain[: NAME_MOST - 8] or "job"


def selector(host: str) -> str:
    """A host's name as `workers` has it: quoted where it could be read as something else."""
    keyword = host in {"and", "or", "not"}
    plain = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", host) is not None
    if plain and not keyword:
        return host
    return '"{}"'.format(re.sub(r'["\\\x00-\x1f\x7f]', "", host) or "localhost")


def as_toml(found: Found, heading: Heading) -> str:
    """A file of schedules, to be read by `bartos check` and by people."""
    lines = [
        *comment(f"Made on {heading.host} by `{heading.command}`, {heading.when}."),
        *(line for remark in heading.remarks for line in comment(remark)),
    ]
    where = selector(heading.host)
    for job in found.jobs:
        lines += ["", *_job(job, where)]
    matters = [left for left in found.left if left.matters]
    if matters:
        lines += ["", "# Not taken:"]
    for left in matters:
        lines += [*comment(f"{left.where}: {left.text}"), *comment(f"    {left.reason}")]
    return "\n".join(lines) + "\n"


def _job(job: Job, where: str) -> Iterator[str]:
    yield from comment(f"{job.where}: {job.text}")
    for lost in job.lost:
        yield from comment(f"{PROGRESS}{lost}")
    yield "[[schedule]]"
    keys = {"name": job.name, "workers": where, **job.keys}
    for key in _ORDER:
        if key in keys:
            yield from _key(key, keys[key])


def _key(key: str, value: object) -> Iterator[str]:
    if key == "script" and isinstance(value, str):
        yield f"{key} = {_long_text(value)}"
    elif key == "cmds" and isinstance(value, list | tuple) and len(value) > 1:
        yield f"{key} = ["
        for item in value:
            yield f"    {toml_text(item)},"
        yield "]"
    elif key == "env" and isinstance(value, Mapping):
        pairs = ", ".join(f"{toml_key(str(name))} = {toml_text(it)}" for name, it in value.items())
        yield f"{key} = {{ {pairs} }}"
    else:
        yield f"{key} = {toml_text(value)}"


def _long_text(text: str) -> str:
    """A text of several lines, as it is where TOML can have it so."""
    if "'''" in text or text.endswith("'") or re.search(r"[^\n\t\x20-\x7e\xa0-\ud7ff]", text):
        return toml_text(text)
    return f"'''\n{text}'''"


def comment(text: str) -> Iterator[str]:
    """A text as lines of a comment; what TOML has no place for there is shown as `?`.

    >>> list(comment("a\\x07b\\nc"))
    ['# a?b', '#     c']
    """
    for number, line in enumerate(text.split("\n")):
        plain = re.sub(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]", "?", line)
        short = plain if len(plain) <= TEXT_MOST else f"{plain[:TEXT_MOST]}…"
        yield f"# {short}" if number == 0 else f"#     {short}"


def losses(found: Found) -> Iterator[str]:
    """What a person is told beside the file: what may be misread, and all that was lost, by where
    it stands."""
    yield from found.doubts
    for job in found.jobs:
        for lost in job.lost:
            yield f"{job.where}: {PROGRESS}{lost}"
    for left in found.left:
        if left.matters:
            yield f"{left.where}: not taken: {left.text}\n    {left.reason}"


def ending(jobs: int, by: str, *, disabled: bool) -> str:
    """The last line: what runs where now.

    >>> ending(1, "cron", disabled=True)
    '1 job is out of the hands of cron'
    """
    are = "1 job is" if jobs == 1 else f"{jobs} jobs are"
    if disabled:
        return f"{are} out of the hands of {by}"
    run = "1 job runs" if jobs == 1 else f"{jobs} jobs run"
    return (
        f"{run} twice once this is in force: by barto and by {by}. "
        "With --output FILE --disable, what was taken is switched off there"
    )


def description(parts: Iterable[str]) -> str:
    """Comments as one line, or nothing."""
    text = " ".join(" ".join(parts).split())
    text = _NO_TEXT.sub("?", text)
    return text if len(text) <= TEXT_MOST else f"{text[: TEXT_MOST - 1]}…"
