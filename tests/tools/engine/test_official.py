"""The official CLI: recognised where it is installed, downloaded only with the published digest."""

import hashlib
import io
import os
import socket
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tools.engine import official, pins
from tools.engine.cache import ProvideError

Said = tuple[list[str], Callable[[str], None]]
Script = Callable[[Path, str], Path]
LIST = f"/releases/sdk/pulumi-{pins.PULUMI}-checksums.txt"


class _Site:
    """A site with some files."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = site.files.get(self.path)
                self.send_response(404 if content is None else 200)
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_arguments: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def site() -> Iterator[_Site]:
    made = _Site()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def _archive(names: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in names.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _publish(site: _Site, archive: bytes) -> str:
    digest = hashlib.sha256(archive).hexdigest()
    site.files[f"/releases/sdk/{official.archive_name()}"] = archive
    site.files[LIST] = f"{'0' * 64}  pulumi-v1-other.tar.gz\n{digest}  {official.archive_name()}\n".encode()
    return digest


@pytest.mark.usefixtures("cache_home")
def test_a_download(site: _Site, said: Said) -> None:
    digest = _publish(
        site, _archive({"pulumi/pulumi": b"#!/bin/sh\n", "pulumi/pulumi-language-python": b"#!/bin/sh\n"})
    )
    assert official.published_digest(site.url) == digest
    command = official.download(digest, said[1], site.url)
    assert os.access(command, os.X_OK)
    assert sorted(os.listdir(command.parent.parent)) == ["pulumi"]
    site.files.clear()
    assert official.download(digest, said[1], site.url) == command, "it is in the cache"


def test_a_changed_archive_is_not_used(site: _Site, said: Said, cache_home: Path) -> None:
    digest = _publish(site, _archive({"pulumi/pulumi": b"good"}))
    site.files[f"/releases/sdk/{official.archive_name()}"] = _archive({"pulumi/pulumi": b"evil"})
    with pytest.raises(ProvideError, match="not the published"):
        official.download(digest, said[1], site.url)
    assert [entry.suffix for entry in cache_home.iterdir()] == [".lock"]


@pytest.mark.usefixtures("cache_home")
def test_an_archive_that_writes_elsewhere_is_refused(site: _Site, said: Said, tmp_path: Path) -> None:
    digest = _publish(site, _archive({"../../../escaped": b"x", "pulumi/pulumi": b"x"}))
    with pytest.raises(ProvideError, match="could not be unpacked"):
        official.download(digest, said[1], site.url)
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.usefixtures("cache_home")
@pytest.mark.parametrize("archive", [b"not an archive", _archive({"other/thing": b"x"})])
def test_a_wrong_archive_is_refused(site: _Site, said: Said, archive: bytes) -> None:
    digest = _publish(site, archive)
    with pytest.raises(ProvideError):
        official.download(digest, said[1], site.url)


@pytest.mark.parametrize("text", [b"", b"<html>blocked by the proxy</html>", b"abc  pulumi-v1.tar.gz\n"])
def test_a_list_without_the_archive_counts_as_closed(site: _Site, text: bytes) -> None:
    site.files[LIST] = text
    with pytest.raises(ProvideError, match="lists no SHA-256"):
        official.published_digest(site.url)


def test_no_list_counts_as_closed(site: _Site) -> None:
    with pytest.raises(ProvideError, match="not reachable"):
        official.published_digest(site.url)
    with pytest.raises(ProvideError, match="not reachable"):
        official.published_digest("http://127.0.0.1:1")


def test_a_site_that_does_not_answer_is_closed_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(ProvideError, match="not reachable"):
            official.published_digest(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.3)
        assert time.monotonic() - began < 5


def test_a_name_that_is_looked_up_for_ever_is_closed_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threading.Event()

    def hang(*_arguments: object, **_keywords: object) -> None:
        looked.wait(30)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        with pytest.raises(ProvideError, match="no answer within"):
            official.published_digest("https://nowhere.invalid", timeout=0.2)
    finally:
        looked.set()


def _path(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join([*map(str, folders), "/usr/bin", "/bin"]))


@pytest.mark.parametrize("version", ["v3.274.1", "v3.272.0", "v3.300.0-dev"])
def test_an_installed_cli(tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    command = script(tmp_path / "bin/pulumi", f"echo {version}")
    script(tmp_path / "bin/pulumi-language-python", "")
    _path(monkeypatch, tmp_path / "bin")
    found, reason = official.on_path()
    assert found is not None
    assert found.command == command
    assert "is installed" in reason


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("echo v3.271.9", "not 3.272.0"),
        ("echo v4.0.0", "not 3.272.0"),
        ("echo hello", "no version"),
        ("echo v3.274.1; exit 1", "no version"),
    ],
)
def test_a_cli_that_does_not_fit(
    tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch, answer: str, words: str
) -> None:
    script(tmp_path / "bin/pulumi", answer)
    script(tmp_path / "bin/pulumi-language-python", "")
    _path(monkeypatch, tmp_path / "bin")
    found, reason = official.on_path()
    assert found is None
    assert words in reason


def test_a_cli_without_its_language_host(tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path / "bin/pulumi", "echo v3.274.1")
    _path(monkeypatch, tmp_path / "bin")
    assert "has no `pulumi-language-python`" in official.on_path()[1]


def test_our_own_layout_is_no_installation(tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ours", "theirs"):
        script(tmp_path / name / "pulumi", "echo v3.274.1")
        script(tmp_path / name / "pulumi-language-python", "")
    (tmp_path / "ours" / official.OURS).touch()
    _path(monkeypatch, tmp_path / "ours")
    assert official.on_path() == (None, "no `pulumi` on PATH")
    _path(monkeypatch, tmp_path / "ours", tmp_path / "theirs")
    found, _reason = official.on_path()
    assert found is not None
    assert found.command == tmp_path / "theirs" / "pulumi"


def test_an_installed_plugin(tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path))
    assert official.installed_plugin("x", "1") is None
    plugin = script(tmp_path / "plugins/resource-x-v1/pulumi-resource-x", "")
    assert official.installed_plugin("x", "1") == plugin.parent
    assert official.installed_plugin("x", "2") is None
    partial = plugin.parent.with_name("resource-x-v1.partial")
    partial.touch()
    assert official.installed_plugin("x", "1") is None, "its download was not finished"
    partial.unlink()
    (plugin.parent / official.OURS).touch()
    assert official.installed_plugin("x", "1") is None, "it is a stand-in"


def test_a_plugin_is_downloaded_by_the_cli(tmp_path: Path, script: Script, said: Said) -> None:
    cli = script(tmp_path / "pulumi", f'echo "$PULUMI_HOME $@" > {tmp_path}/call')
    assert official.install_plugin(cli, tmp_path / "home", "x", "1.2.3", said[1])
    assert (tmp_path / "call").read_text() == f"{tmp_path}/home plugin install resource x 1.2.3\n"
    script(cli, "echo no such host >&2; exit 255")
    assert not official.install_plugin(cli, tmp_path / "home", "x", "1.2.3", said[1])
    assert "no such host" in said[0][-1]


@pytest.mark.parametrize(("system", "machine"), [("Linux", "riscv64"), ("Plan9", "x86_64")])
def test_no_archive_for_this_machine(monkeypatch: pytest.MonkeyPatch, system: str, machine: str) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    with pytest.raises(ProvideError, match="no archive"):
        official.archive_name()
