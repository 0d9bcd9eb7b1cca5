"""What a session's statements did to its settings: an approval holds only where they are the same.

How this works: what the server reports (`search_path`, `DateStyle`, `TimeZone`, …) is bound by its value. Other
settings (a tenant's number that row security reads, say) are not reported, so the texts that changed them are bound
instead, in order, with their parameters. A change whose value only the server knows makes the session unclear:
nothing can be held in it. Whether such a statement failed later does not matter: the same
operation is asked for once more then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from wicketgate_gateway.policy.plumbing import SAFE_SETTINGS
from wicketgate_gateway.session.statement import Statement
from wicketgate_gateway.wire.postgres.sql.facts import analyze
from wicketgate_gateway.wire.postgres.sql.model import Facts, StatementClass, StatementKind

REASON = "wicketgate.reason"
MAX_NOTED = 8 * 1024
_BOUND = (
    "search_path",
    "session_authorization",
    "is_superuser",
    "standard_conforming_strings",
    "client_encoding",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
)
_PLAIN = frozenset({"set_config", "current_setting"})
_COMMENT = re.compile(r"\s*/\*\s*reason\s*:\s*(.*?)\s*\*/", re.IGNORECASE | re.DOTALL)


class SessionSettings:
    """Kept up by `note`, for each statement that may change a setting. `look_up` says what a prepared name means."""

    def __init__(self, look_up: Callable[[str], list[Facts]]) -> None:
        self.reason = ""
        """What `SET wicketgate.reason` said last."""
        self.unclear = ""
        """Why it cannot be told what the settings are; empty if it can."""
        self._look_up = look_up
        self._noted: list[str] = []
        self._size = 0

    def note(self, statement: Statement, parameters: Sequence[bytes | None]) -> None:
        """The statement is on its way to the server."""
        changed = False
        # Anew: a decision's facts may be those of another text that differs in its literals.
        for facts in analyze(statement.text).statements:
            named = self._look_up(facts.prepared_name or "") if facts.kind is StatementKind.EXECUTE else []
            for part in (facts, *named):
                changed = self._note(part) or changed
        if changed:
            self._add(statement.shown, parameters)

    def facts(self, current: Mapping[str, str]) -> dict[str, str]:
        """What an operation's meaning hangs on beside its text; `current` are the settings that the server reports."""
        found = {name: current[name] for name in _BOUND if name in current}
        if self._noted:
            found["changed by"] = ";\n".join(self._noted)
        return found

    def reason_for(self, text: str) -> str:
        """Why the bot wants `text` run: its leading comment `/* reason: … */`, else the setting."""
        found = _COMMENT.match(text)
        if found is not None and "/*" not in found[1] and found[1]:
            return " ".join(found[1].split())
        return self.reason

    def _note(self, facts: Facts) -> bool:
        changed = StatementClass.ROLE in facts.classes
        for setting in facts.settings:
            name = setting.name
            if name in (REASON, "all"):
                self.reason = (setting.value or "") if name == REASON else ""
            if name == "all":
                changed = changed or bool(self._noted)
            elif name is None or SAFE_SETTINGS.fullmatch(name) is None:
                changed = True
                computed = facts.reads or {f.name for f in facts.functions} - _PLAIN
                if not setting.constant and computed:
                    self.unclear = f"the server computed the value of the setting `{name or '?'}`"
        return changed

    def _add(self, text: str, parameters: Sequence[bytes | None]) -> None:
        entry = f"{text} {list(parameters)!r}" if parameters else text
        if self._noted and self._noted[-1] == entry:
            return
        self._size += len(entry)
        if self._size > MAX_NOTED:
            self.unclear = "too many settings were changed in it"
            return
        self._noted.append(entry)
