"""What the page on the HTTP API has one type is typed here, and answered."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api_server import served
from tests.docs.test_pages import ROOT, blocks
from tests.faces import KEY

PAGE = ROOT / "docs" / "howto" / "ask-the-http-api.md"
BLOCKS = blocks(PAGE, "sh")


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What each block of the page says, typed one after another."""
    directory = tmp_path_factory.mktemp("api")
    with served(directory / "barto.db", longest=2.0) as one:
        yield [typed(block, one.url, directory) for block in BLOCKS]


def typed(text: str, url: str, directory: Path) -> str:
    done = subprocess.run(
        ["/bin/sh", "-eu", "-c", text],
        env={"URL": url, "KEY": KEY, "PATH": "/usr/bin:/bin", "HOME": str(directory)},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode(errors="replace")


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_what_one_types_is_answered(number: int, said: list[str]) -> None:
    assert said[number]
    assert "about:blank" not in said[number], "a problem"


def test_answers_are_what_the_page_says(said: list[str]) -> None:
    whole = "".join(said)
    assert "304\n" in whole
    assert "event: reset" in whole
    assert "event: segment" in whole
    (failed,) = [one for one, block in zip(said, BLOCKS, strict=True) if "=failed" in block]
    assert {run["verdict"] for run in json.loads(failed)["runs"]} == {"failed", "timed_out"}
