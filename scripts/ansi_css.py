"""Writes the colours of output: the 256 of a terminal's palette, made so that they can be read on a
light page and on a dark one. A test compares the file with what this makes.

    .venv/bin/python scripts/ansi_css.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).parents[1] / "src/bartos/web/static/ansi.css"

LIGHT: Final = (0xF5, 0xF7, 0xF9)
DARK: Final = (0x1D, 0x21, 0x26)
"""What output stands on (`--raised` in barto.css)."""
ENOUGH: Final = 4.5
"""The contrast that WCAG 2.1 §1.4.3 asks for."""

# The first sixteen as xterm has them, calmer.
BASE: Final = (
    *("000000", "C4302B", "3B8C2A", "A87B00", "2F6FD0", "A347BA", "0F8A8A", "D0D4D8"),
    *("6B7279", "F2635C", "6CC24A", "E0B020", "6FA8F5", "D68AE8", "35C3C3", "FFFFFF"),
)
CUBE: Final = (0, 95, 135, 175, 215, 255)

Colour = tuple[int, int, int]

HEAD: Final = """\
/* The colours of output. Written by scripts/ansi_css.py: --l and --d are the ink on a light and a
   dark page, --t is the true colour, for where a line has a background of its own. */
.printed .ink { color: light-dark(var(--l), var(--d)); }
.printed .paper { color: var(--on); }
.printed .ink.paper { color: var(--t); }
.printed .turned { color: var(--raised); background: var(--ink); }
.printed .ink.turned { color: var(--raised); background: light-dark(var(--l), var(--d)); }
.printed .bold { font-weight: 700; }
.printed .faint { opacity: 0.75; }
.printed .italic { font-style: italic; }
.printed .under { text-decoration: underline; }
.printed .struck { text-decoration: line-through; }
.printed .under.struck { text-decoration: underline line-through; }
.printed .unseen { color: var(--interrupted); border: 1px dotted; font-size: 11px; }
"""


def palette() -> list[Colour]:
    """The colours, by number."""
    found = [rgb(text) for text in BASE]
    found += [(r, g, b) for r in CUBE for g in CUBE for b in CUBE]
    found += [(level, level, level) for level in range(8, 248, 10)]
    return found


def rgb(text: str) -> Colour:
    """A colour from six digits."""
    return int(text[:2], 16), int(text[2:4], 16), int(text[4:], 16)


def hexadecimal(colour: Colour) -> str:
    """A colour as CSS has it."""
    text = "".join(f"{part:02x}" for part in colour)
    return f"#{text[::2]}" if text[::2] == text[1::2] else f"#{text}"


def luminance(colour: Colour) -> float:
    """Relative luminance (WCAG 2.1)."""
    parts = [part / 255 for part in colour]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Colour, other: Colour) -> float:
    """The contrast of two colours (WCAG 2.1), 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def readable(colour: Colour, paper: Colour) -> Colour:
    """The colour, made darker or lighter until it can be read on `paper`."""
    end = (0, 0, 0) if luminance(paper) > 0.5 else (255, 255, 255)
    for step in range(101):
        red, green, blue = (
            round(part + (goal - part) * step / 100) for part, goal in zip(colour, end, strict=True)
        )
        if contrast((red, green, blue), paper) >= ENOUGH:
            return red, green, blue
    return end


def rules() -> Iterator[str]:
    """A rule for each ink, and one for each paper."""
    black, white = (0, 0, 0), (255, 255, 255)
    for number, colour in enumerate(palette()):
        light, dark = readable(colour, LIGHT), readable(colour, DARK)
        yield (
            f".i{number}{{--l:{hexadecimal(light)};--d:{hexadecimal(dark)};"
            f"--t:{hexadecimal(colour)}}}"
        )
        on = black if contrast(black, colour) >= contrast(white, colour) else white
        yield f".p{number}{{background:{hexadecimal(colour)};--on:{hexadecimal(on)}}}"


def text() -> str:
    """The whole file."""
    return HEAD + "\n".join(rules()) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
