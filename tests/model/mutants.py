"""Barto with one rule taken out: each a patch of a real module, put in as it is imported.

A model that passes proves something only if it fails where a rule is missing. Each mutant names
the invariant that has to notice it.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Final


@dataclass(frozen=True, slots=True)
class Mutant:
    """Texts to be replaced, each of which stands once in its module; and who has to notice."""

    patches: tuple[tuple[str, str, str], ...]
    """Module, the text as it is, the text instead."""
    invariant: str
    often: tuple[str, ...] = ()
    """The deeds that the missing rule is there for: they come ten times as often."""


MUTANTS: Final[dict[str, Mutant]] = {
    "claim-after-spawn": Mutant(
        (
            (
                "bartoc.agent",
                "            claims = await self.journal.commit(",
                "            for early in commits:\n"
                "                for order in early.spawns:\n"
                "                    await self.runner.spawn(order)\n"
                "            claims = await self.journal.commit(",
            ),
        ),
        "claimed",
    ),
    "acknowledged-before-commit": Mutant(
        (
            (
                "bartos.writer",
                "        lane.append(submitted)\n",
                "        lane.append(submitted)\n        submitted.done(True)\n",
            ),
        ),
        "acked",
    ),
    "spool-forgets": Mutant(
        (
            (
                "bartoc.journal_memory",
                "spool.records[0][0].seq <= spool.acknowledged",
                "spool.records[0][0].seq <= spool.last",
            ),
        ),
        "forgotten",
        ("prune", "database_away"),
    ),
    "fork-accepted": Mutant(
        (
            ("libbarto.session", "if mark.seq > state.last:", "if mark.seq < 0:"),
            (
                "libbarto.session",
                "elif own is not None and own != mark.tag:",
                "elif own == b'no tag at all':",
            ),
            (
                "libbarto.session",
                "if self.peer.epoch < confirmed_epoch:",
                "if confirmed_epoch < 0:",
            ),
        ),
        "fork",
        ("roll_back",),
    ),
    "cursor-outside": Mutant(
        (
            (
                "bartoc.agent",
                "            claims = await self.journal.commit(",
                "            for one in commits:\n"
                "                alone = type(one.transaction)(cursors=one.transaction.cursors)\n"
                "                await self.journal.commit(alone)\n"
                "            claims = await self.journal.commit(",
            ),
        ),
        "tile",
    ),
    "reassigned-because-time-passed": Mutant(
        (
            (
                "bartos.dispatcher",
                "                away = offer.worker_uid not in self._workers\n",
                "                away = now.wall - offer.at > 3_000_000\n",
            ),
            (
                "bartos.dispatcher",
                "                    self._reassign_if_silent(start, offer, draft)\n",
                "                    self._now_is(start, _Phase.OPEN)\n",
            ),
        ),
        "one",
        ("stall_for_a_while",),
    ),
}


def install(name: str) -> None:
    """From now on the mutant's modules are imported with its patches.

    Raises ValueError where a module is imported already or a text does not stand there once: then
    the mutant is no mutant.
    """
    for module in {module for module, _, _ in MUTANTS[name].patches}:
        if module in sys.modules:
            raise ValueError(f"{module} is imported already")
    sys.meta_path.insert(0, _Finder(MUTANTS[name]))


class _Finder(MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        patches = [(old, new) for name, old, new in self._mutant.patches if name == fullname]
        if not patches:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None:
            raise ValueError(f"there is no module {fullname}")
        spec.loader = _Loader(fullname, spec.origin, patches)
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, patches: Sequence[tuple[str, str]]) -> None:
        super().__init__(name, path)
        self._patches = patches

    def get_code(self, fullname: str) -> CodeType:
        source = importlib.util.decode_source(self.get_data(self.path))
        for old, new in self._patches:
            if source.count(old) != 1:
                raise ValueError(f"{old!r} stands {source.count(old)} times in {fullname}")
            source = source.replace(old, new)
        code = compile(source, self.path, "exec")
        assert isinstance(code, CodeType)
        return code
