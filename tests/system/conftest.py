"""The fixture of the system tests: an empty world, in virtual time."""

from __future__ import annotations

import pytest

from tests.system.world import World


@pytest.fixture
def barto() -> World:
    """The whole of barto; the test starts what it needs."""
    return World()
