"""Places outside the state folder where seals are kept, so that a rolled-back state folder is found out.

How this works: every seal goes there, in order, and none twice unless an answer was lost; `<state>/anchor.json` says
how far. A file gets lines, as `seals.ndjson` has them. An `https://` URL gets each line by POST (any 2xx is yes). An
object store (`s3://`, `az://`, `gs://`) gets an object for each seal, made with "create if absent": there, one whose
number is taken by another seal is a proof of a rollback, kept beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Protocol

from wicketgate_gateway.audit.seals import SealLog, Signed
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.keeping import Anchor
from wicketgate_gateway.recording.files import FILE_MODE

POSITION = "anchor.json"
_SECONDS = 10.0


class AnchorError(WicketgateError):
    """A seal could not be anchored; it is tried again."""

    code = "anchor-failed"


class Place(Protocol):
    """Where seals are anchored."""

    name: str

    def put(self, signed: Signed) -> None:
        """Keep one seal. Raises AnchorError."""
        ...


class FilePlace:
    """Lines in a file, which best stands on another machine's disk, or can only be appended to."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    def put(self, signed: Signed) -> None:
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            fd = os.open(self._path, flags, FILE_MODE)
            try:
                data = signed.line + b"\n"
                if os.write(fd, data) != len(data):
                    raise OSError(28, "not all of it was written")
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise AnchorError(f"`{self.name}`: {(error.strerror or str(error)).lower()}") from None


class UrlPlace:
    """Whatever accepts a POST of one line of JSON."""

    def __init__(self, url: str, ca_file: str | None = None, token_file: str | None = None) -> None:
        import ssl

        import httpx2

        self.name = url
        self._token_file = token_file
        self._client = httpx2.Client(
            timeout=_SECONDS, follow_redirects=False, verify=ssl.create_default_context(cafile=ca_file)
        )

    def put(self, signed: Signed) -> None:
        import httpx2

        headers = {"content-type": "application/json", "idempotency-key": signed.digest}
        try:
            if self._token_file:
                headers["authorization"] = "Bearer " + Path(self._token_file).read_text().strip()
            answer = self._client.post(self.name, content=signed.line, headers=headers)
        except (httpx2.HTTPError, OSError) as error:
            raise AnchorError(f"`{self.name}`: {type(error).__name__}") from None
        if not answer.is_success:
            raise AnchorError(f"`{self.name}` answered {answer.status_code}")


class ObjectPlace:
    """An object for each seal, in a store that `obstore` reaches."""

    def __init__(self, url: str) -> None:
        from obstore.store import from_url

        self.name = url
        self._store = from_url(url)

    def put(self, signed: Signed) -> None:
        import obstore
        from obstore.exceptions import AlreadyExistsError

        name = f"seal-{signed.seal.number:010d}"
        try:
            try:
                obstore.put(self._store, f"{name}.json", signed.line, mode="create")
            except AlreadyExistsError:
                there = bytes(obstore.get(self._store, f"{name}.json").bytes())
                if there != signed.line:
                    with contextlib.suppress(AlreadyExistsError):
                        obstore.put(self._store, f"{name}-{signed.digest[:16]}.json", signed.line, mode="create")
        except Exception as error:
            raise AnchorError(f"`{self.name}`: {type(error).__name__}") from None


def place_of(anchor: Anchor) -> Place:
    """The place that a setting names."""
    if anchor.file is not None:
        return FilePlace(Path(anchor.file))
    assert anchor.url is not None
    if anchor.url.startswith("https://"):
        return UrlPlace(anchor.url, anchor.ca_file, anchor.token_file)
    return ObjectPlace(anchor.url)


class Anchorer:
    """Brings the seals of a state folder to a place, each after the one before."""

    def __init__(self, state: Path, place: Place) -> None:
        self.place = place
        self._path = state / POSITION
        self._log = SealLog(state)
        self._delivered = self._read()
        self._offset = 0

    def _read(self) -> int:
        try:
            found = json.loads(self._path.read_bytes())
            return int(found["delivered"]) if found["place"] == self.place.name else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def deliver(self) -> int:
        """Anchor what is not anchored yet; gives how many seals that were. Raises AnchorError."""
        count = 0
        for signed, offset in self._log.lines(self._delivered, offset=self._offset):
            self.place.put(signed)
            self._delivered, self._offset = signed.seal.number, offset
            count += 1
            new = self._path.with_suffix(".new")
            with contextlib.suppress(OSError):
                new.write_text(json.dumps({"place": self.place.name, "delivered": self._delivered}))
                new.replace(self._path)
        return count
