"""Bulk reading by libpq, 1,000 rows at a time: once, or (`python -m bench.stream`) again and again until killed."""

from __future__ import annotations

import sys

import psycopg
from psycopg import pq


def read_all(connection: psycopg.Connection, query: bytes) -> int:
    """Reads the answer of one query; gives the bytes of its values."""
    raw = connection.pgconn
    raw.send_query(query)
    raw.set_chunked_rows_mode(1000)
    size = rows = width = 0
    while (result := raw.get_result()) is not None:
        if result.status not in (pq.ExecStatus.TUPLES_CHUNK, pq.ExecStatus.TUPLES_OK):
            raise SystemExit(f"error: `{query.decode()}` failed: {result.error_message.decode(errors='replace')}")
        if width == 0 and result.ntuples:
            width = sum(len(result.get_value(0, column) or b"") for column in range(result.nfields))
        rows += result.ntuples
        size = rows * width
    return size


def copy_out(connection: psycopg.Connection, query: bytes) -> int:
    """Takes the data of one COPY TO STDOUT; gives its bytes."""
    raw = connection.pgconn
    result = raw.exec_(query)
    if result.status != pq.ExecStatus.COPY_OUT:
        raise SystemExit(f"error: `{query.decode()}` failed: {result.error_message.decode(errors='replace')}")
    size = 0
    while True:
        count, data = raw.get_copy_data(0)
        if count < 0:
            break
        size += len(data)
    while (last := raw.get_result()) is not None:
        if last.status != pq.ExecStatus.COMMAND_OK:
            raise SystemExit(f"error: COPY failed: {last.error_message.decode(errors='replace')}")
    return size


def main() -> int:
    """Connects by libpq's variables and reads the table `bulk` until killed."""
    with psycopg.connect("") as connection:
        sys.stdout.write("reading\n")
        sys.stdout.flush()
        while True:
            read_all(connection, b"SELECT * FROM bulk")


if __name__ == "__main__":
    raise SystemExit(main())
