"""Addresses in an HTTP target's answers, as the gateway can use them: the target's own become plain paths.

How this works: `Location`, `Content-Location` and `Link` may name the target by its own address, which bots do not
reach and should not know. An address of the target at or below its base becomes the path behind the base, as bots ask
for it; the gateway puts its own prefix before it. All other addresses stay as they are: the gateway follows none.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

ADDRESSES = frozenset({"location", "content-location", "link"})
"""Headers with addresses, in lower case (`Refresh` does not pass at all)."""
_LINKED = re.compile(r"<([^<>]*)>")


def told(name: str, value: str, *, tls: bool, host: str, port: int, base: str) -> str:
    """The value of one of `ADDRESSES` as it is passed on; `base` is the target's path without a last `/`."""
    if name == "link":
        return _LINKED.sub(lambda found: f"<{_own(found[1], tls=tls, host=host, port=port, base=base)}>", value)
    return _own(value, tls=tls, host=host, port=port, base=base)


def _own(address: str, *, tls: bool, host: str, port: int, base: str) -> str:
    try:
        parts = urlsplit(address)
        named = parts.hostname, parts.port
    except ValueError:
        return address
    path = address
    if parts.netloc:
        scheme = parts.scheme or ("https" if tls else "http")
        default = {"https": 443, "http": 80}.get(scheme)
        if named[0] != host.lower() or (named[1] or default) != port or default is None:
            return address
        path = address.partition("//")[2][len(parts.netloc) :] or "/"
        if not path.startswith("/"):
            path = f"/{path}"
    if not path.startswith("/") or path.startswith("//"):
        return address
    if not base:
        return path
    if path.startswith(base) and path[len(base) : len(base) + 1] in ("", "/", "?", "#"):
        rest = path[len(base) :]
        return rest if rest.startswith("/") else f"/{rest}"
    # Beside the base no bot can ask for it: as a path it would be taken for another one below the base.
    return address if parts.netloc else f"{'https' if tls else 'http'}://{host}:{port}{path}"
