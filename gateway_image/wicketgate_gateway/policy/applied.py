"""A bundle that a person put in force from the pages: written whole beside its account, so that the audit names them.

How this works: the account (who, why, which digest after which) is written into the state folder first, then the bundle
takes its file's place. Gateways that read the bundle anew find the account of that very file there (its inode and time)
and put it on the event `policy-loaded`. A bundle that came by other ways has none, should it say the same.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.model import Model
from wicketgate_gateway.contract.policy import Bundle

FILE = "policy-applied.json"


class Account(Model):
    """Who put a bundle in force."""

    digest: str
    before: str
    """Digest of the bundle that it took the place of."""
    policy: str
    """The policy that was changed."""
    by: str
    by_id: str
    reason: str
    file: str = ""
    """Which file it is; `apply` fills it in."""


def apply(bundle: Bundle, file: Path, state: Path, account: Account) -> None:
    """Put a bundle in force. Raises WicketgateError if its file cannot be written: then the one before stays."""
    try:
        with _written(file, bundle.render(), file.stat().st_mode & 0o777) as made:
            told = account.model_copy(update={"file": _identity(made)}).model_dump_json()
            with _written(state / FILE, told, 0o600):
                pass
    except OSError as error:
        raise WicketgateError(
            f"the policy bundle cannot be written: {error.strerror}",
            code="policy-not-writable",
            remedy="save it as a patch and commit it; what deployed this gateway owns the file",
        ) from None


def account_of(digest: str, file: Path, state: Path) -> Account | None:
    """Who put the bundle of this digest in force that is in `file`, if a person did."""
    try:
        account = Account.model_validate_json((state / FILE).read_bytes())
        return account if (account.digest, account.file) == (digest, _identity(file)) else None
    except (OSError, ValueError):
        return None


def _identity(path: Path) -> str:
    status = path.stat()
    return f"{status.st_ino}:{status.st_mtime_ns}"


@contextmanager
def _written(path: Path, text: str, mode: int) -> Generator[Path]:
    """A new file that stands whole on the disk, and takes the place of `path` at the end unless something is raised."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        yield Path(name)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
