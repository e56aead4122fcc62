"""What crontabs and timers does this host have? Found where cron and systemd look for them."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from barto_cli.importing.crontab import Crontab, names_users, read_anacrontab, read_crontab
from barto_cli.importing.jobs import Found, Left
from barto_cli.importing.units import Timer, parse_unit, read_timer, started
from libbarto.errors import UserError

PATIENCE: Final = 20.0
"""Seconds that crontab(1) and systemctl(1) are waited for."""
CRON_D_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
"""Files of cron.d that cron reads; others are left-overs (cron(8) of Debian)."""
SPOOLS: Final = ("var/spool/cron/crontabs", "var/spool/cron")
SYSTEM_UNITS: Final = (
    *("etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system"),
    *("usr/lib/systemd/system", "lib/systemd/system"),
)
USER_UNITS: Final = (
    *("etc/systemd/user", "run/systemd/user", "usr/local/lib/systemd/user"),
    *("usr/lib/systemd/user", "lib/systemd/user"),
)


@dataclass(frozen=True, slots=True)
class Host:
    """This host: `root` is its file system's, `zone` its time zone, `user` who asks."""

    zone: str
    root: Path = Path("/")
    user: str = field(default_factory=lambda: pwd.getpwuid(os.geteuid()).pw_name)
    is_root: bool = field(default_factory=lambda: os.geteuid() == 0)
    home: Path = field(default_factory=Path.home)

    # -- cron -------------------------------------------------------------------------------------

    def crontabs(self, paths: Sequence[Path], *, own: bool, system: bool = False) -> Found:
        """The jobs of the crontabs that are named; of none, those of this host: all of them for
        root, the user's own for others and with `own`. With `system` the files that are named have
        a user before each command, as /etc/crontab has, wherever they are. Raises `UserError`."""
        if paths:
            return _sum(self._named(path, system=system) for path in paths)
        if own or not self.is_root:
            return self._own()
        return self._system()

    def _named(self, path: Path, *, system: bool = False) -> Found:
        if path.is_dir():
            files = sorted(it for it in path.iterdir() if CRON_D_NAME.fullmatch(it.name))
            return _sum(self._crontab(it, system=system) for it in files if it.is_file())
        return self._crontab(path, system=system)

    def _crontab(self, path: Path, where: str = "", *, system: bool = False) -> Found:
        text = read_lossless(path)
        shown = where or str(path)
        if path.name == "anacrontab":
            return read_anacrontab(text, shown)
        within = path.absolute().parent
        file = str(path.absolute())
        if within.name == "cron.d":
            return read_crontab(Crontab(text, shown, None, self.zone, path.name, file))
        if system or (path.name == "crontab" and within.name == "etc"):
            return read_crontab(Crontab(text, shown, None, self.zone, "", file))
        spool = within.name in {"crontabs", "cron"} and within.parent.name in {"cron", "spool"}
        user = path.name if spool else self.user
        found = read_crontab(Crontab(text, shown, user, self.zone, "", file))
        if spool or not names_users(text, {one.pw_name for one in pwd.getpwall()}):
            return found
        doubt = (
            f"{shown}: each command begins with the name of a user of this host, as in "
            "/etc/crontab: it was taken for a part of the command; with --system it is the user"
        )
        return replace(found, doubts=(doubt,))

    def _own(self) -> Found:
        text = own_crontab()
        if text is None:
            return Found()
        return read_crontab(Crontab(text, f"crontab of {self.user}", self.user, self.zone))

    def _system(self) -> Found:
        found = Found()
        for name in ("etc/crontab", "etc/anacrontab"):
            if (self.root / name).is_file():
                found += self._crontab(self.root / name)
        if (self.root / "etc/cron.d").is_dir():
            found += self._named(self.root / "etc/cron.d")
        for spool in SPOOLS:
            directory = self.root / spool
            if directory.is_dir():
                users = [it for it in sorted(directory.iterdir()) if it.is_file()]
                found += _sum(self._crontab(it) for it in users if "." not in it.name)
        return found

    # -- systemd ----------------------------------------------------------------------------------

    def timers(self, paths: Sequence[Path], *, own: bool) -> Found:
        """The schedules of the timers that are named (files, directories or units); of none, those
        that are enabled and that somebody has put on this host. Raises `UserError`."""
        folders = self._folders(own=own)
        found = Found()
        if paths:
            for path in paths:
                found += self._timers_of(path, folders, own=own)
            return found
        for name in sorted(self._enabled(folders, own=own)):
            if self._is_of_distribution(name, folders):
                way = "comes with the distribution; name it, to take it all the same"
                found += Found((), (Left(name, "", way),))
            else:
                found += self._timer(name, folders, own=own)
        return found

    def _folders(self, *, own: bool) -> list[Path]:
        """Where units lie, the most important first (systemd.unit(5))."""
        folders = [self.root / it for it in (USER_UNITS if own else SYSTEM_UNITS)]
        if own:
            configured = os.environ.get("XDG_CONFIG_HOME")
            config = Path(configured) if configured else self.home / ".config"
            folders = [
                config / "systemd/user",
                *folders[:1],
                self.home / ".local/share/systemd/user",
                *folders[1:],
            ]
        return folders

    def _timers_of(self, path: Path, folders: Sequence[Path], *, own: bool) -> Found:
        if path.is_dir():
            names = sorted(it.name for it in path.glob("*.timer"))
            return _sum(self._timer(it, [path, *folders], own=own) for it in names)
        if path.is_file():
            return self._timer(path.name, [path.absolute().parent, *folders], own=own)
        name = path.name if path.name.endswith(".timer") else f"{path.name}.timer"
        if len(path.parts) > 1 or _unit_file(name, folders) is None:
            raise UserError(f"{path}: there is no such file, and no timer of this name")
        return self._timer(name, folders, own=own)

    def _timer(self, name: str, folders: Sequence[Path], *, own: bool) -> Found:
        timer = parse_unit(name, _texts(name, folders))
        service_name = started(timer)
        service = None
        if _unit_file(service_name, folders) is not None:
            service = parse_unit(service_name, _texts(service_name, folders))
        return read_timer(Timer(timer, service, self.user if own else "root", self.zone, home=own))

    def _enabled(self, folders: Sequence[Path], *, own: bool) -> set[str]:
        """The timers that systemd starts: as it says, or as the links in the folders say."""
        if shutil.which("systemctl") is not None and self.root == Path("/"):
            said = _said(
                [
                    *(("systemctl", "--user") if own else ("systemctl",)),
                    *("list-unit-files", "--type=timer", "--state=enabled,enabled-runtime"),
                    *("--no-legend", "--no-pager", "--plain"),
                ]
            )
            if said is not None:
                names = (line.split() for line in said.splitlines())
                return {words[0] for words in names if words and words[0].endswith(".timer")}
        return {
            link.name
            for folder in folders
            for wants in folder.glob("*.target.wants")
            for link in wants.glob("*.timer")
        }

    def _is_of_distribution(self, name: str, folders: Sequence[Path]) -> bool:
        file = _unit_file(name, folders)
        if file is None:
            return False
        folder = file.parent.relative_to(self.root).as_posix() if self.root in file.parents else ""
        return folder.startswith(("usr/lib/", "lib/"))


def _unit_file(name: str, folders: Sequence[Path]) -> Path | None:
    """The file of a unit; for an instance of a template, the template's."""
    candidates = [name]
    prefix, at, _ = name.partition("@")
    if at:
        candidates.append(f"{prefix}@.{name.rpartition('.')[2]}")
    for candidate in candidates:
        for folder in folders:
            if (folder / candidate).is_file():
                return folder / candidate
    return None


def _texts(name: str, folders: Sequence[Path]) -> list[str]:
    """The text of a unit, then those of its drop-ins, in the order in which they count."""
    file = _unit_file(name, folders)
    texts = [] if file is None else [read_lossless(file)]
    dropped: dict[str, Path] = {}
    for directory in _drop_in_names(name):
        for folder in folders:
            if (folder / directory).is_dir():
                for path in sorted((folder / directory).glob("*.conf")):
                    dropped.setdefault(path.name, path)
    return texts + [read_lossless(dropped[key]) for key in sorted(dropped)]


def _drop_in_names(name: str) -> Iterator[str]:
    """The directories of drop-ins, the most specific first."""
    base, _, kind = name.rpartition(".")
    yield f"{name}.d"
    prefix, at, _ = base.partition("@")
    if at:
        yield f"{prefix}@.{kind}.d"
    parts = base.split("-")
    for count in range(len(parts) - 1, 0, -1):
        yield f"{'-'.join(parts[:count])}-.{kind}.d"
    yield f"{kind}.d"


def read_lossless(path: Path) -> str:
    """A file's text; bytes that are no UTF-8 are kept as surrogates. Raises `UserError`."""
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def own_crontab() -> str | None:
    """The crontab of the user who asks, None where there is none. Raises `UserError`."""
    if shutil.which("crontab") is None:
        raise UserError("crontab(1) is not there; name the files to read")
    return _said(["crontab", "-l"])


def _said(command: Sequence[str]) -> str | None:
    """What a program prints, None where it fails. Raises `UserError` where it does not end."""
    try:
        done = subprocess.run(
            command, capture_output=True, check=False, timeout=PATIENCE, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{' '.join(command)} does not end") from error
    except OSError as error:
        raise UserError(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        return None
    return done.stdout.decode("utf-8", "surrogateescape")


def _sum(parts: Iterator[Found] | Sequence[Found]) -> Found:
    return sum(parts, Found())
