"""`python -m bench.detect`: how fast detectors read rows, on one core, without hits and with a hit in every row.

How this works: DataRow messages of a chunk's size (64 KiB) are masked as a session does it (`DetectingMasker`), again
and again, by process CPU; the median of the repeats is shown. Five of the built-in detectors are on, then all, then
a pattern of one's own besides. `--twin` measures the scanner in Python, too.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
import uuid
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from wicketgate_gateway.contract.policy import BUILT_IN_DETECTORS, Detector, Mask, MaskMethod
from wicketgate_gateway.masking.detected import DetectingMasker
from wicketgate_gateway.masking.detectors import Detecting
from wicketgate_gateway.masking.redactor import Redactor
from wicketgate_gateway.wire.postgres import messages

CHUNK = 64 * 1024
FIVE = ("email", "card", "iban", "phone", "api-key")
"""The kinds that docs and goals speak of: mail, card, IBAN, phone, key."""
OWN = {"order": Detector(pattern="ORD-[0-9]{8}")}
_PROSE = (
    "the order was sent to a customer in Berlin on Monday and paid at once by bank transfer since they asked for it "
    "and all items were on stock except the blue one which follows next week with a note that nothing is to be paid"
)
_WORDS = _PROSE.split()


def plain_row(pick: random.Random) -> list[bytes]:
    """A row as tables have them: numbers, an identifier, times, prose of about 120 bytes; nothing to be found."""
    prose = " ".join(pick.choices(_WORDS, k=24))
    return [
        str(pick.randrange(10**6)).encode(),
        str(uuid.UUID(int=pick.getrandbits(128), version=4)).encode(),
        f"2026-{pick.randrange(1, 13):02}-{pick.randrange(1, 29):02} 10:20:30.{pick.randrange(10**6):06}+00".encode(),
        f"{pick.randrange(10**6) / 100}".encode(),
        prose.encode(),
    ]


def row_with_hit(pick: random.Random) -> list[bytes]:
    """The same with an address in its prose."""
    row = plain_row(pick)
    return [*row[:4], row[4] + f" ann{pick.randrange(1000)}@example.com".encode()]


def chunk(make: Callable[[random.Random], list[bytes]]) -> bytes:
    """As many rows as a chunk holds."""
    pick = random.Random(7)
    rows: list[bytes] = []
    size = 0
    while size < CHUNK:
        rows.append(messages.data_row(make(pick)))
        size += len(rows[-1])
    return b"".join(rows)


def speed(run: Callable[[], object], size: int, seconds: float, repeats: int) -> float:
    """MB/s of this process's CPU time."""
    found: list[float] = []
    for _ in range(repeats):
        count = 0
        started = time.process_time()
        while time.process_time() - started < seconds:
            run()
            count += 1
        found.append(count * size / (time.process_time() - started) / 1e6)
    return statistics.median(found)


def looking(own: bool, *, names: Sequence[str] = tuple(BUILT_IN_DETECTORS), twin: bool = False) -> Detecting:
    """The detectors of these names, and one of one's own."""
    names = [*names, *(OWN if own else ())]
    return Detecting([([Mask(detect=names, method=MaskMethod.REDACT)], OWN)], b"k" * 32, twin=twin)


def rows(looks: Detecting, data: bytes) -> Callable[[], object]:
    """Masking the rows once."""
    types = (25, 2950, 1184, 1700, 25)
    mask = DetectingMasker(looks, None, [messages.FieldDescription("c", 0, 0, oid) for oid in types])
    return lambda: mask(data, 0, len(data))


def stream(looks: Detecting, text: bytes) -> Callable[[], object]:
    """Redacting a stream of text once."""

    def run() -> None:
        redactor = Redactor(looks)
        redactor.feed(text)
        redactor.flush()

    return run


def measure(seconds: float, repeats: int, *, twin: bool = False) -> dict[str, float]:
    """MB/s of one core for each case."""
    without, every = chunk(plain_row), chunk(row_with_hit)
    text = b"\n".join(b" ".join(plain_row(random.Random(seed))) for seed in range(300))
    found: dict[str, float] = {}
    for label, looks in (
        ("five detectors", looking(False, names=FIVE)),
        ("seven detectors", looking(False)),
        ("and a pattern of one's own", looking(True)),
        *((("seven, the twin in Python", looking(False, twin=True)),) if twin else ()),
    ):
        found[f"{label}: rows, no hit"] = speed(rows(looks, without), len(without), seconds, repeats)
        found[f"{label}: rows, each with a hit"] = speed(rows(looks, every), len(every), seconds, repeats)
        found[f"{label}: text, no hit"] = speed(stream(looks, text), len(text), seconds, repeats)
    return found


def table_of(found: dict[str, float]) -> Table:
    """The figures of `measure` as a table."""
    table = Table("case", "MB/s of one core", title="Detectors", title_justify="left")
    for label, rate in found.items():
        table.add_row(label, f"{rate:.0f}")
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.detect", description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--twin", action="store_true")
    options = parser.parse_args(arguments)
    Console().print(table_of(measure(options.seconds, options.repeats, twin=options.twin)))


if __name__ == "__main__":
    main()
