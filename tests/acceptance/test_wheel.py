"""What is installed is whole: the programs run from a wheel, and know what they were built from."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str, cwd: Path, path: str = "") -> str:
    """What a command prints; `path` is where Python looks first."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "PYTHONPATH": path}
    return subprocess.run(
        command, cwd=cwd, env=environment, check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the committed tree, unpacked."""
    place = tmp_path_factory.mktemp("wheel")
    run("git", "-c", "safe.directory=*", "clone", "-q", str(ROOT), "tree", cwd=place)
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", cwd=place / "tree")
    (wheel,) = (place / "tree" / "dist").glob("barto-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place / "site")
    return place / "site"


def test_a_wheel_has_all_that_the_programs_need(installed: Path) -> None:
    for name in (
        "bartos/demo.toml",
        "bartos/web/static/barto.css",
        "bartos/web/templates/layout.html",
        "bartos/store/migrations/env.py",
        "bartos/store/migrations/versions/r0001_first.py",
        "bartoc/keeper/__main__.py",
        "libbarto/py.typed",
        "libbarto/_build.py",
    ):
        assert (installed / name).is_file(), name
    assert not (installed / "tests").exists()
    (pages,) = installed.glob("barto-*.data/data/share/man")
    assert {page.name for page in pages.rglob("*.[1-8]")} == {
        *("barto-cli.1", "bartos.toml.5", "bartos.8", "bartoc.8")
    }


@pytest.mark.parametrize("module", ["bartos.cli", "bartoc.cli", "barto_cli.app"])
def test_each_program_runs_from_a_wheel(installed: Path, module: str) -> None:
    shown = run(sys.executable, "-m", module, "--version", cwd=installed, path=str(installed))
    assert "2.0.0" in shown


def test_a_wheel_knows_its_commit(installed: Path) -> None:
    shown = run(
        *(sys.executable, "-c"),
        "from libbarto.build_info import build_info; print(build_info(), build_info.__module__)",
        cwd=installed,
        path=str(installed),
    )
    commit = run("git", "-c", "safe.directory=*", "rev-parse", "HEAD", cwd=ROOT).strip()
    assert commit in shown


def test_a_wheel_brings_the_demo_s_schedules(installed: Path) -> None:
    code = "from bartos.demo import demo_schedules; print(demo_schedules())"
    shown = run(sys.executable, "-c", code, cwd=installed, path=str(installed))
    assert Path(shown.strip()) == installed / "bartos" / "demo.toml"
