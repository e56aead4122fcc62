"""Runs, the history and the calendar in a browser: what is printed is seen, found and never run."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from playwright.sync_api import Page, Route, expect

from bartos.web.assets import ASSETS
from tests.acceptance.fleet import Fleet, schedule
from tests.browser.conftest import Watched

CORPUS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "ansi.json").read_text(encoding="utf-8")
)

FAR = "*-1-1 00:00:00"
HOSTILE = (
    r"printf '<script>document.title=1</script>\n<img src=x onerror=alert(1)>\n';"
    r"printf '\033]0;title\007\033[31m<b>red</b>\033[0m \033]8;;javascript:alert(1)\007link"
    r"\033]8;;\007\n'; printf '\342\200\256turned\n' >&2; exit 1"
)
MANY = "seq -f 'line %06g of many' 20000; echo the needle >&2"


def has(fleet: Fleet, name: str, command: str, worker: str = "alpha") -> None:
    """Let a schedule be there."""
    fleet.schedules(name, schedule(name, worker, FAR, [command]))
    fleet.until(
        lambda: any(it["name"] == name for it in fleet.api("/api/v1/schedules")["schedules"]),
        f"{name} is in force",
    )


def run(fleet: Fleet, name: str, *, ended: bool = True) -> str:
    """Have it run; the id of its run."""
    fleet.cli("run", name, "--yes")
    told = fleet.ended(name) if ended else fleet.started(name)
    return str(told["id"])


def test_output_is_seen_while_it_is_printed_and_cancel_ends_it(fleet: Fleet, page: Page) -> None:
    has(fleet, "prints", "n=0; while :; do n=$((n+1)); echo tick $n; sleep 0.2; done")
    page.goto(f"{fleet.url}/runs/{run(fleet, 'prints', ended=False)}")
    lines = page.locator("#lines")
    expect(lines).to_contain_text("tick 2")
    expect(lines).to_contain_text("tick 6")
    expect(page.locator('[data-part="follow"]')).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#facts .run-state")).to_contain_text("running")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="cancel").click()
    expect(page.locator("#facts .run-state")).to_contain_text("cancelled")
    expect(page.locator('[data-part="amount"]')).to_contain_text("complete")
    expect(page.get_by_role("button", name="run once more")).to_be_visible()


def test_output_goes_on_when_the_server_is_back(fleet: Fleet, page: Page, watched: Watched) -> None:
    # What stands between may end a stream for good.
    page.route("**/output/events*", lambda route: route.fulfill(status=503))
    page.goto(f"{fleet.url}/runs/{run(fleet, 'long', ended=False)}")
    expect(page.locator('[data-part="amount"]')).to_contain_text("does not answer")
    page.unroute("**/output/events*")
    expect(page.locator('[data-part="amount"]')).to_contain_text("still coming")
    expect(page.locator("#lines")).to_contain_text("begins")
    fleet.cli("cancel", "long", "--yes")
    expect(page.locator('[data-part="amount"]')).to_contain_text("complete")
    watched.expected = "503"


def test_a_line_is_found_and_its_link_leads_to_it(fleet: Fleet, page: Page) -> None:
    has(fleet, "many", MANY)
    run_id = run(fleet, "many")
    page.goto(f"{fleet.url}/runs/{run_id}")
    expect(page.locator('[data-part="amount"]')).to_have_text("20,001 lines, 400 kB, complete")
    # Of twenty thousand rows only those near the window are there.
    assert page.locator(".out-line").count() < 1000
    page.keyboard.press("/")
    page.keyboard.type("needle")
    expect(page.locator('[data-part="found"]')).to_have_text("1 of 1")
    found = page.locator(".out-line:has(.hit.current)")
    expect(found).to_be_in_viewport()
    expect(found).to_have_class("out-line stderr")
    number = found.locator(".number").text_content()
    assert number is not None
    page.keyboard.press("Escape")
    page.goto("about:blank")
    page.goto(f"{fleet.url}/runs/{run_id}#L12345")
    target = page.locator(".out-line.target")
    expect(target).to_contain_text("line 012345 of many")
    expect(target).to_be_in_viewport()
    page.get_by_role("button", name="stderr", exact=True).click()
    expect(page.locator(".out-line")).to_have_count(1)
    expect(page.locator(".out-line .number")).to_have_text(number)
    # The same line from a search over the history.
    page.goto(f"{fleet.url}/history?text=the+needle")
    link = page.locator(".found-run .number").first
    assert (link.get_attribute("href") or "").endswith(f"/runs/{run_id}#L{number}")


def test_what_was_printed_does_nothing_but_be_read(fleet: Fleet, page: Page) -> None:
    has(fleet, "hostile", HOSTILE)
    run_id = run(fleet, "hostile")
    page.goto(f"{fleet.url}/runs/{run_id}")
    expect(page).to_have_title("hostile on alpha · barto")
    lines = page.locator("#lines .printed")
    expect(lines).to_have_count(4)
    expect(lines.nth(0)).to_have_text("<script>document.title=1</script>")
    expect(lines.nth(1)).to_have_text("<img src=x onerror=alert(1)>")
    expect(lines.nth(2)).to_have_text("<b>red</b> link")
    expect(lines.nth(2).locator(".i1")).to_have_text("<b>red</b>")
    expect(lines.nth(3)).to_have_text("\\u202eturned")
    assert page.locator("#lines b, #lines img, #lines script").count() == 0
    for place in ("/", "/history", "/history?text=script", "/schedules/hostile", "/workers"):
        page.goto(fleet.url + place)
        assert page.locator("main b img, main script").count() == 0
    expect(page).to_have_title("Workers · barto")


def test_the_browser_draws_the_corpus_as_the_server_does(fleet: Fleet, page: Page) -> None:
    page.goto(f"{fleet.url}/runs/{run(fleet, 'hello')}")
    drawn = page.evaluate(
        "(texts) => texts.map((text) => ansi.drawn(text).runs)", [case["text"] for case in CORPUS]
    )
    assert drawn == [case["runs"] for case in CORPUS]
    assert "ansi.js" in ASSETS


def test_the_calendar_explains_as_one_types(fleet: Fleet, page: Page) -> None:
    page.keyboard.press("g")
    page.keyboard.press("c")
    expect(page).to_have_title("Calendar · barto")
    page.locator("#expression").fill("Mon..Fri 02:3")
    expect(page.locator("#meaning")).to_contain_text("02:03")
    page.locator("#expression").press_sequentially("0")
    expect(page.locator("#meaning")).to_contain_text("at 02:30 on weekdays")
    expect(page.locator("#starts-table tbody tr")).to_have_count(5)
    page.locator("#expression").fill("*-*-* 25:00")
    expect(page.locator("#wrong-says")).to_have_text("hour is 0 to 23, got 25")
    expect(page.locator("#wrong-text mark")).to_have_text("25")
    assert page.url.endswith("/calendar?text=*-*-*+25%3A00")
    # The backup of two workers at 02:17:41 UTC, each night of the week.
    cells = page.locator(".heat tbody tr td:nth-child(5)")
    expect(cells).to_have_text(["2"] * 7)


def test_what_was_typed_before_the_script_came_is_explained(fleet: Fleet, page: Page) -> None:
    def typed(route: Route) -> None:
        page.locator("#expression").fill("Mon..Fri 02:30")
        route.continue_()

    page.route("**/calendar.*.js", typed)
    page.goto(f"{fleet.url}/calendar")
    expect(page.locator("#meaning")).to_contain_text("at 02:30 on weekdays")
    page.unroute("**/calendar.*.js")


def test_the_history_is_a_file(fleet: Fleet, page: Page) -> None:
    run(fleet, "hello")
    page.goto(f"{fleet.url}/history?schedule=hello")
    with page.expect_download() as coming:
        page.get_by_role("link", name="CSV").click()
    with Path(coming.value.path()).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["schedule"] for row in rows} == {"hello"}
    assert rows[0]["verdict"] == "ok"


def test_no_page_is_wider_than_a_telephone(fleet: Fleet, page: Page) -> None:
    run_id = run(fleet, "hello")
    page.set_viewport_size({"width": 375, "height": 700})
    for place in (
        *("/", "/schedules", "/workers", "/history", "/calendar?text=daily"),
        *("/history?view=day", "/history?view=output&text=hello", f"/runs/{run_id}"),
    ):
        page.goto(fleet.url + place)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 375, f"{place} is {wide} pixels wide"


def test_what_runs_on_a_worker_is_counted_as_it_begins_and_ends(fleet: Fleet, page: Page) -> None:
    page.goto(f"{fleet.url}/workers")
    heard = (
        "live.on('run', (run) => { if (run.complete) document.body.dataset.ended = run.schedule; })"
    )
    page.evaluate(heard)
    running = page.locator('tr[data-worker="beta"] [data-f="running"]')
    expect(running).to_have_text("")
    fleet.cli("run", "long", "--yes")
    expect(running).to_have_text("1")
    page.reload()
    page.evaluate(heard)
    expect(running).to_have_text("1")
    # Of another one several events tell that it has ended.
    fleet.cli("run", "backup", "--on", "beta", "--yes")
    expect(page.locator('body[data-ended="backup"]')).to_have_count(1)
    expect(running).to_have_text("1")
    fleet.cli("cancel", "long", "--yes")
    expect(running).to_have_text("")


def test_a_worker_is_drained_before_ones_eyes(fleet: Fleet, page: Page) -> None:
    page.goto(f"{fleet.url}/workers")
    page.on("dialog", lambda dialog: dialog.accept())
    row = page.locator('tr[data-worker="beta"]')
    expect(row).to_contain_text("connected")
    row.get_by_role("button", name="drain", exact=True).click()
    expect(row.locator('[data-f="state"]')).to_contain_text("drained")
    row.get_by_role("button", name="undrain").click()
    expect(row.locator('[data-f="state"]')).to_contain_text("connected")
