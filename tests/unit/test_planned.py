"""How a plan reads: the same text for `barto-cli plan` and `bartos edit`, at any width."""

from __future__ import annotations

from typing import Any

from bartos.api.plan import answer
from bartos.plan import WorkerFacts
from bartos.schedules import load_schedules
from libbarto.planned import Look, finding_line, names_text, plan_lines, summary
from tests.desk import MIDNIGHT

OLD = """\
[[schedule]]
name = "backup"
workers = "*"
on_calendar = "02:00"
cmds = ["pg_dump app"]

[[schedule]]
name = "old"
workers = "web1"
every = "5m"
cmds = ["true"]
"""
NEW = """\
timezone = "Europe/Berlin"

[[schedule]]
name = "backup"
workers = "web*"
on_calendar = "02:R"
timeout = "1h"
cmds = ["pg_dump app | zstd > /var/backups/app-of-the-long-name.zst"]

[[schedule]]
name = "sync"
workers = "role=web"
pick = "one"
cron = "*/20 8-18 * * mon-fri"
cmds = ["rsync -a /srv nas:/srv"]
"""
WORKERS = [
    WorkerFacts(f"web{n}", f"web{n}".encode().ljust(16, b"."), {"role": "web"})
    for n in range(1, 13)
] + [WorkerFacts("nas", b"nas".ljust(16, b"."))]


def plan(new: str = NEW, old: str = OLD) -> dict[str, Any]:
    definitions = load_schedules([("bartos.toml", old)])
    found = answer([("bartos.toml", new)], definitions, WORKERS, MIDNIGHT)
    said: dict[str, Any] = found.model_dump(mode="json")
    return said


def time(text: str) -> str:
    return text.removesuffix("Z").replace("T", " ")[5:]


def lines(plan: dict[str, Any], width: int | None = None) -> list[str]:
    return list(plan_lines(plan, Look(time, "UTC", width)))


WIDE = """\
+ sync
    when     cron */20 8-18 * * mon-fri Europe/Berlin
    workers  12 workers: web1, web10, web11, web12, web2, web3, web4, web5, and 4 more
             one of them runs each planned start
~ backup
    workers  12 workers: web1, web10, web11, web12, web2, web3, web4, web5, and 4 more
      gone: 1 worker: nas
    workers      "*" -> "web*"
    on_calendar  "02:00" -> "02:R"
    cmds         "pg_dump app" -> "pg_dump app | zstd > /var/backups/app-of-the-long-name.zst"
    timezone     "UTC" -> "Europe/Berlin"
    timeout      none -> "1h"
- old
    was on 1 worker: web1

1 added, 1 changed, 1 removed, 0 unchanged; 13 of 13 workers get a new version

NEXT (UTC)                  SCHEDULE  WORKERS
01-16 01:00:00 to 01:59:00  backup         12
01-17 01:00:00 to 01:59:00  backup         12
01-18 01:00:00 to 01:59:00  backup         12
01-18 07:00:00              sync            1
01-18 07:20:00              sync            1
01-18 07:40:00              sync            1
01-18 08:00:00              sync            1
01-18 08:20:00              sync            1
01-18 08:40:00              sync            1
01-18 09:00:00              sync            1
"""


def test_a_plan_in_a_pipe() -> None:
    said = lines(plan())
    assert "\n".join(said[:28]) + "\n" == WIDE
    assert said[29].startswith("busiest  01-16 01:")
    assert said[32] == "         (as things are, 14 starts at most in a minute)"
    assert said[-1].startswith("bartos.toml:8: warning: ")


def test_on_80_columns_every_line_fits_but_what_stands_in_the_file() -> None:
    said = lines(plan(), 80)
    changes = said[: said.index("")]
    assert [line for line in changes if len(line) > 80] == []
    assert '    cmds         "pg_dump app"' in changes
    assert changes[2] == (
        "    workers  12 workers: web1, web10, web11, web12, web2, web3, web4, and 5 more"
    )


def test_on_200_columns_nothing_is_shortened() -> None:
    assert lines(plan(), 200) == lines(plan())


def test_nothing_to_do_is_one_line() -> None:
    assert lines(plan(OLD)) == ["nothing to do: 2 schedules stay as they are"]
    assert summary({"changes": [], "unchanged": 1}) == "nothing to do: 1 schedule stays as it is"


def test_a_faulty_file_is_its_errors() -> None:
    (said,) = lines(plan('[[schedule]]\nname = "a"\nworkers = "*"\non_calendar = "25:00"\n'
                         'cmds = ["true"]\n'))  # fmt: skip
    assert said.startswith('bartos.toml:4: error: schedule "a": on_calendar: hour is 0 to 23')
    assert "\n" in said


def test_what_others_wrote_is_made_harmless() -> None:
    look = Look(time, "", plain=lambda text: text.replace("\x1b", "?"))
    finding = {"kind": "error", "file": "a\x1b", "line": 3, "message": "b\x1b\nc"}
    assert finding_line(finding, look) == "a?:3: error: b?\nc"


def test_colours_are_of_changes_and_findings() -> None:
    look = Look(time, "UTC", paint=lambda text, code: f"<{code}>{text}")
    said = list(plan_lines(plan(), look))
    assert said[0] == "<32>+ sync"
    assert "<31>- old" in said
    assert "bartos.toml:8: <33>warning: " in said[-1]


def test_what_is_switched_off_renamed_or_heavy_is_said() -> None:
    base = 'name = "a"\nworkers = "web1"\nid = "x"\nevery = "5m"\ncmds = ["true"]\n'
    off = base.replace('"a"', '"b"') + "enabled = false\n"
    said = lines(plan(f"[[schedule]]\n{off}", f"[[schedule]]\n{base}"))
    assert said[0] == "~ b (was a)  enabled = false"
    assert "1 changed, 0 unchanged; 1 of 13 workers gets a new version" in said
    many = "".join(f"[[schedule]]\n{base}".replace('"a"', f'"a{n}"').replace('"x"', f'"x{n}"')
                   for n in range(12))  # fmt: skip
    said = lines(plan("", many))
    assert "this removes most of the schedules: a reload waits for `bartos reload --yes`" in said
    assert not any(line.startswith(("NEXT", "busiest")) for line in said)


def test_names_are_as_many_as_fit() -> None:
    look = Look(time, "UTC", 20)
    assert names_text({"count": 0, "names": []}, look) == "no worker"
    assert names_text({"count": 1, "names": ["web1"]}, look) == "1 worker: web1"
    assert names_text({"count": 9, "names": ["a-rather-long-name"]}, look) == "9 workers"
    assert names_text({"count": 30, "names": list("abcdefghijkl")}, Look(time, "")) == (
        "30 workers: a, b, c, d, e, f, g, h, and 22 more"
    )


def test_many_schedules_in_a_minute_are_shortened() -> None:
    new = "".join(
        f'[[schedule]]\nname = "{name}"\nworkers = "web1"\non_calendar = "03:00"\n'
        f'cmds = ["{name}"]\n'
        for name in "abcd"
    )
    said = lines(plan(new))
    assert "busiest  01-16 03:00  4 starts in the minute: a, b, c, …" in said
