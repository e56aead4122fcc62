"""The pages: a link that logs a browser in, and the browser that opens it."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Mapping
from typing import Final

from barto_cli.given import Given
from barto_cli.render import Format, json_text

LINK: Final = "/api/v1/web-link"
SCREENS: Final = ("DISPLAY", "WAYLAND_DISPLAY")


def web(given: Given, *, only_print: bool) -> None:
    """Print the link, and open it where there is a screen."""
    told = given.client.post(LINK, {})
    url = url_of(given.client.place, told)
    if given.form is not Format.TABLE:
        given.write([json_text({**told, "url": url})])
        return
    given.write([url])
    opened = not only_print and has_screen(os.environ, sys.platform) and webbrowser.open(url)
    given.note(
        f"{'opened in your browser' if opened else 'open it in a browser'}; "
        f"it is good once, for {told['seconds']} seconds"
    )


def url_of(place: str, told: Mapping[str, str]) -> str:
    """Where a browser on this host finds the page: as this command reached the server, where it did
    so over the network, else as the server says.

    >>> url_of("/run/bartos.sock", {"url": "https://b.test/x/login", "path": "/login"})
    'https://b.test/x/login'
    >>> url_of("https://10.0.0.7:21526", {"url": "https://b.test/x/login", "path": "/login"})
    'https://10.0.0.7:21526/login'
    """
    return place + told["path"] if place.startswith(("https://", "http://")) else told["url"]


def has_screen(environment: Mapping[str, str], platform: str) -> bool:
    """Whether a browser of this host has somewhere to show itself."""
    return platform == "darwin" or any(environment.get(name) for name in SCREENS)
