"""How the tests run: `async def test_…` in virtual time, and every run the same.

With the marker `real_loop` an async test runs under `asyncio.run` instead, in real time: for
tests that need sockets to other processes, threads or processes.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import hypothesis
import pytest

from libbarto.testing import run

REAL_PATIENCE = 60.0
"""Seconds after which a test on the real loop is given up, so that none can hang."""

hypothesis.settings.register_profile(
    "barto",
    derandomize=True,
    deadline=None,
    max_examples=100,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("barto")

AsyncTest = Callable[..., Coroutine[Any, Any, None]]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "real_loop: run this async test in real time, under asyncio.run"
    )


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Any:
    real = pyfuncitem.get_closest_marker("real_loop") is not None
    test = pyfuncitem.obj
    if inspect.iscoroutinefunction(test):
        pyfuncitem.obj = _sync(test, real=real)
    elif getattr(test, "is_hypothesis_test", False):
        inner = test.hypothesis.inner_test
        if inspect.iscoroutinefunction(inner):
            test.hypothesis.inner_test = _sync(inner, real=real)
    return (yield)


def _sync(test: AsyncTest, *, real: bool) -> Callable[..., None]:
    @wraps(test)
    def call(*args: Any, **kwargs: Any) -> None:
        if real:
            asyncio.run(asyncio.wait_for(test(*args, **kwargs), REAL_PATIENCE))
        else:
            run(test(*args, **kwargs))

    return call
