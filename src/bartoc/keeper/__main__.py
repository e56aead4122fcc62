"""The keeper's program: `python -I -S -X utf8 keeper STATE_DIRECTORY`.

It ends when the keeper listens, in the background; where that cannot be, it says why and ends
with 1. Started without the site module, it finds its own package by itself.
"""

import sys


def main() -> None:
    """Start the keeper of the state directory that is the only argument."""
    from bartoc.keeper.server import Refused, serve

    if len(sys.argv) != 2:
        sys.exit("usage: python -I -S -X utf8 -m bartoc.keeper STATE_DIRECTORY")
    try:
        serve(sys.argv[1])
    except Refused as error:
        sys.exit(f"keeper: {error}")


if __name__ == "__main__":
    sys.path.append(__file__.rsplit("/", 3)[0])
    main()
