"""The emulator's state: documents and links in SQLite, with a working copy in memory.

A document is a Graph object as JSON. Keys that start with `_` are the emulator's own and never leave it. A link is
(name, source id, target id), such as ("members", group, user). Everything is written through before a call returns,
so a restart finds what clients were told. One process owns the file.
"""

import copy
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Doc = dict[str, Any]

_TABLES = """
CREATE TABLE IF NOT EXISTS objects (
  kind TEXT NOT NULL, id TEXT NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS links (
  position INTEGER PRIMARY KEY, name TEXT NOT NULL, source TEXT NOT NULL, target TEXT NOT NULL,
  UNIQUE (name, source, target)
);
"""


class Store:
    """Documents by kind and id, and links between them. Safe to use from several threads."""

    def __init__(self, path: Path | None = None) -> None:
        """Opens `path` (created 0600), or memory. Raises sqlite3.Error if the file is no such database."""
        if path is not None:
            path.touch(mode=0o600, exist_ok=True)
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_TABLES)
        self._docs: dict[str, dict[str, Doc]] = {}
        self._links: dict[str, dict[str, dict[str, None]]] = {}
        self._back: dict[str, dict[str, dict[str, None]]] = {}
        for kind, key, text in self._db.execute("SELECT kind, id, doc FROM objects"):
            self._docs.setdefault(kind, {})[key] = json.loads(text)
        for docs in self._docs.values():
            ordered = sorted(docs.values(), key=lambda doc: doc.get("_created", 0.0))
            docs.clear()
            docs.update({doc["id"]: doc for doc in ordered})
        for name, source, target in self._db.execute("SELECT name, source, target FROM links ORDER BY position"):
            self._remember(name, source, target)

    def close(self) -> None:
        """Closes the database; the store is of no use afterwards."""
        with self._lock:
            self._db.close()

    def put(self, kind: str, doc: Doc) -> Doc:
        """Stores a copy of `doc` under its `id`, replacing what was there, and returns `doc`."""
        with self._lock:
            kept = copy.deepcopy(doc)
            self._db.execute(
                "INSERT INTO objects VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET doc = excluded.doc",
                (kind, kept["id"], json.dumps(kept)),
            )
            self._docs.setdefault(kind, {})[kept["id"]] = kept
            return doc

    def get(self, kind: str, key: str) -> Doc | None:
        """A copy of the document, or None."""
        with self._lock:
            doc = self._docs.get(kind, {}).get(key)
            return None if doc is None else copy.deepcopy(doc)

    def all(self, kind: str) -> Iterator[Doc]:
        """All documents of a kind, oldest first: the store's own, to read and not to change."""
        with self._lock:
            docs = list(self._docs.get(kind, {}).values())
        yield from docs

    def remove(self, kind: str, key: str) -> bool:
        """Forgets the document and every link from or to it; False if there was none."""
        with self._lock:
            if self._docs.get(kind, {}).pop(key, None) is None:
                return False
            self._db.execute("DELETE FROM objects WHERE kind = ? AND id = ?", (kind, key))
            self._db.execute("DELETE FROM links WHERE source = ?1 OR target = ?1", (key,))
            for name in list(self._links):
                for target in list(self._links[name].get(key, ())):
                    self._forget(name, key, target)
                for source in list(self._back.get(name, {}).get(key, ())):
                    self._forget(name, source, key)
            return True

    def drop_old(self, kind: str, seconds: float) -> None:
        """Forgets documents of a kind that are older: what anyone may create must not pile up."""
        for doc in list(self.all(kind)):
            if time.time() - doc.get("_created", 0.0) > seconds:
                self.remove(kind, doc["id"])

    def link(self, name: str, source: str, target: str) -> bool:
        """Adds a link; False if it was there."""
        with self._lock:
            if target in self._links.get(name, {}).get(source, ()):
                return False
            self._db.execute("INSERT INTO links (name, source, target) VALUES (?, ?, ?)", (name, source, target))
            self._remember(name, source, target)
            return True

    def unlink(self, name: str, source: str, target: str) -> bool:
        """Removes a link; False if there was none."""
        with self._lock:
            if target not in self._links.get(name, {}).get(source, ()):
                return False
            self._db.execute("DELETE FROM links WHERE name = ? AND source = ? AND target = ?", (name, source, target))
            self._forget(name, source, target)
            return True

    def targets(self, name: str, source: str) -> list[str]:
        """Ids that `source` links to, in the order they were added."""
        with self._lock:
            return list(self._links.get(name, {}).get(source, ()))

    def sources(self, name: str, target: str) -> list[str]:
        """Ids that link to `target`, in the order they were added."""
        with self._lock:
            return list(self._back.get(name, {}).get(target, ()))

    def _remember(self, name: str, source: str, target: str) -> None:
        self._links.setdefault(name, {}).setdefault(source, {})[target] = None
        self._back.setdefault(name, {}).setdefault(target, {})[source] = None

    def _forget(self, name: str, source: str, target: str) -> None:
        self._links[name][source].pop(target, None)
        self._back[name][target].pop(source, None)
