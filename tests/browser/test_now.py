"""The first page: what happens is seen as it happens, without a click."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.acceptance.fleet import Fleet


def test_a_run_appears_and_fails_before_ones_eyes(fleet: Fleet, page: Page) -> None:
    fleet.cli("run", "breaks", "--yes")
    row = page.locator("#running tr", has_text="breaks")
    expect(row).to_be_visible()
    expect(row).to_contain_text("alpha")
    failed = page.locator("#failing tr", has_text="breaks")
    expect(failed).to_contain_text("failed")
    expect(failed).to_contain_text("exit 3")
    expect(row).to_have_count(0)
    expect(page.locator("#verdicts")).to_contain_text("1 failing")
