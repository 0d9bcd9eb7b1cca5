"""Documents and links, across restarts."""

import stat
import time
from pathlib import Path

from wicketgate.testing.entra.store import Store


def test_copies_go_in_and_out() -> None:
    store = Store()
    doc = {"id": "1", "list": [1]}
    store.put("a", doc)
    doc["list"].append(2)
    got = store.get("a", "1")
    assert got == {"id": "1", "list": [1]}
    got["list"].append(3)
    assert store.get("a", "1") == {"id": "1", "list": [1]}
    assert store.get("b", "1") is None


def test_everything_survives_a_restart_in_order(tmp_path: Path) -> None:
    file = tmp_path / "db"
    store = Store(file)
    for number in (3, 1, 2):
        store.put("a", {"id": str(number), "_created": float(-number)})
        store.link("members", "g", str(number))
    store.unlink("members", "g", "1")
    store.close()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = Store(file)
    assert [doc["id"] for doc in again.all("a")] == ["3", "2", "1"]
    assert again.targets("members", "g") == ["3", "2"]
    assert again.sources("members", "2") == ["g"]
    again.close()


def test_old_documents_are_dropped() -> None:
    store = Store()
    store.put("code", {"id": "old", "_created": time.time() - 100})
    store.put("code", {"id": "new", "_created": time.time() - 10})
    store.drop_old("code", 60)
    assert [doc["id"] for doc in store.all("code")] == ["new"]


def test_links_are_unique() -> None:
    store = Store()
    assert store.link("owners", "a", "b")
    assert not store.link("owners", "a", "b")
    assert store.link("members", "a", "b")
    assert store.unlink("owners", "a", "b")
    assert not store.unlink("owners", "a", "b")
    assert store.targets("members", "a") == ["b"]


def test_removing_forgets_links_in_both_directions(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    for key in "abc":
        store.put("k", {"id": key})
    store.link("members", "a", "b")
    store.link("members", "b", "c")
    assert store.remove("k", "b")
    assert not store.remove("k", "b")
    assert store.targets("members", "a") == []
    assert store.sources("members", "c") == []
    store.close()
    again = Store(tmp_path / "db")
    assert again.targets("members", "a") == []
    again.close()
