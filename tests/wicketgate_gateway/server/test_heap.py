"""The collector's settings; in a process of its own, since they are a process's."""

import subprocess
import sys

SCRIPT = """
import gc
kept = [[i] for i in range(1000)]
from wicketgate_gateway.server import heap
heap.settle()
assert gc.get_freeze_count() > 1000, gc.get_freeze_count()
assert gc.get_threshold()[0] == heap.YOUNG
assert not any(o is kept for o in gc.get_objects()), "what was there is still looked at"
cycle = []
cycle.append(cycle)
del cycle
assert gc.collect() >= 1, "cycles made later must still be found"
"""


def test_what_was_built_is_left_alone_and_later_cycles_are_found() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
