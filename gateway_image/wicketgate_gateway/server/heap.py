"""Python's cyclic garbage collector, set for a process that holds many objects for long and many for a moment.

How this works: a full collection looks at every object in the process, and with modules, policies and catalogues that
takes a quarter of a second in which no session moves. So what is there once the process is ready is taken out of it for
good (`gc.freeze`), and the rest is looked at less often: nothing on the data path makes cycles, reference counts free
what it allocates.
"""

from __future__ import annotations

import gc

SECONDS = 1.0
"""After the start, by when policies and catalogues are there."""
YOUNG = 20_000
"""Allocations (less frees) of container objects between two looks at the youngest ones; Python's default is 700."""


def settle() -> None:
    """Call once, when all that stays was built."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)
