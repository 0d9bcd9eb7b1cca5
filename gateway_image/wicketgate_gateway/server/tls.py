"""TLS as the gateway serves it, to clients, agents and people.

How this works: certificates are renewed while the gateway runs (cert-manager, an ACME client), so a handshake looks
whether the files have changed, at most each `LOOK_SECONDS`, and takes a new context as a whole: never a certificate
with the key of another. Files that cannot be used leave the ones before in force. Sessions are not touched.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterable

import structlog

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import ServerTls

LOOK_SECONDS = 5.0
log = structlog.get_logger("wicketgate.tls")


def server_context(files: ServerTls) -> ssl.SSLContext:
    """TLS 1.2 or newer with the gateway's certificate, also when that is renewed. Raises WicketgateError."""
    context = _context(files)
    # OpenSSL asks this at each handshake, whether the client named a server or not.
    context.sni_callback = _Renewal(files, context).choose
    return context


class _Context(ssl.SSLContext):
    """Remembers its protocols: those of the context in force count, so a new one needs them too."""

    alpn: tuple[str, ...] = ()

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        """As `ssl.SSLContext.set_alpn_protocols`."""
        self.alpn = tuple(alpn_protocols)
        super().set_alpn_protocols(self.alpn)


def _context(files: ServerTls) -> _Context:
    context = _Context(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Renegotiation and compression are attacks' tools only; tickets cost memory and save nothing on long sessions.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET
    context.num_tickets = 0
    try:
        context.load_cert_chain(files.certificate_file, files.key_file)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or "not a certificate and its key"
        raise WicketgateError(
            f"the certificate `{files.certificate_file}` with `{files.key_file}` cannot be used: {reason}",
            code="certificate-unusable",
            remedy="give PEM files of a certificate (with its chain) and its key",
        ) from None
    return context


class _Renewal:
    """The context in force, and what the files were when it was made."""

    def __init__(self, files: ServerTls, context: _Context) -> None:
        self._files = files
        self._first = self._current = context
        self._seen = _state(files)
        self._looked = time.monotonic()

    def choose(self, handshake: ssl.SSLObject | ssl.SSLSocket, _name: str | None, given: ssl.SSLContext) -> None:
        """Give a handshake the certificate of now."""
        self._look()
        if self._current is not given:
            handshake.context = self._current

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        state = _state(self._files)
        if state == self._seen:
            return
        self._seen = state
        try:
            made = _context(self._files)
        except WicketgateError as error:
            log.error("a new certificate is refused: the one before stays in force", reason=str(error))
            return
        if self._first.alpn:
            made.set_alpn_protocols(self._first.alpn)
        self._current = made
        log.info("a new certificate is in force", file=self._files.certificate_file)


def _state(files: ServerTls) -> tuple[object, ...]:
    """What differs when the files were replaced or written; nothing of what is in them."""
    found: list[object] = []
    for path in (files.certificate_file, files.key_file):
        try:
            status = os.stat(path)
        except OSError:
            found.append(None)
        else:
            found.append((status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(found)
