"""A PostgreSQL session: each message that a client sends is decided on, and goes out, waits, or is replaced.

How this works: a handler per message type, in a table; `flow` calls them and carries out what they leave in `_out`,
`_events` and the queue of expected answers. A denied message is not forwarded; in its place goes a text that cannot
parse, so that the server itself puts the error where it belongs (see `wire.postgres.responses`), and the client reads
why it was denied.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from wicketgate_gateway.approvals.outbox import used
from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.masking.copy_in import HIDE_ALL
from wicketgate_gateway.masking.hiding import hide
from wicketgate_gateway.masking.redactor import Redactor
from wicketgate_gateway.policy.engine import Decision
from wicketgate_gateway.policy.names import FIRST_USER_OID
from wicketgate_gateway.session import denials
from wicketgate_gateway.session.express import ExpressFlow
from wicketgate_gateway.session.holding import Approved
from wicketgate_gateway.session.session import Running
from wicketgate_gateway.session.statement import Statement, runs_copy_in
from wicketgate_gateway.wire.postgres import frontend, messages
from wicketgate_gateway.wire.postgres.expected import (
    Ask,
    Change,
    Expected,
    Portal,
)
from wicketgate_gateway.wire.postgres.messages import ProtocolError

MAX_STATEMENTS = 10_000
MAX_PORTALS = 1_000
MAX_CURSORS = 1_000

_GOES_ON = Verdict(Effect.ALLOW, "builtin:approved")
_ALLOW = Effect.ALLOW
_BIND, _DESCRIBE_PORTAL, _EXECUTE, _SYNC = Ask.BIND, Ask.DESCRIBE_PORTAL, Ask.EXECUTE, Ask.SYNC
_NO_DECISION = Decision(Verdict(Effect.DENY, "builtin:protocol"))


class PostgresSession(ExpressFlow):
    """See `Flow`; this adds what is done with each message."""

    # Decisions.

    def _statement(self, text: str) -> Statement:
        session = self.session
        return Statement(text, session.decide(text), session.epoch, session.detecting)

    def _renew(self, statement: Statement) -> None:
        session = self.session
        if statement.epoch != session.epoch:
            statement.take(session.decide(statement.text), session.epoch, session.detecting)

    def _refuse(
        self,
        verdict: Verdict,
        decision: Decision,
        shown: str,
        ask: Ask,
        *,
        parameters: tuple[bytes | None, ...] | None = None,
        formats: tuple[int, ...] = (),
    ) -> None:
        event = self.session.operation(decision, verdict, shown, now=self._now, parameters=parameters, formats=formats)
        self._events.append(event)
        denial = denials.denial(verdict, event.seq, self.session.id)
        if ask is Ask.QUERY:
            self._responses.push(Expected(Ask.QUERY, denial=denial))
            self._out.append(self._poison_query)
        else:
            self._responses.push(Expected(Ask.PARSE, name=self._nonce, denial=denial))
            self._out.append(self._poison_parse)

    def _allow(
        self,
        statement: Statement,
        *,
        parameters: tuple[bytes | None, ...] | None = None,
        formats: tuple[int, ...] = (),
        approved: Approved | None = None,
    ) -> Running:
        event = self.session.operation(
            statement.decision,
            statement.verdict if approved is None else approved.verdict(statement.verdict),
            statement.shown,
            now=self._now,
            parameters=parameters,
            formats=formats,
        )
        self._events.append(event)
        if statement.traits.sets:
            self._settings.note(statement, parameters or ())
        running = Running(event.seq, self._now, statement, event.parameters, formats)
        if approved is not None:
            self._events.append(used(approved.claim, seq=event.seq, now=self._now))
            self._sending.append(approved.hold)
            running.hold = approved.hold
        return running

    def _ask_people(
        self,
        again: Callable[[], None],
        statement: Statement,
        parameters: tuple[bytes | None, ...] = (),
        formats: tuple[int, ...] = (),
    ) -> Approved | Verdict | None:
        """What becomes of a held operation; None while it waits, and `again` looks at it once more."""
        responses, found = self._responses, None
        if responses.copying is not None:
            raise ProtocolError("a statement amid COPY data", remedy="send CopyDone or CopyFail first")
        if len(responses):
            self._out.append(messages.FLUSH)
        else:
            failed = ""
            if responses.skipping or responses.status == b"E":
                failed = "current transaction is aborted, commands ignored until end of transaction block"
            found = self._holding.consider(statement, parameters, formats, self._pinned.current, failed=failed)
        if found is None:
            self._holding.again = again
            self._barrier = self._holding
        return found

    def _declare(self, statement: Statement) -> Verdict | None:
        # FETCH is decided by what its cursor's name may mean; we must be able to remember that.
        for (change, name), facts in zip(statement.changes, statement.facts, strict=False):
            if change is Change.DECLARE:
                known = self._cursors.setdefault(name, {})
                known[facts.inner or facts, facts.text] = None
                if len(self._cursors) > MAX_CURSORS or len(known) > MAX_CURSORS:
                    return denials.too_many("cursors")
        return None

    # The client's messages.

    def _query(self, event: frontend.Query) -> None:
        statement = self._statement(event.text)
        shown = statement.shown
        self._recorded.append(event.raw if shown is event.text else messages.query(shown))
        self._run_query(event, statement)

    def _run_query(self, event: frontend.Query, statement: Statement) -> None:
        verdict = self.session.recording_trouble() or statement.verdict
        if statement.changes and verdict.allowed:
            verdict = self._declare(statement) or verdict
        approved: Approved | None = None
        if not verdict.allowed:
            if verdict.effect is Effect.HOLD:
                found = self._ask_people(lambda: self._run_query(event, self._statement(event.text)), statement)
                if found is None:
                    return
                approved, verdict = (found, verdict) if isinstance(found, Approved) else (None, found)
            if approved is None:
                self._refuse(verdict, statement.decision, statement.shown, Ask.QUERY)
                return
        expected = Expected(Ask.QUERY, prepared=statement, operation=self._allow(statement, approved=approved))
        self._responses.push(expected)
        self._out.append(event.raw if approved is None else messages.query(approved.text))
        if approved is None:
            self.remember(statement)
        if statement.copies_in or (statement.traits.executes and runs_copy_in(statement, self._prepared_facts)):
            statement.copies_in = True
            self._wait_for_copy(expected)

    def _parse(self, event: frontend.Parse) -> None:
        statement = self._statement(event.text)
        shown = statement.shown
        self._recorded.append(event.raw if shown is event.text else _parse_showing(event, shown))
        statement.types = event.raw[event.raw.index(b"\0", event.raw.index(b"\0", 5) + 1) + 1 :]
        verdict = self.session.recording_trouble() or statement.verdict
        if verdict.effect is not Effect.DENY and len(self._responses.statements) >= MAX_STATEMENTS:
            verdict = denials.too_many("prepared statements")
        if len(statement.types) > 2 and _own_types(statement.types):
            # The check of a domain, or a cast, could run functions that no rule has seen.
            verdict = denials.denied(
                "parameter-type",
                "a parameter is declared to be of a type that did not come with the server",
                "leave the parameter's type out, so that the server finds it",
            )
        if verdict.effect is Effect.DENY:  # what is held runs nothing yet
            self._refuse(verdict, statement.decision, statement.shown, Ask.PARSE)
            return
        self._responses.push(Expected(Ask.PARSE, name=event.name, prepared=statement))
        self._out.append(event.raw)
        if not event.name:
            self.remember_named(statement, "", event.raw)

    def _bind(self, event: frontend.Bind) -> None:
        candidates = self._responses.statements.candidates(event.statement)
        hidden = _hidden(candidates)
        plain = self._detecting is None and not hidden
        self._recorded.append(event.raw if plain else self._recordable_bind(event, hidden))
        if len(self._responses.portals) >= MAX_PORTALS:
            self._refuse(denials.too_many("portals"), _NO_DECISION, "", Ask.BIND)
            return
        portal = Portal(candidates, (event.parameters, event.formats), event.result_formats)
        if event.statement and len(candidates) == 1 and isinstance(candidates[0], Statement):
            self.remember_named(candidates[0], event.statement)
        self._responses.push(Expected(_BIND, event.portal, portal=portal, statement=event.statement))
        self._out.append(event.raw)

    def _recordable_bind(self, event: frontend.Bind, hidden: frozenset[int]) -> bytes:
        parameters, formats = hide(event.parameters, event.formats, hidden, self.session.gate.mask_key)
        shown = tuple(self.session.recordable(parameters))
        if shown == event.parameters:
            return event.raw
        return messages.bind(event.portal, event.statement, shown, formats, event.result_formats)

    def _describe(self, event: frontend.Describe) -> None:
        self._recorded.append(event.raw)
        if event.what == "S":
            self._responses.push(Expected(Ask.DESCRIBE_STATEMENT, name=event.name))
        else:
            for portal in self._responses.portals.candidates(event.name):
                portal.described = True
            self._responses.push(Expected(_DESCRIBE_PORTAL, event.name))
        self._out.append(event.raw)

    def _execute(self, event: frontend.Execute) -> None:
        self._recorded.append(event.raw)
        self._run_execute(event)

    def _run_execute(self, event: frontend.Execute) -> None:
        portals = self._responses.portals.candidates(event.portal)
        verdict, statements = self._may_execute(event.portal, portals)
        latest = statements[-1] if statements else None
        bound: Any = portals[-1].bind if portals else None
        parameters, formats = bound if bound is not None else (None, ())
        approved: Approved | None = None
        if latest is not None and verdict.effect is Effect.HOLD and (self.busy or verdict is latest.verdict):
            policy = self.session.policy.digest
            if portals[-1].approval == policy and len(portals) == 1 and portals[0].known:
                # It fetches more rows of what was approved: a portal runs once, whatever it is asked.
                verdict = _GOES_ON
            else:
                found = self._ask_people(lambda: self._run_execute(event), latest, parameters or (), formats)
                if found is None:
                    return
                if isinstance(found, Approved):
                    approved, verdict = found, _GOES_ON
                    portals[-1].approval = policy
                else:
                    verdict = found
        if not verdict.allowed or latest is None:
            decision = latest.decision if latest is not None else _NO_DECISION
            shown = latest.shown if latest is not None else f"-- Execute of the portal `{event.portal}`"
            self._refuse(verdict, decision, shown, Ask.EXECUTE, parameters=parameters, formats=formats)
            return
        responses, out = self._responses, self._out
        if _any_masked(statements) and not _all_described(portals):
            # Rows can be masked only if their columns are known, and not every client asks for them.
            responses.push(Expected(Ask.DESCRIBE_PORTAL, name=event.portal, swallow=True))
            out.append(messages.describe(b"P", event.portal))
            for portal in portals:
                portal.described = True
        running = self._allow(latest, parameters=parameters, formats=formats, approved=approved)
        expected = Expected(_EXECUTE, event.portal, latest, operation=running)
        responses.push(expected)
        out.append(event.raw)
        copies = False
        for statement in statements:
            if statement.copies_in or (statement.traits.executes and runs_copy_in(statement, self._prepared_facts)):
                statement.copies_in = copies = True
        if copies:
            out.append(messages.FLUSH)
            self._wait_for_copy(expected, statements)

    def _may_execute(self, name: str, portals: tuple[Portal, ...]) -> tuple[Verdict, list[Statement]]:
        """The verdict on all that the portal may be, and the statements that it may run, the likeliest last."""
        verdict, epoch = self.session.recording_trouble(), self.session.epoch
        statements: list[Statement] = []
        for portal in portals:
            # Once the server confirmed the Bind, the portal runs what it says and nothing else. A Bind of a name that
            # means nothing fails; should the server know better, the session ends (`Responses`).
            for prepared in (portal.prepared,) if portal.known else portal.candidates:
                if not isinstance(prepared, Statement):
                    what = "a statement that SQL's PREPARE made cannot run by messages"
                    verdict = verdict or denials.denied("sql-prepared", what, "use EXECUTE in SQL")
                    continue
                if prepared.epoch != epoch:
                    self._renew(prepared)
                statements.append(prepared)
                if prepared.verdict.effect is not _ALLOW:
                    verdict = verdict or prepared.verdict
                elif prepared.changes:
                    verdict = verdict or self._declare(prepared)
        if verdict is None and not statements:
            verdict = denials.denied("unknown-portal", f'portal "{name}" does not exist', "send Bind first")
        return verdict or statements[-1].verdict, statements

    def _close(self, event: frontend.Close) -> None:
        self._recorded.append(event.raw)
        ask = Ask.CLOSE_STATEMENT if event.what == "S" else Ask.CLOSE_PORTAL
        self._responses.push(Expected(ask, name=event.name))
        self._out.append(event.raw)

    def _sync(self, event: frontend.Sync) -> None:
        self._recorded.append(event.raw)
        if self._responses.copying is not None:
            # The server swallows a Sync that libpq sent with the COPY's Execute. One amid the data would be swallowed
            # or answered, as the COPY goes on or fails, and which of the two we could not know in time.
            if self._copied:
                raise ProtocolError("Sync within COPY data", remedy="send CopyDone or CopyFail first")
            return
        self._responses.push(Expected(_SYNC))
        self._out.append(event.raw)

    def _flush(self, event: frontend.Flush) -> None:
        self._recorded.append(event.raw)
        if self._responses.copying is None:
            self._out.append(event.raw)

    def _function_call(self, event: frontend.FunctionCall) -> None:
        self._recorded.append(event.raw)
        verdict = denials.denied(
            "function-call",
            f"a function-call message (function {event.function}) says nothing that a policy could judge",
            "call the function in a SELECT",
        )
        self._refuse(verdict, _NO_DECISION, f"-- FunctionCall of the function {event.function}", Ask.QUERY)

    def _wait_for_copy(self, expected: Expected, statements: Sequence[Statement] = ()) -> None:
        self._copied = False
        self._barrier = expected
        if not statements and isinstance(expected.prepared, Statement):
            statements = (expected.prepared,)
        # A name may mean several: then all is hidden, if anything is.
        hidden = [s.plan.copying_in for s in statements if s.plan is not None and s.plan.copying_in is not None]
        self._stars = None
        if hidden:
            self._stars = (hidden[0] if len(statements) == 1 else HIDE_ALL).stars()

    def _copy_bytes(self, event: frontend.CopyBytes) -> None:
        # Outside of a COPY the server ignores these, since one that failed may still be sent data.
        # What is recorded has the same length, or the recording's messages would have no beginnings.
        shown = event.raw if self._stars is None else self._stars.feed(event.raw)
        if self._detecting is None:
            self._recorded.append(shown)
        else:
            if self._copying_in is None:
                self._copying_in = Redactor(self._detecting, stars=True)
            self._recorded.append(self._copying_in.feed(shown))
        self._copied = True
        self._out.append(event.raw)

    def _copy_end(self, event: frontend.CopyDone | frontend.CopyFail) -> None:
        if self._copying_in is not None:
            self._recorded.append(self._copying_in.flush())
            self._copying_in = None
        self._recorded.append(event.raw)
        self._out.append(event.raw)
        copying = self._responses.copying
        if copying is None:
            return
        if isinstance(event, frontend.CopyDone) and self.session.recording_trouble() is not None:
            self._out[-1] = messages.copy_fail("the session cannot be recorded")
        self._responses.copying = None
        if copying.ask is Ask.QUERY:
            # Another COPY may follow in the same text.
            copying.settled = False
            self._wait_for_copy(copying)

    def _terminate(self, event: frontend.Terminate) -> None:
        self._recorded.append(event.raw)
        self._out.append(event.raw)
        self._leaving = True


_NOTHING_HIDDEN: frozenset[int] = frozenset()


def _hidden(candidates: tuple[Any, ...]) -> frozenset[int]:
    # Numbers of the parameters that meet masked columns, whichever statement the name means.
    found = _NOTHING_HIDDEN
    for prepared in candidates:
        if isinstance(prepared, Statement) and prepared.traits.hidden:
            found |= prepared.traits.hidden
    return found


def _any_masked(statements: list[Statement]) -> bool:
    for statement in statements:  # noqa: SIM110 - a generator costs as much as the rest of Execute
        if statement.masked:
            return True
    return False


def _all_described(portals: tuple[Portal, ...]) -> bool:
    for portal in portals:  # noqa: SIM110 - see above
        if not portal.described:
            return False
    return True


def _own_types(types: bytes) -> bool:
    # `types` is a count (Int16) and as many OIDs (Int32); the decoder has checked the length.
    return any(oid >= FIRST_USER_OID for (oid,) in struct.iter_unpack(">I", types[2:]))


def _parse_showing(event: frontend.Parse, shown: str) -> bytes:
    # The message as it may be recorded.
    tail = event.raw[5 + len(event.name.encode()) + 1 + len(event.text.encode()) + 1 :]
    return messages.message(b"P", messages.cstring(event.name) + messages.cstring(shown) + tail)


PostgresSession.HANDLERS = {
    frontend.Query: PostgresSession._query,
    frontend.Parse: PostgresSession._parse,
    frontend.Bind: PostgresSession._bind,
    frontend.Describe: PostgresSession._describe,
    frontend.Execute: PostgresSession._execute,
    frontend.Close: PostgresSession._close,
    frontend.Sync: PostgresSession._sync,
    frontend.Flush: PostgresSession._flush,
    frontend.FunctionCall: PostgresSession._function_call,
    frontend.CopyBytes: PostgresSession._copy_bytes,
    frontend.CopyDone: PostgresSession._copy_end,
    frontend.CopyFail: PostgresSession._copy_end,
    frontend.Terminate: PostgresSession._terminate,
}
