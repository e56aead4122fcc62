"""The locked requirements: pinned, hashed, and without any index's address."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(ROOT.glob("requirements*.txt"))
ADDRESS = re.compile(r"https?://|--(extra-)?index-url|--find-links|@ ")


def entries(file: Path) -> list[str]:
    """Each requirement with its continuation lines."""
    text = "\n".join(
        line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()[:1] != "#"
    )
    return [entry for entry in re.split(r"\n(?=\S)", text) if entry.strip()]


def test_there_are_locks() -> None:
    assert {file.name for file in FILES} >= {"requirements.txt", "requirements-dev.txt"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_requirement_is_pinned_and_hashed(file: Path) -> None:
    found = entries(file)
    assert len(found) > 10
    for entry in found:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_address_of_an_index_is_in_it(file: Path) -> None:
    assert not ADDRESS.search("\n".join(entries(file)))


def pins(file: str) -> dict[str, str]:
    """The version of each package that a lock names."""
    found: dict[str, str] = {}
    for entry in entries(ROOT / file):
        name, version = re.split(r"==|[ ;\\\\]", entry)[:2]
        found[canonicalize_name(name)] = version
    return found


def project() -> dict[str, Any]:
    """What pyproject.toml says."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)


@pytest.mark.parametrize(
    ("file", "extras"),
    [
        ("requirements.txt", ()),
        ("requirements-server.txt", ("server", "mariadb")),
        ("requirements-dev.txt", ("server", "mariadb", "dev")),
    ],
)
def test_a_lock_has_all_that_the_project_asks_for(file: str, extras: tuple[str, ...]) -> None:
    table = project()["project"]
    asked = [*table["dependencies"]]
    for extra in extras:
        asked += table["optional-dependencies"][extra]
    locked = pins(file)
    for requirement in map(Requirement, asked):
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-server.txt"])
def test_what_users_install_is_what_was_tested(file: str) -> None:
    tested, shipped = pins("requirements-dev.txt"), pins(file)
    # The zones' rules are of the day; the tests' are of the edition of their vectors.
    different = {name for name in shipped if shipped[name] != tested.get(name)}
    assert different <= {"tzdata"}


def test_the_build_backend_is_locked_so_that_a_build_fetches_nothing() -> None:
    (backend,) = map(Requirement, project()["build-system"]["requires"])
    assert str(backend.specifier) == f"=={pins('requirements-dev.txt')[backend.name]}"
