"""The files that the pages fetch, over HTTP: for good, as their names change with them."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import Response

from bartos.api.problems import Problem
from bartos.web.assets import BY_PATH, PREFIX

router = APIRouter(include_in_schema=False)

KEEP = "public, max-age=31536000, immutable"


@router.get(PREFIX + "{name}")
async def static(request: Request, name: str) -> Response:
    """A file, or 304 to who has it (RFC 9110 §13.1.2)."""
    asset = BY_PATH.get(PREFIX + name)
    if asset is None:
        raise Problem(HTTPStatus.NOT_FOUND, "no such file is here")
    headers = {"ETag": asset.etag, "Cache-Control": KEEP}
    if asset.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(asset.data, media_type=asset.media_type, headers=headers)
