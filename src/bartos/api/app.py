"""The server's web application: which routes are there, and what stands before them.

Every route lies behind the guard, websockets as well; there is no other way in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Depends, FastAPI
from starlette.websockets import WebSocket

from bartos.api import (
    actions,
    alerts,
    calendar,
    download,
    events,
    fleet,
    groups,
    health,
    join,
    ledger,
    names,
    output,
    plan,
    planned,
    problems,
    runs,
    schedules,
    search,
    status,
    timeline,
    why,
    workers,
)
from bartos.api import exec as ad_hoc
from bartos.api.asked import only_known
from bartos.api.description import install as describe
from bartos.api.etags import ETags
from bartos.api.guard import Guard
from bartos.endpoints.ws_cli import cli_endpoint
from bartos.services import Services
from bartos.sessions import Sessions
from bartos.web import app as pages
from bartos.web.headers import Headers
from libbarto.build_info import build_info

WORKER_PATH = "/v1/ws/worker"
CLI_PATH = "/v1/ws/cli"

BODY_MAX = 64 * 1024
"""Bytes of a request's body; the largest that we know is a join request of 4 KiB."""


def create_app(
    services: Services, worker_endpoint: Callable[[WebSocket], Awaitable[None]] | None = None
) -> FastAPI:
    """The application over `services`, with `worker_endpoint` at `/v1/ws/worker`.

    The server that listens on the Unix socket is given `guard.over_unix_socket(app)` instead.
    """
    app = problems.Application(
        title="barto",
        summary="What ran where, what it printed, and how it ended.",
        version=build_info().version,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # its page fetches scripts from elsewhere
        redoc_url=None,
        max_body_size=BODY_MAX,
    )
    app.state.services = services
    sessions = Sessions(lambda: services.facts().api_key)
    app.state.sessions = sessions
    app.add_middleware(ETags)
    app.add_middleware(Guard, services=services, sessions=sessions)
    app.add_middleware(Headers)
    problems.install(app)
    for module in (
        events,
        status,
        workers,
        # Before `runs`, whose paths name a run where these have a word.
        groups,
        download,
        runs,
        output,
        search,
        timeline,
        calendar,
        planned,
        fleet,
        ad_hoc,
        actions,
        schedules,  # after those whose paths go on behind a name
        ledger,
        names,
        plan,
        why,
        alerts,
        join,
    ):
        app.include_router(module.router, dependencies=[Depends(only_known)])
    app.include_router(health.router)  # who probes may add parameters of its own
    pages.install(app)
    describe(app)
    app.add_api_websocket_route(CLI_PATH, cli_endpoint)
    if worker_endpoint is not None:
        app.add_api_websocket_route(WORKER_PATH, worker_endpoint)
    return app
