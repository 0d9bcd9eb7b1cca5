"""The cache: keyed by what went in, filled once, never with half a result."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.engine import cache
from tools.engine.cache import ProvideError

Said = tuple[list[str], Callable[[str], None]]


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.root() == tmp_path / "wicketgate" / "engine"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.root() == Path("/home/me/.cache/wicketgate/engine")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "")
    assert str(os.getuid()) in str(cache.root())


def test_the_key_depends_on_everything() -> None:
    base = cache.key({"go.mod": b"a", "go.sum": b"b"}, ["-trimpath"])
    others = [
        cache.key({"go.mod": b"A", "go.sum": b"b"}, ["-trimpath"]),
        cache.key({"go.mod": b"a", "go.sum": b"B"}, ["-trimpath"]),
        cache.key({"go.mod": b"a"}, ["-trimpath"]),
        cache.key({"go.mod": b"a", "go.sum": b"b"}, ["-trimpath", "-x"]),
        cache.key({"go.mod": b"a", "go.sum": b"b"}, ["-trim", "path"]),
    ]
    assert len({base, *others}) == 6
    assert base == cache.key({"go.sum": b"b", "go.mod": b"a"}, ["-trimpath"])


def test_made_once(cache_home: Path, said: Said) -> None:
    calls: list[Path] = []

    def make(folder: Path) -> None:
        calls.append(folder)
        (folder / "thing").write_text("made")

    first = cache.made("thing", "1", make, said[1], "a thing")
    assert cache.made("thing", "1", make, said[1], "a thing") == first == cache_home / "thing-1"
    assert (first / "thing").read_text() == "made"
    assert len(calls) == 1
    assert calls[0] != first
    assert cache.made("thing", "2", make, said[1], "a thing") != first
    assert len(calls) == 2


def test_a_failure_leaves_nothing_and_is_tried_again(cache_home: Path, said: Said) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise ProvideError("no")

    with pytest.raises(ProvideError):
        cache.made("thing", "1", fail, said[1], "a thing")
    assert [entry.name for entry in cache_home.iterdir()] == ["thing-1.lock"]
    assert cache.made("thing", "1", lambda folder: (folder / "whole").touch(), said[1], "a thing").is_dir()


def test_what_a_killed_attempt_left_is_cleared(cache_home: Path, said: Said) -> None:
    left = cache_home / ".thing-1.abc"
    left.mkdir(parents=True)
    (left / "half").touch()
    cache.made("thing", "1", lambda folder: None, said[1], "a thing")
    assert not left.exists()


def _slow(base: Path, log: Path) -> None:
    os.environ["XDG_CACHE_HOME"] = str(base)

    def make(folder: Path) -> None:
        with open(log, "a") as file:
            file.write("made\n")
        (folder / "thing").touch()

    cache.made("thing", "1", make, lambda line: None, "a thing")


def test_many_processes_make_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_slow, args=(tmp_path / "cache", tmp_path / "log")) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    assert (tmp_path / "log").read_text() == "made\n"


def test_who_waits_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    lock = tmp_path / "lock"
    with cache.locked(lock, lambda: told.append("first")):
        context = multiprocessing.get_context("spawn")
        queue = context.Queue()
        other = context.Process(target=_wait, args=(lock, queue))
        other.start()
        assert queue.get(timeout=30) == "waiting"
    assert queue.get(timeout=30) == "held"
    other.join(30)
    assert told == []


def _wait(lock: Path, queue: "multiprocessing.Queue[str]") -> None:
    with cache.locked(lock, lambda: queue.put("waiting")):
        queue.put("held")
