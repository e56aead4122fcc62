"""The API keeps to its own description: whatever is asked, as it describes it or not, every answer
is one that it announces, and never an error of the server's.

Schemathesis makes up the requests, all of its checks judge the answers of a server on a store with
a history.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig

from bartos.api.app import create_app
from tests.api_server import served
from tests.faces import KEY, Barto

SEED = 5
EXAMPLES = 3


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("api") / "barto.db") as one:
        yield one.url


AUTHORIZED = {"Authorization": f"Bearer {KEY}"}

schema = schemathesis.openapi.from_dict(
    create_app(Barto().services).openapi(), config=SchemathesisConfig.from_dict({"seed": SEED})
)


@schema.parametrize()
@hypothesis.settings(max_examples=EXAMPLES)
def test_every_answer_is_one_that_is_announced(case: schemathesis.Case[Any], api: str) -> None:
    case.call_and_validate(base_url=api, headers=AUTHORIZED)
