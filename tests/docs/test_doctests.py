"""The examples in docstrings say what happens."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import barto_cli
import bartoc
import bartos
import libbarto

MODULES = [
    info.name
    for package in (libbarto, bartos, bartoc, barto_cli)
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if "__main__" not in info.name and "migrations" not in info.name
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name))
    assert found.failed == 0


def test_there_are_examples() -> None:
    modules = map(importlib.import_module, MODULES)
    assert sum(doctest.testmod(module).attempted for module in modules) > 30
