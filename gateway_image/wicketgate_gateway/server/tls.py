"""TLS as the gateway serves it, to clients, agents and people."""

from __future__ import annotations

import ssl

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import ServerTls


def server_context(files: ServerTls) -> ssl.SSLContext:
    """TLS 1.2 or newer with the gateway's certificate. Raises WicketgateError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
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
