"""A browser that looks at a real bartos with real workers, and takes nothing amiss.

Debian's Chromium, without a network but loopback. A test fails where its page wrote an error to
the console, asked another host for anything, or did what the content security policy forbids.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)

from tests.acceptance.fleet import Fleet, schedule

CHROMIUM = shutil.which("chromium")
MISSING = (
    "Chromium is not installed: apt-get install --no-install-recommends chromium "
    "fonts-dejavu-core (as root, `make test` does it)"
)
PATIENCE_MS = 8_000

FAR = "*-1-1 00:00:00"
"""A time that no test sees."""

SETTINGS = 'timezone = "Europe/Berlin"\n'

SCHEDULES = "".join(
    (
        schedule("backup", "*", "*-*-* 02:17:41", ["echo saved"], tags=["db"]),
        schedule("hello", "alpha", FAR, ["echo hello from $(hostname)"]),
        schedule(
            "breaks",
            "alpha",
            FAR,
            [
                "echo connecting; until [ -e go ]; do sleep 0.1; done; "
                "echo 'connection refused' >&2; exit 3"
            ],
        ),
        schedule("long", "beta", FAR, ["echo begins; exec sleep 600"]),
    )
)


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """A server, two workers, and schedules that are run by hand."""
    if CHROMIUM is None:
        pytest.skip(MISSING)
    with Fleet(SETTINGS) as fleet:
        (fleet.directory / "schedules.d" / "all.toml").write_text(SCHEDULES)
        fleet.start_server()
        fleet.join("alpha", "beta")
        fleet.start_workers()
        fleet.until(
            lambda: len(fleet.api("/api/v1/schedules")["schedules"]) == 4, "schedules are read"
        )
        yield fleet


@pytest.fixture(scope="module")
def browser(fleet: Fleet) -> Iterator[Browser]:
    """Chromium. Of a module, since its loop stands in the way of tests that have their own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


class Watched:
    """A page whose faults are collected."""

    def __init__(self, page: Page, fleet: Fleet) -> None:
        self.page = page
        self.faults: list[str] = []
        self.expected = ""
        """What a fault that the test is about has in it."""
        self._host = urlsplit(fleet.url).netloc
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("request", self._request)
        page.add_init_script(
            "document.addEventListener('securitypolicyviolation', (event) => "
            "console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));"
        )

    def left(self) -> list[str]:
        """The faults that nobody expected."""
        return [one for one in self.faults if not self.expected or self.expected not in one]

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.faults.append(f"{message.type}: {message.text} ({message.location})")

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme != "data" and parts.netloc != self._host:
            self.faults.append(f"another host: {request.url}")


@pytest.fixture(scope="module")
def inside(browser: Browser, fleet: Fleet) -> Iterator[BrowserContext]:
    """A browser of somebody who has come in by `barto-cli web`."""
    expect.set_options(timeout=PATIENCE_MS)
    context = browser.new_context(ignore_https_errors=True, locale="en-GB")
    page = context.new_page()
    page.goto(fleet.cli("web", "--print").stdout.strip())
    expect(page).to_have_title("Now · barto")
    page.close()
    yield context
    context.close()


@pytest.fixture
def watched(inside: BrowserContext, fleet: Fleet) -> Iterator[Watched]:
    """An empty page of somebody who is logged in; its faults fail the test."""
    watched = Watched(inside.new_page(), fleet)
    yield watched
    watched.page.close()
    assert watched.left() == []


@pytest.fixture
def page(watched: Watched, fleet: Fleet) -> Page:
    """That page, which shows what is there now."""
    watched.page.goto(f"{fleet.url}/")
    expect(watched.page).to_have_title("Now · barto")
    return watched.page


@pytest.fixture
def stranger(browser: Browser, fleet: Fleet) -> Iterator[Watched]:
    """An empty page of somebody who is not logged in."""
    context = browser.new_context(ignore_https_errors=True, locale="en-GB")
    watched = Watched(context.new_page(), fleet)
    yield watched
    context.close()
    assert watched.left() == []
