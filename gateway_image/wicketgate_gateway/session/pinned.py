"""The settings that decisions stand on: a session in which one of them changes must end.

How this works: the server reports these settings by ParameterStatus. At log-in they must be as pinned; `search_path`
(reported from PostgreSQL 18 on, and told by the agent before) may be narrowed, since an unqualified name can then only
mean less. The policy denies statements that change them; this is the second line, for what no statement showed.
"""

from __future__ import annotations

from collections.abc import Mapping

from wicketgate_gateway.session.session import SessionOverError
from wicketgate_gateway.wire.postgres.messages import ProtocolError

_ALWAYS = {"standard_conforming_strings": "on", "client_encoding": "UTF8"}
_NARROWED_PATHS = frozenset({"", '""', "pg_catalog"})


class PinnedSettings:
    """Raises ProtocolError if the server's `parameters` at log-in are not as pinned."""

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self._known = dict(parameters)
        self.current = dict(parameters)
        """What the server reported last, by name."""
        # Without one no unqualified name has a meaning, and statements with such names are refused.
        self.search_path = parameters.get("search_path", "")
        for name, needed in _ALWAYS.items():
            if parameters.get(name) != needed:
                raise ProtocolError(f"the target's `{name}` is not `{needed}`", sqlstate="08006")

    def reported(self, name: str, value: str) -> None:
        """The server reports a setting. Raises SessionOverError if it must not be so."""
        before = self._known.get(name)
        self.current[name] = value
        if name in _ALWAYS:
            fine = value == _ALWAYS[name]
        elif name == "search_path":
            fine = value == self.search_path or value in _NARROWED_PATHS
        elif name == "session_authorization":
            fine = value == before
        elif name == "is_superuser":
            fine = value in (before, "off")
        else:
            return
        if not fine:
            raise SessionOverError(
                f"the session's `{name}` changed, and what a statement means hangs on it",
                code="pinned-setting-changed",
                remedy="connect again and leave that setting as it is",
                sqlstate="42501",
            )
