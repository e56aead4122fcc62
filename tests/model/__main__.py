"""`python -m tests.model --occurrences N --seed SEED`: the model for as long as one likes.

Prints a line for each simulation, and ends with 1 at the first invariant that does not hold; the
same seed does the same again.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time

from tests.model import mutants


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.model")
    parser.add_argument("--occurrences", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--each", type=int, default=20_000, help="of one simulation; then comes the next seed"
    )
    parser.add_argument("--mutant", choices=mutants.MUTANTS, help="take a rule out of barto")
    parser.add_argument("--trace", action="store_true", help="print each deed")
    given = parser.parse_args()
    often: tuple[str, ...] = ()
    if given.mutant is not None:
        mutants.install(given.mutant)
        often = mutants.MUTANTS[given.mutant].often
    # Imported now: a mutant has to be there before the modules that it changes.
    from tests.model.play import play

    logging.disable(logging.CRITICAL)
    total, seed, began = 0, given.seed, time.monotonic()
    while total < given.occurrences:
        count, wrong = play(
            seed,
            min(given.each, given.occurrences - total),
            print if given.trace else lambda _: None,
            often,
        )
        total += count
        print(
            f"seed={seed} occurrences={total} broken={len(wrong)}"
            f" seconds={time.monotonic() - began:.0f}",
            flush=True,
        )
        if wrong:
            print("\n".join(wrong))
            return 1
        seed += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
