"""The API's description of itself is whole: nothing in it is left without words, an example, or an
error that may come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from bartos.api.app import create_app
from bartos.api.guard import OPEN
from tests.faces import Barto

Json = dict[str, Any]

DOCUMENT: Json = create_app(Barto().services).openapi()


def operations() -> Iterator[tuple[str, Json]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


OPERATIONS = dict(operations())


def valid(value: object, schema: Json) -> None:
    """An example is what the schema says."""
    whole = {**schema, "components": DOCUMENT["components"]}
    jsonschema_rs.Draft202012Validator(whole).validate(value)


def test_it_is_openapi_3_1_and_says_who_may_ask() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert DOCUMENT["info"]["description"]
    assert set(DOCUMENT["components"]["securitySchemes"]) == {"key", "session"}
    assert DOCUMENT["security"] == [{"key": []}, {"session": []}]
    ids = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(ids)) == len(ids)


def test_every_tag_says_what_it_means() -> None:
    told = {tag["name"] for tag in DOCUMENT["tags"] if tag["description"]}
    for name, operation in OPERATIONS.items():
        assert len(operation["tags"]) == 1, name
        assert set(operation["tags"]) <= told, name


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_described_whole(name: str) -> None:
    operation = OPERATIONS[name]
    assert 3 < len(operation["summary"]) < 200, name
    assert operation["description"].endswith((".", ":", ")", '"', "`")), name
    responses = operation["responses"]
    method, _, path = name.partition(" ")
    is_open = (method, path) in OPEN
    assert ("security" in operation) == is_open
    wanted = set() if is_open else {"401", "403", "421", "503"}
    if "{" in path:
        wanted.add("404")
    if operation.get("parameters") or "requestBody" in operation:
        wanted.add("422")
    assert wanted <= set(responses)
    for code, response in responses.items():
        assert response["description"], code
        if int(code) >= 400:
            assert set(response["content"]) in ({"application/problem+json"}, {"application/json"})
        elif code != "304" and not any(kind != "application/json" for kind in response["content"]):
            assert response["content"], code
    for parameter in operation.get("parameters", ()):
        assert parameter["description"], parameter["name"]


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_has_examples_that_are_valid(name: str) -> None:
    operation = OPERATIONS[name]
    contents = [
        content
        for response in (*operation["responses"].values(), operation.get("requestBody", {}))
        for content in response.get("content", {}).values()
    ]
    for content in contents:
        assert "example" in content or "examples" in content, name
        if "example" in content and "schema" in content:
            valid(content["example"], content["schema"])
    for parameter in operation.get("parameters", ()):
        if "example" in parameter:
            valid(parameter["example"], parameter["schema"])
    assert any(
        "example" in content or "examples" in content
        for code, response in operation["responses"].items()
        if int(code) < 300
        for content in response["content"].values()
    )


def test_models_and_their_members_have_words() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert schema.get("description"), name
