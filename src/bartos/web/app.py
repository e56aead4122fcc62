"""Which pages are there? All routes for browsers, one module a page."""

from __future__ import annotations

from fastapi import FastAPI

from bartos.web import calendar, faults, history, login, now, run, schedules, static_files, workers

PAGES = (login, static_files, now, schedules, run, history, workers, calendar)
"""The modules with a `router` of pages."""


def install(app: FastAPI) -> None:
    """Let `app` serve the pages, and the API's requests that only they need."""
    app.include_router(login.api)
    for module in PAGES:
        app.include_router(module.router)
    faults.install(app)
