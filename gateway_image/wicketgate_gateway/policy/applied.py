"""A bundle that a person put in force from the pages: written whole beside its account, so that the audit names them.

How this works: the account (who, why, which digest after which) is written into the state folder first, then the bundle
takes its file's place. Gateways that read the bundle anew find the account of its digest there and put it on the event
`policy-loaded`; a bundle from anywhere else has none.
"""

from __future__ import annotations

import os
import tempfile
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


def apply(bundle: Bundle, file: Path, state: Path, account: Account) -> None:
    """Put a bundle in force. Raises WicketgateError if its file cannot be written: then nothing changed."""
    try:
        _write(state / FILE, account.model_dump_json(), 0o600)
        _write(file, bundle.render(), file.stat().st_mode & 0o777)
    except OSError as error:
        raise WicketgateError(
            f"the policy bundle cannot be written: {error.strerror}",
            code="policy-not-writable",
            remedy="save it as a patch and commit it; what deployed this gateway owns the file",
        ) from None


def account_of(digest: str, state: Path) -> Account | None:
    """Who put the bundle of this digest in force, if a person did."""
    try:
        account = Account.model_validate_json((state / FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return account if account.digest == digest else None


def _write(path: Path, text: str, mode: int) -> None:
    # The new file stands whole on the disk before it takes the old one's place.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
