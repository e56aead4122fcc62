"""How a host becomes a worker: it fetches the CA, checks its fingerprint, and shows its secret."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter
from starlette.responses import PlainTextResponse, Response

from bartos.api import models
from bartos.api.given import Given
from bartos.api.problems import Problem

router = APIRouter(prefix="/api/v1", tags=["join"])


@router.get(
    "/ca",
    response_class=Response,
    responses={200: {"content": {"application/x-pem-file": {}}}, 404: {}},
)
async def ca(given: Given) -> PlainTextResponse:
    """The certificate of the server's CA (PEM). Open to all: whoever fetches it over a connection
    that is not verified yet must compare it with the fingerprint in the join code."""
    pem = given.enrolment.ca_pem
    if pem is None:
        raise Problem(HTTPStatus.NOT_FOUND, "this server has no CA; `bartos init` makes one")
    return PlainTextResponse(pem, media_type="application/x-pem-file")


@router.post("/join", responses={403: {}})
async def join(given: Given, asked: models.JoinRequest) -> models.JoinAnswer:
    """What the bearer of a join secret writes into bartoc.toml."""
    joined = given.enrolment.join(asked.secret)
    if joined is None:
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "that join code is not (or no longer) valid here; get one with `barto worker add NAME`",
        )
    return models.JoinAnswer(
        name=joined.name,
        host=joined.host,
        port=joined.port,
        ca_cert=joined.ca_cert,
        api_key=joined.api_key,
        server_public_key=joined.server_public_key,
        labels=dict(joined.labels),
    )
