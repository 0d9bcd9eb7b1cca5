"""How far a statement would reach: the planner's estimate, and the count of a run that is rolled back.

How this works: a connection of the agent's own, which ends afterwards whatever happened. The statement is sent by
Parse, which takes one statement and no more, so nothing can be hidden behind it. EXPLAIN runs in a read-only
transaction; the run has one of its own, with limits on time and on waiting for locks, and is never committed: a
connection that ends within a transaction rolls it back, too. What the server says in errors may hold values, so only
its SQLSTATE is told.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from wicketgate_gateway.agent.target import Target, TargetConnection, TargetError
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.tunnel.messages import Estimate, Estimated
from wicketgate_gateway.wire.postgres import messages
from wicketgate_gateway.wire.postgres.backend import BackendDecoder

ESTIMATE_SECONDS = 10.0
MAX_PLAN = 1024 * 1024
"""Bytes of a plan that are read."""
_LIMITS = (
    "SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '1s'; "
    "SET LOCAL idle_in_transaction_session_timeout = '10s'"
)
_PLANNING = f"BEGIN READ ONLY; {_LIMITS}"
_RUNNING = f"BEGIN READ WRITE; {_LIMITS}"
_WHY = {
    "57014": "it took longer than 5 s",
    "55P03": "it waited longer than 1 s for a lock",
    "40P01": "it ran into a deadlock",
    "42P01": "a relation in it does not exist for the agent's connection",
    "42601": "the server did not understand it",
    "23503": "it breaks a foreign key",
    "23505": "it breaks a unique key",
    "23514": "it breaks a check",
    "42501": "the agent's role may not do it",
}


class _RefusedError(Exception):
    """The server's SQLSTATE, as words."""


async def estimate(target: Target, wanted: Estimate) -> Estimated:
    """Measure. Raises nothing: what went wrong is in `note`."""
    try:
        async with asyncio.timeout(ESTIMATE_SECONDS):
            connection, _ = await target.log_in({"application_name": "wicketgate estimate"})
            try:
                return await _measure(_Client(connection), wanted)
            finally:
                connection.write(messages.TERMINATE)
                connection.close()
    except TimeoutError:
        return Estimated(number=wanted.number, note=f"the target did not answer within {ESTIMATE_SECONDS:.0f} s")
    except (ConnectionError, TargetError):
        return Estimated(number=wanted.number, note="the target cannot be reached for it")
    except WicketgateError as error:
        return Estimated(number=wanted.number, note=f"the target cannot be asked ({error.code})")


async def _measure(client: _Client, wanted: Estimate) -> Estimated:
    rows, plan, counted, notes = None, "", None, list[str]()
    try:
        await client.simple(_PLANNING)
        await client.run(f"EXPLAIN (FORMAT JSON) {wanted.statement}", wanted, keep=True)
        rows, plan = read_plan(client.plan)
        await client.simple("ROLLBACK")
    except _RefusedError as error:
        notes.append(f"no estimate: {error}")
        await _forgiving(client, "ROLLBACK")
    if wanted.count:
        try:
            await client.simple(_RUNNING)
            tag = await client.run(wanted.statement, wanted)
            counted = messages.rows_of(tag)
        except _RefusedError as error:
            notes.append(f"no count: {error}")
        finally:
            await _forgiving(client, "ROLLBACK")
    return Estimated(number=wanted.number, rows=rows, counted=counted, plan=plan, note="; ".join(notes))


async def _forgiving(client: _Client, text: str) -> None:
    try:
        await client.simple(text)
    except _RefusedError:
        return


def read_plan(text: str) -> tuple[int | None, str]:
    """The rows that a plan expects to read or change, and what it does in words; None if it cannot be told."""
    try:
        top: Any = json.loads(text)[0]["Plan"]
        changes = [node for node in _nodes(top) if node.get("Node Type") == "ModifyTable"]
        if not changes:
            return int(top["Plan Rows"]), _words(top)
        rows = sum(
            int(child.get("Plan Rows", 0))
            for node in changes
            for child in node.get("Plans", [])
            if child.get("Parent Relationship") in ("Outer", "Member")
        )
        said = [f"{node.get('Operation', '?')} on {node.get('Relation Name', '?')}" for node in changes]
        return rows, "; ".join(dict.fromkeys(said))[:200]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None, ""


def _nodes(top: Any) -> list[Any]:
    found, open_nodes = list[Any](), [top]
    while open_nodes:
        node = open_nodes.pop()
        found.append(node)
        open_nodes += node.get("Plans", [])
    return found


def _words(top: Any) -> str:
    names = [str(node["Relation Name"]) for node in _nodes(top) if "Relation Name" in node]
    said = f"{top.get('Node Type', '?')} reading {', '.join(dict.fromkeys(names))}" if names else str(top["Node Type"])
    return said[:200]


class _Client:
    """The little of a client that this needs."""

    def __init__(self, connection: TargetConnection) -> None:
        self.plan = ""
        self._connection = connection

    async def simple(self, text: str) -> None:
        """A text of ours. Raises _RefusedError."""
        self._connection.write(messages.query(text))
        await self._answer(keep=False)

    async def run(self, text: str, wanted: Estimate, *, keep: bool = False) -> str:
        """One statement with the parameters of `wanted`; its command tag. Raises _RefusedError."""
        self._connection.write(
            messages.parse("", text, wanted.types)
            + messages.bind("", "", wanted.parameters, wanted.formats)
            + messages.execute("")
            + messages.SYNC
        )
        return await self._answer(keep=keep)

    async def _answer(self, *, keep: bool) -> str:
        decoder, tag, refused, plan, size = BackendDecoder(), "", "", list[str](), 0
        while True:
            decoder.feed(await self._connection.read())
            for kind, body in decoder:
                if kind == "D" and keep and size < MAX_PLAN:
                    size += len(body)
                    plan += [value.decode() for value in messages.read_data_row(body) if value is not None]
                elif kind == "C":
                    tag = messages.read_command_tag(body)
                elif kind == "E":
                    code = messages.read_report(body).get("C", "?")
                    refused = f"{_WHY.get(code, 'the server refused it')} (SQLSTATE {code})"
                elif kind in ("G", "H", "W"):
                    raise ConnectionError("a COPY was begun")
                elif kind == "Z":
                    self.plan = "\n".join(plan)
                    if refused:
                        raise _RefusedError(refused)
                    return tag
