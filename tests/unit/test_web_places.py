"""Where browsers find the pages, and how `barto-cli web` leads there."""

from __future__ import annotations

import socket

import pytest

from barto_cli.commands.web import has_screen, url_of
from bartos.app import pages_of
from bartos.config import Settings

URL = "https://192.0.2.7:21526"


def test_without_a_public_url_browsers_come_as_others_do() -> None:
    pages = pages_of(Settings(), URL)
    assert (pages.origin, pages.root, pages.url) == (URL, "", URL)
    assert {"192.0.2.7", socket.gethostname().lower()} <= pages.hosts


@pytest.mark.parametrize("end", ["", "/"])
def test_a_public_url_may_have_a_sub_path(end: str) -> None:
    pages = pages_of(Settings(public_url=f"https://Ops.example/barto{end}"), URL)
    assert (pages.root, pages.secure) == ("/barto", True)
    assert pages.url == "https://Ops.example/barto"
    assert "ops.example" in pages.hosts


def test_a_link_leads_where_the_command_reached_the_server() -> None:
    told = {"url": f"{URL}/x/login?link=a", "path": "/login?link=a"}
    assert url_of("/var/lib/bartos/bartos.sock", told) == told["url"]
    assert url_of("https://10.0.0.7:21526", told) == "https://10.0.0.7:21526/login?link=a"


def test_a_browser_is_opened_where_there_is_a_screen() -> None:
    assert has_screen({"DISPLAY": ":0"}, "linux")
    assert has_screen({"WAYLAND_DISPLAY": "wayland-0"}, "linux")
    assert has_screen({}, "darwin")
    assert not has_screen({"DISPLAY": ""}, "linux")
