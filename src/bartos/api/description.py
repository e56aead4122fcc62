"""How does the API describe itself? Its OpenAPI 3.1 document, made whole: for every operation a
summary, examples, who may ask, and each error that it may answer with.

What handlers declare comes from FastAPI; what holds for all of them is added here, in one place.
Examples are made from the models, so that they are always valid.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI

from bartos.api.guard import COOKIE, OPEN
from bartos.api.problems import MEDIA_TYPE

Json = dict[str, Any]

TAGS: Final = {
    "now": "How things stand, and what comes next.",
    "events": "What changes, as it changes: server-sent events.",
    "history": "What ran, and what did not.",
    "output": "What runs printed.",
    "schedules": "What is in force.",
    "workers": "Who runs it.",
    "fleet": "What operators do with workers.",
    "actions": "What operators do with runs and schedules.",
    "ledger": "What became of every planned start, and the proof that none is missing.",
    "calendar": "What an expression means, and what is planned.",
    "why": "Why something ran, failed, or did not run.",
    "exec": "Commands that are in no schedule.",
    "alerts": "Who is told when something fails.",
    "names": "Names that begin so, for completion.",
    "plan": "What a changed configuration would do.",
    "join": "How a host becomes a worker.",
    "pages": "How a browser gets in.",
    "health": "Whether the server lives, and does its work.",
}
"""What each tag means; an operation has one of these."""

DESCRIPTION: Final = """\
Everything that the pages and the command line show and do goes through this API.

Whoever asks over the network shows the server's key (`Authorization: Bearer KEY`) or has the cookie
of a session; over the Unix socket in the state directory nothing is asked. Times are RFC 3339,
durations seconds, ids UUIDs. Errors are problem details (RFC 9457).

Lists come in pages: `limit` bounds a page, `next` is the `cursor` of the one after it, null where
there is none. Answers in JSON have an `ETag`; asked again with `If-None-Match`, what has not
changed is a 304 without a body."""

MEANINGS: Final = {
    HTTPStatus.BAD_REQUEST: "What is asked for makes no sense.",
    HTTPStatus.UNAUTHORIZED: "Neither the server's key nor a session was shown.",
    HTTPStatus.FORBIDDEN: "It was asked for by another site, or with a secret that is none.",
    HTTPStatus.NOT_FOUND: "There is no such thing.",
    HTTPStatus.CONFLICT: "Several things are meant by that, or it cannot be done as things are.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.MISDIRECTED_REQUEST: "A browser called this server by a name that is not its own.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "The body or a parameter cannot be read, or is not known.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The database does not answer now; ask again.",
}

PROBLEM: Final[Json] = {
    "title": "Problem",
    "description": "Problem details (RFC 9457); some have more members.",
    "type": "object",
    "properties": {
        "type": {"type": "string", "const": "about:blank"},
        "title": {"type": "string", "description": "the name of the status"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what is wrong, and what to do about it"},
        "errors": {
            "type": "array",
            "description": "what cannot be read, and where: as `query.limit`",
            "items": {
                "type": "object",
                "properties": {"where": {"type": "string"}, "message": {"type": "string"}},
                "required": ["where", "message"],
            },
        },
    },
    "required": ["type", "title", "status"],
}

SECURITY: Final[Json] = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "The server's key, as in bartos.toml or the state directory.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "The session of a browser, from the page `/login` or `barto-cli web`.",
    },
}

_NAMED: Final[Mapping[str, object]] = {
    "schedule": "backup",
    "worker": "web1",
    "worker_names": "web1",
    "followers": "sync",
    "name": "backup",
    "names": "backup",
    "on": "web*",
    "timezone": "Europe/Berlin",
    "zone": "Europe/Berlin",
    "verdict": "failed",
    "verdicts": "failed",
    "state": "planned",
    "kind": "calendar",
    "stream": "stdout",
    "text": "pg_dump: connection failed",
    "reason": "step 1 ended with 1",
    "command": "pg_dump app",
    "when": "at 02:00 every day (Europe/Berlin)",
    "address": "192.0.2.7",
    "version": "2.0.0",
    "labels": "web",
    "facts": "debian",
    "file": "bartos.toml",
    "host": "barto.example",
    "by": "ann",
    "who": "ann",
    "said": "2 of 3; 1 offline",
    "cursor": None,
    "next": None,
    "tag": "db",
    "tags": "db",
    "begin": "ba",
    "Last-Event-ID": "5c1-17",
    "barto-user": "ann",
    "secret": "a secret from `barto worker add`",
    "calendar": "*-*-* 02:00",
    "run": "0199a7c4-3f5e-8a52-b1d7-5b2f6f0c9a41",
    "id": "0199a7c4-3f5e-8a52-b1d7-5b2f6f0c9a41",
    "uid": "3c1f9e0b-7a64-8d2e-9f10-2b7c55d1e8a3",
    "request": "0199a7c4-3f5e-8a52-b1d7-5b2f6f0c9a41",
    "attempt": 1,
    "exit_code": 1,
    "limit": 100,
    "seconds": 42.5,
}
"""What stands for things in examples, by the name of the member or the parameter."""

TEXTS: Final = {
    "application/octet-stream": "12:00 backup begins\n",
    "text/csv": "schedule,worker,verdict\nbackup,web1,failed\n",
    "application/x-pem-file": "-----BEGIN CERTIFICATE-----\n…",
}
"""What stands for bodies that are no JSON."""

TIME: Final = "2026-11-24T02:00:00Z"
_DEEP: Final = 8
_FIRST_SENTENCE: Final = re.compile(r"(.+?[.:;])(\s|$)", re.DOTALL)
_METHODS: Final = ("get", "post", "put", "patch", "delete")


def install(app: FastAPI) -> None:
    """Let `app` describe itself so."""
    made = app.openapi

    def whole() -> Json:
        if app.openapi_schema is None:
            app.openapi_schema = completed(made())
        return app.openapi_schema

    app.openapi = whole  # type: ignore[method-assign]  # as FastAPI has one extend it


def completed(document: Json) -> Json:
    """The document with all that holds for every operation."""
    schemas: Json = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = PROBLEM
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    document["components"]["securitySchemes"] = SECURITY
    document["info"]["description"] = DESCRIPTION
    document["security"] = [{"key": []}, {"session": []}]
    used = set()
    for path, operations in document["paths"].items():
        for method in operations.keys() & set(_METHODS):
            operation = operations[method]
            _complete(operation, path, method, schemas)
            used.update(operation["tags"])
    document["tags"] = [
        {"name": name, "description": text} for name, text in TAGS.items() if name in used
    ]
    return document


def _complete(operation: Json, path: str, method: str, schemas: Json) -> None:
    text = " ".join(operation.get("description", "").split())
    first = _FIRST_SENTENCE.match(text)
    summary = text if first is None else first[1]
    operation["summary"] = summary.rstrip(".:;").strip()
    guarded = (method.upper(), path) not in OPEN
    if not guarded:
        operation["security"] = []
    for parameter in operation.get("parameters", ()):
        schema = parameter.get("schema", {})
        parameter.setdefault("description", _parameter_text(parameter["name"]))
        if "example" not in parameter and "examples" not in parameter:
            value = example(schema, schemas, parameter["name"])
            if value is not None:
                parameter["example"] = value
    body = operation.get("requestBody")
    if body is not None:
        for content in body["content"].values():
            content.setdefault("example", example(content["schema"], schemas, "", required=True))
    responses: Json = operation["responses"]
    for status in _errors(operation, path, guarded=guarded):
        responses.setdefault(str(int(status)), {})
    for code, response in responses.items():
        if int(code) >= 400 and not _is_own(response):
            responses[code] = _problem(HTTPStatus(int(code)))
            continue
        for kind, content in response.get("content", {}).items():
            if kind != "application/json":
                content.setdefault("schema", {"type": "string"})
                content.setdefault("example", TEXTS.get(kind, "…"))
            if "schema" in content and "example" not in content and "examples" not in content:
                content["example"] = example(content["schema"], schemas, "")
    if method == "get" and "application/json" in responses.get("200", {}).get("content", {}):
        responses["200"].setdefault("headers", {})["ETag"] = {
            "description": "tells this answer from others; give it as If-None-Match",
            "schema": {"type": "string"},
        }
        responses["304"] = {"description": "Nothing has changed since the answer with that ETag."}
    operation["responses"] = dict(sorted(responses.items()))


def _errors(operation: Json, path: str, *, guarded: bool) -> list[HTTPStatus]:
    found = []
    names = {parameter["name"] for parameter in operation.get("parameters", ())}
    body = "requestBody" in operation
    if guarded:
        found += [
            HTTPStatus.UNAUTHORIZED,
            HTTPStatus.FORBIDDEN,
            HTTPStatus.MISDIRECTED_REQUEST,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ]
    if "{" in path or "cursor" in names:
        found.append(HTTPStatus.NOT_FOUND)
    if "{run}" in path or (guarded and body):
        found.append(HTTPStatus.CONFLICT)
    if body:
        found += [HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE]
    if "verdict" in names:
        found.append(HTTPStatus.BAD_REQUEST)
    if path.startswith("/api/"):  # where a parameter that there is not is refused
        found.append(HTTPStatus.UNPROCESSABLE_ENTITY)
    return found


def _is_own(response: Json) -> bool:
    """Whether an error has a model of its own, as `/readyz` has."""
    content = response.get("content", {}).get("application/json", {})
    return bool(content) and not content["schema"].get("$ref", "").endswith("HTTPValidationError")


def _problem(status: HTTPStatus) -> Json:
    meaning = MEANINGS.get(status, status.phrase)
    return {
        "description": meaning,
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "example": {
                    "type": "about:blank",
                    "title": status.phrase,
                    "status": int(status),
                    "detail": meaning,
                },
            }
        },
    }


def _parameter_text(name: str) -> str:
    return {
        "run": "its id, a beginning of it that is unique, or @last for the newest",
        "worker": "on this worker alone",
        "schedule": "of this schedule alone",
        "since": "from this time on",
        "until": "before this time",
        "running": "only what runs now, or (false) what does not",
        "limit": "rows of a page, at most",
        "name": "its name",
        "request": "the id that the answer to a request for starts has",
        "kind": "what sort of thing",
        "Last-Event-ID": "the id of the last event that was heard: what comes after it",
        "stream": "one of them, or both",
        "by": "what a row is of",
        "format": "as what",
        "dst_gap": "as in a schedule",
        "dst_repeat": "as in a schedule",
        "exact": "letters as they are, large or small",
    }.get(name, name.replace("_", " ").replace("-", " "))


def example(
    schema: Json, schemas: Json, name: str, *, required: bool = False, deep: int = 0
) -> object:
    """A value that a JSON schema allows; with `required` only what has to be there."""
    while "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if schema.get("examples"):
        return schema["examples"][0]
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            kinds = [one for one in schema[choice] if one.get("type") != "null"]
            if name in _NAMED and _NAMED[name] is None and len(kinds) < len(schema[choice]):
                return None
            return example(kinds[0], schemas, name, required=required, deep=deep)
    return _plain(schema, schemas, name, required=required, deep=deep)


def _plain(schema: Json, schemas: Json, name: str, *, required: bool, deep: int) -> object:
    match schema.get("type"):
        case "object":
            members = schema.get("properties", {})
            if not members:
                more = schema.get("additionalProperties")
                if not isinstance(more, dict) or not more:
                    return {}
                key = {"labels": "role", "facts": "os", "counts": "ok"}.get(name, "key")
                return {key: example(more, schemas, name, deep=deep + 1)}
            wanted = set(schema.get("required", ())) if required else set(members)
            return {
                key: example(value, schemas, key, required=required, deep=deep + 1)
                for key, value in members.items()
                if key in wanted
            }
        case "array":
            if deep > _DEEP:
                return []
            return [example(schema["items"], schemas, name, required=required, deep=deep + 1)]
        case "boolean":
            return bool(schema.get("default", name in {"connected", "complete", "enabled"}))
        case "integer" | "number" as kind:
            return _number(schema, name, kind)
        case "string":
            return _text(schema, name)
        case _:
            return {}


def _number(schema: Json, name: str, kind: str) -> object:
    named = _NAMED.get(name)
    whole = kind == "integer"
    value: float = schema.get("default") or (12 if whole else 1.5)
    if isinstance(named, int) or (isinstance(named, float) and not whole):
        value = named
    for key, bound in (("minimum", max), ("exclusiveMinimum", max), ("maximum", min)):
        if key in schema:
            value = bound(value, schema[key])
    return value


def _text(schema: Json, name: str) -> object:
    match schema.get("format"):
        case "date-time":
            return TIME
        case "date":
            return TIME[:10]
        case "uuid":
            return _NAMED["run"]
        case "uri":
            return "https://barto.example"
    if "default" in schema and schema["default"] is not None:
        return schema["default"]
    named = _NAMED.get(name, "…")
    return named if isinstance(named, str) else "…"
