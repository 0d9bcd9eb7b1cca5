"""Token files as a kubelet keeps them: written whole and 0600, renewed at 80 % of their life."""

import threading
import time

from wicketgate.testing.files import private_folder, write_atomic
from wicketgate.testing.issuer.config import Projected
from wicketgate.testing.issuer.keys import IssuerKey

_RENEW_AT = 0.8


class TokenFiles:
    """Keeps files fresh from a thread until `stop`."""

    def __init__(self, issuer: str, key: IssuerKey) -> None:
        self._issuer = issuer
        self._key = key
        self._due: dict[str, tuple[Projected, float]] = {}
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="token-files", daemon=True)

    def add(self, projected: Projected) -> None:
        """Writes the file now and keeps it fresh. Raises OSError if it cannot be written."""
        due = self.write(projected)
        with self._changed:
            self._due[str(projected.path)] = (projected, due)
            self._changed.notify()

    def start(self) -> None:
        """Starts renewing."""
        self._thread.start()

    def stop(self) -> None:
        """Ends renewing and removes the files, which nobody keeps fresh any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(5)
        for projected, _ in self._due.values():
            projected.path.unlink(missing_ok=True)

    def write(self, projected: Projected) -> float:
        """Writes one file; the moment (monotonic) at which to do so again."""
        private_folder(projected.path.parent)
        started = time.monotonic()
        token = self._key.token(
            self._issuer, projected.subject, projected.audience, projected.lifetime, dict(projected.claims)
        )
        write_atomic(projected.path, token)
        return started + projected.lifetime * _RENEW_AT

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopped:
                    return
                now = time.monotonic()
                due = [projected for projected, moment in self._due.values() if moment <= now]
                if not due:
                    nearest = min((moment for _, moment in self._due.values()), default=None)
                    self._changed.wait(None if nearest is None else nearest - now)
                    continue
            for projected in due:
                try:
                    again = self.write(projected)
                except OSError:
                    again = time.monotonic() + 1.0  # the folder may come back; the old token is still good
                with self._changed:
                    self._due[str(projected.path)] = (projected, again)
