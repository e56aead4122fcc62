"""Takes pictures of the pages, in light, dark and narrow, into docs/screenshots.

    .venv/bin/python -m scripts.screenshots [WORD...]      (make screenshots)

A server in this process over a made-up history (tests/showcase.py), Debian's Chromium, and a
palette, so that the pictures stay small. With words, only the pages whose names have one.
"""

from __future__ import annotations

import asyncio
import base64
import shutil
import struct
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

import uvicorn
from playwright.sync_api import Page, sync_playwright

from bartos.api.app import create_app
from bartos.api.guard import over_unix_socket
from bartos.store.port import RunFilter
from libbarto.identity import uuid_text
from tests.faces import NOON, Barto
from tests.mariadb import free_port
from tests.showcase import HOUR, showcase

INTO: Final = Path(__file__).parents[1] / "docs" / "screenshots"
COLOURS: Final = 160
WIDE: Final = (1280, 800)
NARROW: Final = (375, 720)


@contextmanager
def served(barto: Barto) -> Iterator[str]:
    """The address at which the faces of a server are reached, without a login."""
    port = free_port()
    app = over_unix_socket(create_app(barto.services))
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(5)


async def pages(barto: Barto) -> dict[str, str]:
    """What is taken, by name: paths below the root."""

    async def run(schedule: str, worker: str, number: int = 0) -> str:
        rows = await barto.store.runs(RunFilter(schedule=schedule, worker=worker, limit=number + 1))
        return f"/runs/{uuid_text(rows[number].run_id)}"

    (slot,) = {row.slot for row in await barto.store.runs(RunFilter(schedule="updates", limit=1))}
    start = (slot - NOON) // HOUR
    assert start < 0, "it has run"
    when = quote(f"2026-11-24T{12 + start:02}:00:00Z")
    return {
        "now": "/",
        "schedules": "/schedules",
        "schedule": "/schedules/backup",
        "run": await run("build", "ci1", 3),
        "run-failed": await run("backup", "db2"),
        "runs": f"/runs?schedule=updates&slot={when}",
        "workers": "/workers",
        "history": "/history",
        "day": "/history?view=day&day=2026-11-23",
        "search": "/history?view=output&text=timed+out",
        "calendar": f"/calendar?text={quote('Mon..Fri 02:30')}",
    }


# Run in the browser, which can read pictures: the colours that are there most, and for each pixel
# the number of the one that is nearest.
REDUCE: Final = """
async ([data, most]) => {
  const answer = await fetch(`data:image/png;base64,${data}`);
  const image = await createImageBitmap(await answer.blob());
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, image.width, image.height).data;
  const buckets = new Map();
  for (let at = 0; at < pixels.length; at += 4) {
    const key = (pixels[at] >> 3 << 10) | (pixels[at + 1] >> 3 << 5) | (pixels[at + 2] >> 3);
    let one = buckets.get(key);
    if (!one) buckets.set(key, one = { count: 0, exact: new Map() });
    one.count += 1;
    const exact = (pixels[at] << 16) | (pixels[at + 1] << 8) | pixels[at + 2];
    one.exact.set(exact, (one.exact.get(exact) || 0) + 1);
  }
  const palette = [...buckets.values()].sort((a, b) => b.count - a.count).slice(0, most)
    .map((one) => [...one.exact].sort((a, b) => b[1] - a[1])[0][0]);
  const known = new Map();
  const nearest = (colour) => {
    let best = 0, least = Infinity;
    palette.forEach((other, number) => {
      const red = (colour >> 16) - (other >> 16);
      const green = (colour >> 8 & 255) - (other >> 8 & 255);
      const blue = (colour & 255) - (other & 255);
      const far = 3 * red * red + 4 * green * green + 2 * blue * blue;
      if (far < least) { least = far; best = number; }
    });
    return best;
  };
  let text = "";
  for (let at = 0; at < pixels.length; at += 4) {
    const colour = (pixels[at] << 16) | (pixels[at + 1] << 8) | pixels[at + 2];
    if (!known.has(colour)) known.set(colour, nearest(colour));
    text += String.fromCharCode(known.get(colour));
  }
  return [image.width, image.height, palette, btoa(text)];
}
"""


def reduced(blank: Page, whole: bytes) -> bytes:
    """A picture with a palette (PNG, third edition, §11.2)."""
    width, height, palette, text = blank.evaluate(
        REDUCE, [base64.b64encode(whole).decode(), COLOURS]
    )
    pixels = base64.b64decode(text)
    rows = b"".join(b"\0" + pixels[y * width : (y + 1) * width] for y in range(height))

    def part(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            part(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            part(b"PLTE", b"".join(struct.pack(">I", colour)[1:] for colour in palette)),
            part(b"IDAT", zlib.compress(rows, 9)),
            part(b"IEND", b""),
        )
    )


def picture(page: Page, blank: Page, url: str, file: Path) -> None:
    """One picture of a page, when it has come to rest."""
    page.goto(url)
    page.wait_for_timeout(700)  # live streams never end, so there is no silence to wait for
    file.write_bytes(reduced(blank, page.screenshot()))


def main(words: list[str]) -> None:
    """Take all pictures, or those that are named."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("Chromium is not installed: apt-get install --no-install-recommends chromium")
    INTO.mkdir(exist_ok=True)
    barto = asyncio.run(showcase())
    wanted = asyncio.run(pages(barto))
    with served(barto) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--lang=en-GB"]
        )
        blank = browser.new_page()
        for look, size in (("light", WIDE), ("dark", WIDE), ("narrow", NARROW)):
            context = browser.new_context(
                viewport={"width": size[0], "height": size[1]},
                color_scheme="dark" if look == "dark" else "light",
                locale="en-GB",
                reduced_motion="reduce",
            )
            page = context.new_page()
            page.on("console", lambda message: print(f"console: {message.text}"))
            page.on("pageerror", lambda error: print(f"error: {error}"))
            for name, path in wanted.items():
                if not words or any(word in name for word in words):
                    picture(page, blank, url + path, INTO / f"{name}-{look}.png")
            context.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
