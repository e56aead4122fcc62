"""The locked requirements: pinned, hashed, and without any index's address."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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
