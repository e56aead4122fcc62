"""How does a page come about? A template, with what it shows and the words it shows that in.

Whatever a template writes is escaped, and text from elsewhere loses what a terminal or a reader's
eye could fall for. There is no page that marks anything as safe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import jinja2
from fastapi import Depends, Request
from starlette.responses import HTMLResponse

from bartos.api.given import services
from bartos.api.guard import LOCAL, SESSION
from bartos.api.models import moment
from bartos.services import Services
from bartos.sessions import Session
from bartos.web import words
from bartos.web.assets import ASSETS
from libbarto.build_info import build_info
from libbarto.harmless import as_command
from libbarto.states import state_of

TEMPLATES: Final = jinja2.Environment(
    loader=jinja2.PackageLoader("bartos.web"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    finalize=words.shown,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
TEMPLATES.globals |= {
    "state_of": state_of,
    "duration": words.duration,
    "elapsed": words.elapsed,
    "from_now": words.from_now,
    "size": words.size,
    "lines": words.lines,
    "count": words.count,
    "iso": words.iso,
    "command_line": as_command,
    "segment": words.segment,
    "body": words.body,
}


@dataclass(frozen=True, slots=True)
class Visit:
    """A request for a page: who asks, when, and the zone in which times are shown.

    `root` comes before every path of ours ("/barto", or "").
    """

    request: Request
    services: Services
    root: str
    now: datetime
    zone: tzinfo
    zone_name: str
    session: Session | None

    @property
    def who(self) -> str:
        """Who asks, for the bar on top."""
        if self.session is not None:
            return self.session.name or "web"
        return "admin" if self.request.scope.get(LOCAL) else "key"

    def short(self, at: datetime) -> str:
        """A time in the zone, as far as it has to be said."""
        return words.short_time(at, self.zone, self.now)

    def span(self, first: datetime, last: datetime) -> tuple[str, str]:
        """Both ends of a span of time, as far as they have to be said."""
        return words.span(first, last, self.zone, self.now)

    def long(self, at: datetime) -> str:
        """A time in the zone, in full."""
        return words.long_time(at, self.zone, self.zone_name)

    def clock(self, at: datetime) -> str:
        """The time of day in the zone, to the second."""
        return f"{words.in_zone(at, self.zone):%H:%M:%S}"

    def there(self, at: datetime, zone: str) -> str:
        """A time in another zone, with that zone; nothing where it reads the same in ours."""
        if zone in {"", self.zone_name}:
            return ""
        return f"{words.short_time(at, ZoneInfo(zone), self.now)} {zone}"

    def url(self, path: str) -> str:
        """The address of a page of ours: `/schedules` below the root."""
        return self.root + path

    def page(
        self,
        template: str,
        values: Mapping[str, Any],
        *,
        active: str = "",
        status: HTTPStatus = HTTPStatus.OK,
    ) -> HTMLResponse:
        """The page; `active` is its word in the bar on top."""
        text = TEMPLATES.get_template(template).render(
            {
                **values,
                "visit": self,
                "active": active,
                "root": self.root,
                "now": self.now,
                "short": self.short,
                "long": self.long,
                "span": self.span,
                "there": self.there,
                "static": self._static,
                "since": self._since,
                "version": build_info().version,
            }
        )
        return HTMLResponse(text, status)

    @property
    def _static(self) -> Callable[[str], str]:
        return partial(_static, self.root)

    def _since(self, at: datetime) -> float:
        """Seconds from a time until now."""
        return (self.now - at).total_seconds()


def _static(root: str, name: str) -> str:
    return root + ASSETS[name].path


async def visit(request: Request) -> Visit:
    """What a page is made with."""
    given = await services(request)
    pages = given.facts().pages
    return Visit(
        request=request,
        services=given,
        root=pages.root,
        now=moment(given.clock.now()),
        zone=UTC if pages.timezone == "UTC" else ZoneInfo(pages.timezone),
        zone_name=pages.timezone,
        session=request.scope.get(SESSION),
    )


Visiting = Annotated[Visit, Depends(visit)]
