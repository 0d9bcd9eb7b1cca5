"""Closed recordings in an object store: S3, Azure Blob, Google Cloud Storage, or a folder.

How this works: the files of a recording are objects `DAY/SESSION/000001.wgr` …, as in the state folder, made with
"create if absent": what is there is never written over. What is there already must be the same, byte for byte;
another one is an error, not a success. Credentials are the platform's or the environment's (obstore finds them); none
is kept.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording.files import make_folder
from wicketgate_gateway.recording.ids import check_session_id
from wicketgate_gateway.recording.recorder import segment_name, session_folder

WHERE = "store.json"
"""In the folder of recordings: which store they are in, for whoever reads them."""
STORED = "stored"
"""In a recording's folder: it is in the store, checked."""


class StoreError(WicketgateError):
    """The object store could not be used, or holds something else."""

    code = "object-store-failed"


class ObjectStore:
    """The store at `url`, or an obstore `store` (for tests). Raises StoreError."""

    def __init__(self, url: str, store: Any = None) -> None:
        self.url = url
        try:
            if store is None:
                from obstore.store import from_url

                store = from_url(url, mkdir=True) if url.startswith("file:") else from_url(url)
        except Exception as error:
            raise _failure(url, error) from None
        self._store: Any = store

    @staticmethod
    def _name(session: str, number: int) -> str:
        return (session_folder(Path(), session) / segment_name(number)).as_posix()

    def has(self, session: str) -> bool:
        """Whether the recording's first file is there."""
        import obstore

        name = self._name(session, 1)
        try:
            obstore.head(self._store, name)
        except FileNotFoundError:
            return False
        except Exception as error:
            raise _failure(self.url, error) from None
        return True

    def put(self, folder: Path, session: str) -> None:
        """Put the files of a recording there, from its `folder`."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        number = 0
        while (path := folder / segment_name(number + 1)).exists():
            number += 1
            name = self._name(session, number)
            try:
                obstore.put(self._store, name, path, mode="create")
            except AlreadyExistsError:
                if self._get(name) != path.read_bytes():
                    raise StoreError(
                        f"`{self.url}` has another `{name}` than the state folder",
                        code="object-differs",
                        remedy="neither is changed; `wicketgate audit verify` says which one is right",
                    ) from None
            except Exception as error:
                raise _failure(self.url, error) from None

    def _get(self, name: str) -> bytes:
        import obstore

        try:
            return bytes(obstore.get(self._store, name).bytes())
        except FileNotFoundError:
            raise
        except Exception as error:
            raise _failure(self.url, error) from None

    def fetch(self, session: str, into: Path) -> bool:
        """Bring a recording's files to `into`, laid out as in the state folder; False if there is none."""
        folder = session_folder(into, check_session_id(session))
        number = 1
        while True:
            try:
                data = self._get(self._name(session, number))
            except FileNotFoundError:
                return number > 1
            make_folder(folder)
            (folder / segment_name(number)).write_bytes(data)
            number += 1

    def remove(self, session: str) -> None:
        """Delete a recording's files, the last one first: what is cut short still has its beginning."""
        import obstore

        prefix = session_folder(Path(), session).as_posix() + "/"
        try:
            names = sorted((each["path"] for each in obstore.list(self._store, prefix).collect()), reverse=True)
            for name in names:
                obstore.delete(self._store, name)
        except Exception as error:
            raise _failure(self.url, error) from None


def _failure(url: str, error: Exception) -> StoreError:
    # The error's own text can hold a signed URL.
    return StoreError(
        f"the object store `{url}` cannot be used: {type(error).__name__}",
        remedy="check its address, and the credentials of the platform or the environment",
    )


def remember(recordings: Path, url: str) -> None:
    """Note which store the recordings in this folder go to."""
    make_folder(recordings)
    new = recordings / f".{WHERE}.new"
    new.write_text(json.dumps({"url": url}) + "\n")
    new.replace(recordings / WHERE)


def remembered(recordings: Path) -> ObjectStore | None:
    """The store that recordings went to, if any. Raises StoreError."""
    try:
        return ObjectStore(str(json.loads((recordings / WHERE).read_bytes())["url"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _failure(str(recordings / WHERE), error) from None


def workers_recordings(recordings: Path) -> list[Path]:
    """Where the workers of a gateway with several keep theirs (`server.workers`)."""
    return sorted(recordings.parent.glob("workers/*/recordings"))


@contextlib.contextmanager
def at_hand(recordings: Path, session: str) -> Generator[Path]:
    """A folder of recordings that has this session's: the state folder's own, one of its workers', or a temporary copy
    from the store."""
    folders = (recordings, *workers_recordings(recordings))
    for each in folders:
        if (session_folder(each, session) / segment_name(1)).exists():
            yield each
            return
    store = next((found for each in folders if (found := remembered(each)) is not None), None)
    with tempfile.TemporaryDirectory(prefix="wicketgate-") as folder:
        found = store is not None and store.fetch(session, Path(folder))
        yield Path(folder) if found else recordings
