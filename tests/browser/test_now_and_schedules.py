"""Coming in, the first page and the schedules: what happens is seen as it happens.

One file, so that its tests share one server.
"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from tests.acceptance.fleet import Fleet
from tests.browser.conftest import Watched

# -- now -------------------------------------------------------------------------------------------


def test_a_run_appears_and_fails_before_ones_eyes(fleet: Fleet, page: Page) -> None:
    fleet.cli("run", "breaks", "--yes")
    row = page.locator("#running tr", has_text="breaks")
    expect(row).to_be_visible()
    expect(row).to_contain_text("alpha")
    (fleet.directory / "go").touch()
    failed = page.locator("#failing tr", has_text="breaks")
    expect(failed).to_contain_text("failed")
    expect(failed).to_contain_text("exit 3")
    expect(row).to_have_count(0)
    # What it said last comes by itself as well.
    expect(failed).to_contain_text("connection refused")
    expect(page.locator("#verdicts")).to_contain_text("1 failing")


# -- schedules -------------------------------------------------------------------------------------


def paused(fleet: Fleet) -> list[str]:
    return [one["schedule"] for one in fleet.api("/api/v1/pauses")["pauses"]]


def test_pausing_pauses_and_resuming_ends_that(fleet: Fleet, page: Page) -> None:
    page.get_by_role("link", name="Schedules").first.click()
    row = page.locator("#schedules tr", has_text="backup")
    page.once("dialog", lambda dialog: dialog.accept())
    row.get_by_role("button", name="pause").click()
    expect(row).to_contain_text("paused by")
    assert paused(fleet) == ["backup"]
    row.get_by_role("button", name="resume").click()
    expect(row.get_by_role("button", name="pause")).to_be_visible()
    assert paused(fleet) == []


def test_what_is_not_done_is_said_in_words(fleet: Fleet, page: Page, watched: Watched) -> None:
    page.goto(f"{fleet.url}/schedules/backup")
    page.on("dialog", lambda dialog: dialog.accept())
    page.route("**/pause", lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"))
    page.get_by_role("button", name="pause").click()
    expect(page.locator("#said")).to_contain_text("what answers is no bartos (502)")
    page.unroute("**/pause")
    page.route("**/pause", lambda route: route.abort())
    page.get_by_role("button", name="pause").click()
    expect(page.locator("#said")).to_contain_text("the server does not answer")
    page.unroute("**/pause")
    assert paused(fleet) == []
    watched.expected = "Failed to load resource"


def test_a_pause_from_elsewhere_is_seen_without_a_click(fleet: Fleet, page: Page) -> None:
    page.goto(f"{fleet.url}/schedules/backup")
    fleet.cli("pause", "backup", "--yes", "--reason", "new disk")
    expect(page.locator(".standing")).to_contain_text("paused by")
    fleet.cli("resume", "backup", "--yes")
    expect(page.locator(".standing")).not_to_contain_text("paused by")


def test_running_runs_and_its_end_comes_by_itself(fleet: Fleet, page: Page) -> None:
    page.goto(f"{fleet.url}/schedules/hello")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="run", exact=True).click()
    first = page.locator("#runs tbody tr").first
    expect(first).to_contain_text("ok")
    expect(first).to_contain_text("alpha")
    expect(page.locator("#strip")).to_contain_text("1 ok")
    assert fleet.runs("hello")[0]["verdict"] == "ok"
    page.goto(f"{fleet.url}/schedules")
    strip = page.locator("#schedules tr", has_text="hello").locator("svg.strip")
    expect(strip).to_have_attribute("aria-label", re.compile("last 1: 1 ok"))


def test_a_text_or_a_tag_finds_and_has_an_address(fleet: Fleet, page: Page) -> None:
    page.goto(f"{fleet.url}/schedules")
    expect(page.locator("#schedules tbody tr")).to_have_count(4)
    page.keyboard.press("/")
    page.keyboard.type("hel")
    page.keyboard.press("Enter")
    expect(page.locator("#schedules tbody tr")).to_have_count(1)
    expect(page).to_have_url(f"{fleet.url}/schedules?text=hel")
    page.goto(f"{fleet.url}/schedules?tag=db")
    expect(page.locator("#schedules tbody tr")).to_contain_text(["backup"])
    page.goto(f"{fleet.url}/schedules?text=nothing%20like%20it")
    expect(page.locator("main")).to_contain_text("No schedule has")


def test_the_keyboard_is_enough(fleet: Fleet, page: Page) -> None:
    # What is no key of ours does nothing, also where it has a meaning in selectors.
    for key in ('"', "\\", "]", "z"):
        page.keyboard.press(key)
    page.keyboard.press("g")
    page.keyboard.press("s")
    expect(page).to_have_title("Schedules · barto")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(page.locator("#schedules tr.chosen")).to_contain_text("backup")
    page.keyboard.press("Enter")
    expect(page).to_have_title("backup · barto")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("next and previous row")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("g")
    page.keyboard.press("n")
    expect(page).to_have_title("Now · barto")


def test_a_schedule_says_when_it_runs_and_why(fleet: Fleet, page: Page) -> None:
    page.goto(f"{fleet.url}/schedules/backup")
    expect(page.locator("#starts tbody tr")).to_have_count(10)
    expect(page.locator("#definition")).to_contain_text("all.toml:1")
    expect(page.locator("#definition pre")).to_contain_text('name = "backup"')
    page.locator("#starts").get_by_role("link", name="why").first.click()
    expect(page.locator("#why")).to_contain_text("backup")
    page.locator("#workers").get_by_role("link", name="beta").click()
    expect(page).to_have_title("History · barto")
    expect(page.get_by_label("Worker")).to_have_value("beta")


# -- coming in -------------------------------------------------------------------------------------


def key_of(fleet: Fleet) -> str:
    return (fleet.state / "api.key").read_text().strip()


def test_the_key_leads_to_the_page_that_was_asked_for(fleet: Fleet, stranger: Watched) -> None:
    page = stranger.page
    page.goto(f"{fleet.url}/schedules?text=hello")
    expect(page).to_have_title("Log in · barto")
    page.get_by_label("Key").fill(key_of(fleet))
    page.get_by_label("Your name").fill("ann")
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{fleet.url}/schedules?text=hello")
    expect(page.locator(".who")).to_have_text("ann")
    page.get_by_role("button", name="log out").first.click()
    expect(page).to_have_title("Log in · barto")
    page.goto(f"{fleet.url}/")
    expect(page).to_have_title("Log in · barto")


def test_a_link_is_good_once(fleet: Fleet, stranger: Watched) -> None:
    link = fleet.cli("web", "--print").stdout.strip()
    page = stranger.page
    page.goto(link)
    expect(page).to_have_title("Now · barto")
    page.get_by_role("button", name="log out").first.click()
    page.goto(link)
    expect(page.get_by_role("alert")).to_contain_text("has been used")
    stranger.expected = "403"  # the browser tells of it, as it should


def test_who_logs_out_is_out_in_every_tab(fleet: Fleet, stranger: Watched) -> None:
    page = stranger.page
    page.goto(fleet.cli("web", "--print").stdout.strip())
    expect(page).to_have_title("Now · barto")
    other = page.context.new_page()
    other.goto(f"{fleet.url}/schedules")
    other.get_by_role("button", name="log out").first.click()
    expect(other).to_have_title("Log in · barto")
    page.evaluate("live.connect()")
    expect(page).to_have_title("Log in · barto")
    stranger.expected = "401"


@pytest.mark.parametrize("path", ["/", "/schedules", "/schedules/backup", "/login"])
def test_a_page_fits_into_375_pixels(fleet: Fleet, page: Page, path: str) -> None:
    page.set_viewport_size({"width": 375, "height": 700})
    page.goto(fleet.url + path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    if path == "/":
        page.locator(".menu summary").click()
        page.locator(".menu").get_by_role("link", name="Schedules").click()
        expect(page).to_have_title("Schedules · barto")


def test_pages_can_be_read_without_scripts(
    fleet: Fleet, browser: Browser, inside: BrowserContext
) -> None:
    context = browser.new_context(
        ignore_https_errors=True, java_script_enabled=False, storage_state=inside.storage_state()
    )
    try:
        page = context.new_page()
        page.goto(f"{fleet.url}/schedules")
        expect(page.locator("#schedules tbody tr")).to_have_count(4)
        expect(page.get_by_role("button", name="pause").first).to_be_hidden()
        page.get_by_role("link", name="backup").click()
        expect(page.locator("#starts tbody tr")).to_have_count(10)
    finally:
        context.close()


def test_a_server_that_is_away_is_told_in_words(
    fleet: Fleet, page: Page, inside: BrowserContext, watched: Watched
) -> None:
    expect(page.locator("#away")).to_be_hidden()
    inside.set_offline(True)
    # A stream that is open goes on when a browser goes offline: this page asks for a new one.
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide'))")
    page.evaluate("live.connect()")
    expect(page.locator("#away")).to_contain_text("does not answer")
    inside.set_offline(False)
    expect(page.locator("#away")).to_be_hidden()
    watched.expected = "ERR_INTERNET_DISCONNECTED"


def test_what_a_page_could_not_hear_of_is_read_anew(
    fleet: Fleet, page: Page, watched: Watched
) -> None:
    # A proxy that has no server behind it for a while ends a stream for good, not for a moment.
    page.route("**/api/v1/events*", lambda route: route.fulfill(status=503))
    page.reload()
    page.evaluate("live.on('reset', () => { document.body.dataset.reset = ''; })")
    expect(page.locator("#away")).to_contain_text("does not answer")
    page.unroute("**/api/v1/events*")
    expect(page.locator("body[data-reset]")).to_have_count(1)
    watched.expected = "503"


def test_a_tab_that_nobody_looks_at_keeps_no_connection_from_others(
    fleet: Fleet, page: Page
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.add_init_script("Object.defineProperty(document, 'hidden', { get: () => !window.seen })")
    page.reload()
    page.evaluate("live.on('reset', () => { document.body.dataset.reset = ''; })")
    assert not any("/events" in url for url in asked)
    page.evaluate("window.seen = true; document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("body[data-reset]")).to_have_count(1)
    assert any("/events" in url for url in asked)


def test_what_happens_while_the_page_asks_is_asked_for_once_more(fleet: Fleet, page: Page) -> None:
    fleet.cli("pause", "backup", "--yes")
    paused = page.locator('#verdicts [data-count~="paused"]')
    expect(paused).to_be_visible()
    asked: list[Route] = []

    def answer(route: Route) -> None:
        asked.append(route)
        told = route.fetch()
        if len(asked) == 1:
            fleet.cli("resume", "backup", "--yes")
        route.fulfill(response=told)

    page.route("**/api/v1/status", answer)
    page.evaluate("document.dispatchEvent(new Event('acted'))")
    expect(paused).to_be_hidden()
    assert len(asked) > 1
    page.unroute("**/api/v1/status")


def test_a_page_is_dark_by_night_and_by_choice(fleet: Fleet, page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(ground) == "rgb(20, 23, 26)"
    page.get_by_role("button", name="light or dark").click()
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.reload()
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
