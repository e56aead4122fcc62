"""Which packages did an update check name? Parsers for the output of apt and of pacman's family.

Each takes all that one run printed and says what is to be updated, or None where this is not the
output of such a check: nothing to update and no check at all are two things. Formats: apt-get(8)
with `-s` or `--just-print`, `apt list --upgradable`, pacman(8) with and without `VerbosePkgLists`,
checkupdates(8). Locale C, as barto runs its commands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from libbarto.message.v2.cli import UpdateKind


@dataclass(frozen=True, slots=True)
class Update:
    """A package that can be updated; what the check does not tell is None. Sizes in bytes."""

    package: str
    channel: str | None = None
    old_version: str | None = None
    new_version: str | None = None
    net_bytes: int | None = None
    download_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Updates:
    """All that a check named, each package once, and the sizes in bytes that it told."""

    packages: tuple[Update, ...]
    download_bytes: int | None = None
    installed_bytes: int | None = None
    net_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of check: the command whose output it is, for people, and its parser."""

    command: str
    read: Callable[[str], Updates | None]


# -- what all have in common ----------------------------------------------------------------------

_ANSI: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")


def plain_lines(text: str) -> list[str]:
    """The lines as they stood on a terminal: no colours, and of what was overwritten by a
    carriage return only the last.

    >>> plain_lines("10%\\r100%\\x1b[32m done\\x1b[0m\\n")
    ['100% done']
    """
    return [_ANSI.sub("", line).rstrip().rpartition("\r")[2] for line in text.split("\n") if line]


_UNITS: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SIZE: Final = r"-?\d+(?:\.\d+)?\s(?:B|[KMGT]iB)"


def size(text: str) -> int:
    """Bytes of a size as pacman writes it; may be negative.

    >>> size("-3.50 KiB")
    -3584
    """
    number, unit = text.split()
    return round(float(number) * _UNITS[unit])


def _each_once(updates: Iterable[Update]) -> tuple[Update, ...]:
    """The last word on each package, in the order of first mention."""
    return tuple({update.package: update for update in updates}.values())


# -- apt ------------------------------------------------------------------------------------------

_APT_UPGRADED: Final = ("The following packages will be upgraded:", "Upgrading:")
_APT_SUMMARY: Final = re.compile(
    r"\d+ upgraded, \d+ newly installed, \d+ to remove and \d+ not upgraded\."
    r"|\s*Upgrading: \d+, Installing: \d+, Removing: \d+, Not Upgrading: \d+"
)
_APT_INST: Final = re.compile(r"Inst (?P<package>\S+) \[(?P<old>\S+)\] \((?P<new>\S+)[ )]")
_APT_LISTING: Final = re.compile(r"Listing\.\.\.( Done)?")
_APT_LISTED: Final = re.compile(
    r"(?P<package>[^\s/]+)/\S+ (?P<new>\S+) \S+ \[upgradable from: (?P<old>\S+)\]"
)


def read_apt(text: str) -> Updates | None:
    """What `apt-get -s upgrade` (or dist-upgrade, or `apt list --upgradable`) says."""
    lines = plain_lines(text)
    named = list(_apt_named(lines))
    listed = [found for line in lines if (found := _APT_LISTED.match(line))]
    installs = [found for line in lines if (found := _APT_INST.match(line))]
    if not named and not any(
        _APT_SUMMARY.match(line) or _APT_LISTING.fullmatch(line) for line in lines
    ):
        return None
    told = {
        found["package"]: Update(
            found["package"], old_version=found["old"], new_version=found["new"]
        )
        for found in (*listed, *installs)
    }
    packages = [told.get(name) or Update(name) for name in named]
    packages += [told[found["package"]] for found in listed]
    return Updates(_each_once(packages))


def _apt_named(lines: Iterable[str]) -> Iterator[str]:
    """The names under a heading: all lines that are indented, however many there are."""
    within = False
    for line in lines:
        if line in _APT_UPGRADED:
            within = True
        elif within and line.startswith("  "):
            yield from line.split()
        else:
            within = False


# -- pacman and its kin ---------------------------------------------------------------------------

_PACMAN_HEAD: Final = re.compile(r"Packages? \((?P<count>\d+)\)(?P<rest>.*)")
_PACMAN_NOTHING: Final = "there is nothing to do"
_PACMAN_TARGET: Final = re.compile(r"(?P<package>\S+)-(?P<version>[^\s-]+-[^\s-]+)")
_PACMAN_ROW: Final = re.compile(
    r"(?P<channel>[\w@.+-]+)/(?P<package>\S+)\s+(?:(?P<old>\S+)\s+)?(?P<new>\S+)"
    rf"\s+(?P<net>{_SIZE})(?:\s+(?P<download>{_SIZE}))?"
)
_PACMAN_TOTAL: Final = re.compile(
    rf"(?P<what>Total Download|Total Installed|Net Upgrade) Size:\s+(?P<size>{_SIZE})"
)
_CHECKUPDATES: Final = re.compile(r"(?P<package>\S+) (?P<old>\S+) -> (?P<new>\S+)")


def read_pacman(text: str) -> Updates | None:
    """What `pacman -Su` (also with `VerbosePkgLists`) or `checkupdates` says.

    One run may make several transactions (the keyring first): their packages and sizes belong
    together.
    """
    lines = plain_lines(text)
    packages = [*_pacman_targets(lines), *_pacman_rows(lines), *_checked(lines)]
    known = packages or any(
        line.strip() == _PACMAN_NOTHING or _PACMAN_HEAD.match(line) for line in lines
    )
    if not known:
        return None
    totals: dict[str, int] = {}
    for line in lines:
        if found := _PACMAN_TOTAL.match(line):
            totals[found["what"]] = totals.get(found["what"], 0) + size(found["size"])
    return Updates(
        _each_once(packages),
        totals.get("Total Download"),
        totals.get("Total Installed"),
        totals.get("Net Upgrade"),
    )


def read_verbose(text: str) -> Updates | None:
    """What pacman says with `VerbosePkgLists`, as CachyOS and Garuda set it; by channel, name."""
    found = read_pacman(text)
    if found is None:
        return None
    packages = sorted(found.packages, key=lambda update: (update.channel or "", update.package))
    return Updates(tuple(packages), found.download_bytes, found.installed_bytes, found.net_bytes)


def _pacman_targets(lines: Iterable[str]) -> Iterator[Update]:
    """The targets of the short list, which goes on in indented lines."""
    within = False
    for line in lines:
        head = _PACMAN_HEAD.match(line)
        within = bool(head) or (within and line.startswith(" "))
        if within:
            for word in (head["rest"] if head else line).split():
                if target := _PACMAN_TARGET.fullmatch(word):
                    yield Update(target["package"], new_version=target["version"])


def _pacman_rows(lines: Iterable[str]) -> Iterator[Update]:
    """The rows of the long list: a package that is new has no old version, one that is in the
    cache no download size."""
    for line in lines:
        if row := _PACMAN_ROW.fullmatch(line):
            yield Update(
                row["package"],
                row["channel"],
                row["old"],
                row["new"],
                size(row["net"]),
                None if row["download"] is None else size(row["download"]),
            )


def _checked(lines: Iterable[str]) -> Iterator[Update]:
    for line in lines:
        if found := _CHECKUPDATES.fullmatch(line):
            yield Update(found["package"], None, found["old"], found["new"])


KINDS: Final[Mapping[int, Kind]] = {
    UpdateKind.GARUDA: Kind("garuda-update", read_verbose),
    UpdateKind.PACMAN: Kind("pacman -Su or checkupdates", read_pacman),
    UpdateKind.CACHYOS: Kind("pacman -Su", read_verbose),
    UpdateKind.APT: Kind("apt-get -s upgrade", read_apt),
}
