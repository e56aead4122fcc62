"""The wire of barto 1.x, to the byte (protocol-v1.md section 3): who says what to whom.

`client` is what a worker says, `cli` what the command line asks, `server` what the server says to
both, `shared` what they have in common. Variants that nobody knows are errors, as they are there.
"""

from libbarto.message.v1.cli import BARTO_CLI, BartoCli
from libbarto.message.v1.client import BARTOC, Bartoc
from libbarto.message.v1.server import (
    BARTOS_TO_BARTO_CLI,
    BARTOS_TO_BARTOC,
    BartosToBartoc,
    BartosToBartoCli,
)

__all__ = [
    "BARTOC",
    "BARTOS_TO_BARTOC",
    "BARTOS_TO_BARTO_CLI",
    "BARTO_CLI",
    "BartoCli",
    "Bartoc",
    "BartosToBartoCli",
    "BartosToBartoc",
]
