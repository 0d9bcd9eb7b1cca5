"""Signed-in browsers: server-side sessions behind one cookie, short, rotating and revocable.

How this works: the cookie holds 256 random bits; the process keeps the session under their SHA-256, so that neither a
memory dump's index nor a log tells a cookie. It is named `__Host-…` (Secure, whole path, no domain), SameSite=Strict:
no other site can set it, and none can send it. The id is exchanged every ten minutes; the old one serves for a short
while yet, for requests under way. A session ends unused after half an hour, and in any case when Entra's own proof is
an hour old: roles are then read anew. A restart signs everybody out.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from wicketgate_gateway.identity.people import Person

COOKIE = "__Host-wicketgate"
IDLE_SECONDS = 30 * 60.0
LIFE_SECONDS = 60 * 60.0
ROTATE_SECONDS = 10 * 60.0
OVERLAP_SECONDS = 20.0
MAX_SESSIONS = 2000
MAX_EACH = 10


@dataclass(slots=True)
class BrowserSession:
    """One signed-in browser."""

    person: Person
    created: float
    seen: float
    rotated: float
    keys: list[str] = field(default_factory=list[str])
    """Digests of the cookies that stand for it, the newest last."""


class BrowserSessions:
    """All of one process. Times are seconds of `clock`."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._sessions: OrderedDict[str, BrowserSession] = OrderedDict()

    def __len__(self) -> int:
        return len({id(session) for session in self._sessions.values()})

    def begin(self, person: Person) -> str:
        """A new session; gives the cookie's value."""
        now = self._clock()
        self._sweep(now)
        session = BrowserSession(person, now, now, now)
        own = [s for s in self._each() if s.person.principal.object_id == person.principal.object_id]
        for old in sorted(own, key=lambda s: s.seen)[: max(0, len(own) + 1 - MAX_EACH)]:
            self.end(old)
        return self._name(session)

    def find(self, cookie: str) -> tuple[BrowserSession, str] | None:
        """The session of that cookie and, where it is time for another one, the new cookie's value (else empty)."""
        now = self._clock()
        session = self._sessions.get(_digest(cookie)) if cookie else None
        if session is None:
            return None
        newest = session.keys[-1] == _digest(cookie)
        if self._over(session, now) or (not newest and now - session.rotated > OVERLAP_SECONDS):
            # An id that was exchanged long ago comes from elsewhere: neither holder may go on.
            self.end(session)
            return None
        session.seen = now
        if newest and now - session.rotated > ROTATE_SECONDS:
            session.rotated = now
            return session, self._name(session)
        return session, ""

    def stands(self, session: BrowserSession) -> bool:
        """Whether a session found earlier has not ended."""
        return bool(session.keys) and session.keys[-1] in self._sessions and not self._over(session, self._clock())

    def end(self, session: BrowserSession) -> None:
        """Sign out."""
        for key in session.keys:
            self._sessions.pop(key, None)

    def _name(self, session: BrowserSession) -> str:
        cookie = secrets.token_urlsafe(32)
        for old in session.keys[:-1]:
            self._sessions.pop(old, None)
        session.keys = [*session.keys[-1:], _digest(cookie)]
        self._sessions[session.keys[-1]] = session
        return cookie

    def _each(self) -> list[BrowserSession]:
        return list({id(session): session for session in self._sessions.values()}.values())

    def _over(self, session: BrowserSession, now: float) -> bool:
        return now - session.seen > IDLE_SECONDS or now - session.created > LIFE_SECONDS

    def _sweep(self, now: float) -> None:
        for session in self._each():
            if self._over(session, now):
                self.end(session)
        while len(self) >= MAX_SESSIONS:
            self.end(min(self._each(), key=lambda s: s.seen))


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest()
