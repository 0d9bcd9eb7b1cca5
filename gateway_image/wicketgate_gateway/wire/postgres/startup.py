"""Logging in to a PostgreSQL server, as a client: bytes in, bytes out.

How this works: `Login` is a table from (state, message) to a handler. `start()` gives the start-up message, `feed()`
takes what the server sent and gives what to send back; once `done` is set, the server is ready for queries. Trust,
cleartext (only over TLS), MD5 and SCRAM-SHA-256 with or without channel binding are known. A server that skips a step
of SCRAM is refused: the exchange proves the server to us, too. Source: PostgreSQL manual, "Message Flow" and "SASL
Authentication"; RFC 5802, RFC 7677, RFC 5929 (tls-server-end-point).

`start_up_parameters` decides which of a client's parameters reach the server: those that change what a statement means
are pinned, since a policy decides on the text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from enum import Enum, auto
from struct import Struct
from typing import NamedTuple

from scramp import ScramClient, ScramException

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.wire.postgres import messages
from wicketgate_gateway.wire.postgres.messages import ProtocolError

_U32 = Struct(">I")
_SQLSTATE = re.compile(r"[0-9A-Z]{5}\Z")
_PROTOCOL = 3 << 16
_SSL_REQUEST = 80877103
_CANCEL_REQUEST = 80877102
_MAX_MESSAGE = 64 * 1024
_MAX_PARAMETERS = 200
_MAX_ITERATIONS = 1_000_000
"""A server may ask for more rounds of PBKDF2 only to keep us busy."""

SSL_REQUEST = _U32.pack(8) + _U32.pack(_SSL_REQUEST)
"""Asks for TLS; the server answers with the single byte `S` or `N`."""

PASSED = frozenset(
    {
        "application_name",
        "bytea_output",
        "client_min_messages",
        "datestyle",
        "default_transaction_deferrable",
        "default_transaction_isolation",
        "default_transaction_read_only",
        "extra_float_digits",
        "geqo",
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "intervalstyle",
        "jit",
        "lock_timeout",
        "statement_timeout",
        "timezone",
    }
)
"""A client's start-up parameters (lowercase) that reach the server: none changes what a statement's text means."""
_OURS = frozenset({"user", "database"})
_MAX_VALUE = 1024
PINNED = {"client_encoding": "UTF8", "standard_conforming_strings": "on"}
"""Settings that the parser takes for granted; the server reports both, and `Login` checks that."""


class ParameterRefusedError(WicketgateError):
    """A start-up parameter that cannot be passed on."""

    code = "parameter-refused"


class LoginRefusedError(WicketgateError):
    """The server said no. `server_message` is its own text, for the agent's log alone."""

    code = "target-refused"

    def __init__(self, sqlstate: str, server_message: str) -> None:
        super().__init__(_reason(sqlstate))
        self.sqlstate = sqlstate
        self.server_message = server_message


class LoginUnsupportedError(WicketgateError):
    """The server asks for something that we do not do, or do not do without TLS."""

    code = "target-authentication-unsupported"


class LoggedIn(NamedTuple):
    """A finished log-in: the server's parameters and the key that cancels this session's statements."""

    parameters: dict[str, str]
    pid: int
    secret: bytes
    rest: bytes
    """What the server sent after its first ReadyForQuery."""


def start_up_parameters(client: Mapping[str, str], *, user: str, database: str, search_path: str) -> dict[str, str]:
    """The server's start-up parameters for a client's. Raises ParameterRefusedError, naming the parameter."""
    passed: dict[str, str] = {}
    for name, value in client.items():
        key = name.lower()
        if key in _OURS or key.startswith("_pq_."):
            continue
        if "\0" in value or len(value) > _MAX_VALUE:
            raise ParameterRefusedError(f"the value of the start-up parameter `{_shown(key)}` is too long")
        if key in PASSED:
            passed[key] = value
        elif not _harmless(key, value, search_path):
            raise ParameterRefusedError(
                f"the start-up parameter `{_shown(key)}` is not supported", remedy=_REMEDIES.get(key, "leave it out")
            )
    return {**passed, **PINNED, "search_path": search_path, "user": user, "database": database}


_REMEDIES = {
    "client_encoding": "use UTF8",
    "options": "leave it out; settings can be changed by SET where a policy allows it",
    "replication": "replication is not available through the gateway",
    "search_path": "it is fixed for this target; name tables with their schema",
}


def _harmless(name: str, value: str, search_path: str) -> bool:
    """Whether a parameter says what holds anyway."""
    bare = value.strip().lower()
    if name == "client_encoding":
        return re.sub(r"[^a-z0-9]", "", bare) in ("utf8", "unicode")
    if name == "standard_conforming_strings":
        return bare in ("on", "true", "yes", "1")
    if name == "replication":
        return bare in ("", "off", "false", "no", "0")
    if name == "search_path":
        return value.strip() == search_path
    return name == "options" and not bare


def _shown(name: str) -> str:
    return re.sub(r"[^ -~]", "?", name)[:60]


def startup_message(parameters: Mapping[str, str]) -> bytes:
    """StartupMessage of protocol 3.0."""
    body = _U32.pack(_PROTOCOL)
    body += b"".join(messages.cstring(name) + messages.cstring(value) for name, value in parameters.items()) + b"\0"
    return _U32.pack(len(body) + 4) + body


def cancel_request(pid: int, secret: bytes) -> bytes:
    """CancelRequest, to be sent alone on a connection of its own."""
    body = _U32.pack(_CANCEL_REQUEST) + _U32.pack(pid) + secret
    return _U32.pack(len(body) + 4) + body


class State(Enum):
    """Where a log-in stands."""

    STARTED = auto()
    PASSWORD_SENT = auto()
    SASL_STARTED = auto()
    SASL_PROVED = auto()
    SASL_FINISHED = auto()
    AUTHENTICATED = auto()
    READY = auto()


class Login:
    """One log-in. `password` is forgotten as soon as it has been used.

    `tls` says whether the connection is encrypted; `binding` is the digest of the server's certificate (RFC 5929
    section 4.1), where there is one. `feed` may take milliseconds of computing (PBKDF2).
    """

    def __init__(
        self, parameters: Mapping[str, str], password: str, *, tls: bool, binding: bytes | None = None
    ) -> None:
        self.state = State.STARTED
        self.done: LoggedIn | None = None
        self._parameters = dict(parameters)
        self._password = password
        self._tls = tls
        self._binding = binding
        self._scram: ScramClient | None = None
        self._buffer = b""
        self._reported: dict[str, str] = {}
        self._key: tuple[int, bytes] | None = None

    def start(self) -> bytes:
        """The start-up message."""
        return startup_message(self._parameters)

    def feed(self, data: bytes) -> bytes:
        """What to answer to `data`, often nothing.

        Raises LoginRefusedError, LoginUnsupportedError or ProtocolError.
        """
        buffer = self._buffer + data
        answers: list[bytes] = []
        while self.state is not State.READY and len(buffer) >= 5:
            length = _U32.unpack_from(buffer, 1)[0]
            if not 4 <= length <= _MAX_MESSAGE:
                raise ProtocolError("the target sent a message of impossible length during the log-in")
            if len(buffer) < length + 1:
                break
            kind, body = chr(buffer[0]), buffer[5 : length + 1]
            buffer = buffer[length + 1 :]
            answers.append(self._handle(kind, body))
        self._buffer = buffer
        if self.state is State.READY and self.done is None:
            assert self._key is not None
            self.done = LoggedIn(self._reported, *self._key, rest=buffer)
            self._buffer = b""
        return b"".join(answers)

    def _handle(self, kind: str, body: bytes) -> bytes:
        if kind == "R":
            if len(body) < 4:
                raise ProtocolError("the target sent a broken authentication request")
            kind += str(_U32.unpack_from(body)[0])
            body = body[4:]
        handler = _TABLE[self.state].get(kind) or _ALWAYS.get(kind)
        if handler is None:
            if kind in _UNSUPPORTED and self.state is State.STARTED:
                raise LoginUnsupportedError(
                    f"the target asks for {_UNSUPPORTED[kind]}, which is not supported",
                    remedy="use scram-sha-256 in pg_hba.conf",
                )
            raise ProtocolError("the target sent a message out of order during the log-in")
        return handler(self, body)

    # Handlers: body in, answer out.

    def _ignore(self, body: bytes) -> bytes:
        return b""

    def _error(self, body: bytes) -> bytes:
        fields = messages.read_report(body)
        self._forget()
        sqlstate = fields.get("C", "")
        raise LoginRefusedError(sqlstate if _SQLSTATE.match(sqlstate) else "08006", fields.get("M", ""))

    def _cleartext(self, body: bytes) -> bytes:
        if not self._tls:
            raise LoginUnsupportedError(
                "the target asks for the password in clear over a connection without TLS",
                remedy="use scram-sha-256 in pg_hba.conf, or TLS",
            )
        return self._send_password(self._password)

    def _md5(self, body: bytes) -> bytes:
        if len(body) != 4:
            raise ProtocolError("the target sent a broken authentication request")
        # MD5 is what the server asks for, not what proves it: TLS does that.
        inner = hashlib.md5((self._password + self._parameters["user"]).encode(), usedforsecurity=False).hexdigest()
        outer = hashlib.md5(inner.encode() + body, usedforsecurity=False).hexdigest()
        return self._send_password("md5" + outer)

    def _send_password(self, text: str) -> bytes:
        self.state = State.PASSWORD_SENT
        self._password = ""
        return messages.password(text)

    def _sasl(self, body: bytes) -> bytes:
        offered = {part.decode("ascii", "replace") for part in body.split(b"\0") if part}
        mechanisms = [name for name in ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS") if name in offered]
        binding = ("tls-server-end-point", self._binding) if self._binding is not None else None
        try:
            # The server knows the user from the start-up message and ignores the name here.
            self._scram = ScramClient(mechanisms, "*", self._password, channel_binding=binding)
            first = self._scram.get_client_first().encode()
        except ScramException:
            raise LoginUnsupportedError(
                "the target asks for a kind of SASL that is not supported", remedy="use scram-sha-256 in pg_hba.conf"
            ) from None
        self._password = ""
        self.state = State.SASL_STARTED
        name = messages.cstring(self._scram.mechanism_name)
        return messages.message(b"p", name + _U32.pack(len(first)) + first)

    def _sasl_continue(self, body: bytes) -> bytes:
        assert self._scram is not None
        text = _ascii(body)
        rounds = re.search(r",i=(\d{1,9})(?:,|\Z)", text)
        if rounds is None or int(rounds[1]) > _MAX_ITERATIONS:
            raise LoginUnsupportedError("the target asks for an unreasonable number of SCRAM iterations")
        try:
            self._scram.set_server_first(text)
            final = self._scram.get_client_final().encode()
        except ScramException:
            raise ProtocolError("the target's part of the SCRAM exchange is wrong") from None
        self.state = State.SASL_PROVED
        return messages.message(b"p", final)

    def _sasl_final(self, body: bytes) -> bytes:
        assert self._scram is not None
        try:
            self._scram.set_server_final(_ascii(body))
        except ScramException:
            raise ProtocolError("the target could not prove that it knows the password's verifier") from None
        self.state = State.SASL_FINISHED
        return b""

    def _authenticated(self, body: bytes) -> bytes:
        self._forget()
        self.state = State.AUTHENTICATED
        return b""

    def _parameter(self, body: bytes) -> bytes:
        name, value = messages.read_parameter_status(body)
        if len(self._reported) >= _MAX_PARAMETERS:
            raise ProtocolError("the target reports too many parameters")
        self._reported[name] = value
        return b""

    def _backend_key(self, body: bytes) -> bytes:
        if not 8 <= len(body) <= 4 + 256:
            raise ProtocolError("the target sent a broken cancel key")
        self._key = (_U32.unpack_from(body)[0], body[4:])
        return b""

    def _ready(self, body: bytes) -> bytes:
        for name, value in PINNED.items():
            if self._reported.get(name) != value:
                raise LoginUnsupportedError(
                    f"the target does not work with `{name}` = `{value}`, which statements rely on"
                )
        if self._key is None:
            raise LoginUnsupportedError("the target gives no cancel key")
        self.state = State.READY
        return b""

    def _forget(self) -> None:
        self._password = ""
        self._scram = None


_Handler = Callable[[Login, bytes], bytes]
# Authentication requests stand as `R` and their code: 0 is Ok, 10 to 12 are SASL's three steps.
_TABLE: dict[State, dict[str, _Handler]] = {
    State.STARTED: {"R0": Login._authenticated, "R3": Login._cleartext, "R5": Login._md5, "R10": Login._sasl},
    State.PASSWORD_SENT: {"R0": Login._authenticated},
    State.SASL_STARTED: {"R11": Login._sasl_continue},
    State.SASL_PROVED: {"R12": Login._sasl_final},
    State.SASL_FINISHED: {"R0": Login._authenticated},
    State.AUTHENTICATED: {"S": Login._parameter, "K": Login._backend_key, "Z": Login._ready},
    State.READY: {},
}
_ALWAYS: dict[str, _Handler] = {"E": Login._error, "N": Login._ignore}
_UNSUPPORTED = {"R2": "Kerberos", "R7": "GSSAPI", "R9": "SSPI", "v": "another version of the protocol"}


def _ascii(body: bytes) -> str:
    try:
        return body.decode("ascii")
    except UnicodeDecodeError:
        raise ProtocolError("the target's part of the SCRAM exchange is wrong") from None


def _reason(sqlstate: str) -> str:
    """Our own words for a refusal: the server's may name the agent's user or its rules."""
    return {
        "28000": "the target does not let the agent's user in from here",
        "28P01": "the target refused the agent's credential",
        "3D000": "the target has no such database",
        "42501": "the agent's user may not connect to the database",
        "53300": "the target has no connection left",
        "57P03": "the target is starting up or shutting down",
    }.get(sqlstate, f"the target refused the log-in (SQLSTATE {sqlstate})")
