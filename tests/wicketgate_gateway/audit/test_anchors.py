from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from wicketgate_gateway.audit.anchors import (
    POSITION,
    Anchorer,
    AnchorError,
    FilePlace,
    ObjectPlace,
    UrlPlace,
    place_of,
)
from wicketgate_gateway.audit.seals import Head, SealLog, read_line
from wicketgate_gateway.audit.verify import verify
from wicketgate_gateway.contract.keeping import Anchor


def seal(state: Path, offset: int) -> None:
    SealLog(state).append(Head(file=1, offset=offset, digest="00"))


def test_a_file_gets_each_seal_once_in_order(tmp_path: Path) -> None:
    state, anchor = tmp_path / "state", tmp_path / "anchor"
    for offset in range(3):
        seal(state, offset)
    anchorer = Anchorer(state, FilePlace(anchor))
    assert anchorer.deliver() == 3
    assert anchorer.deliver() == 0
    seal(state, 3)
    assert Anchorer(state, FilePlace(anchor)).deliver() == 1
    assert anchor.read_bytes() == (state / "seals.ndjson").read_bytes()
    assert anchor.stat().st_mode & 0o777 == 0o600


def test_another_place_gets_everything(tmp_path: Path) -> None:
    state = tmp_path / "state"
    seal(state, 1)
    Anchorer(state, FilePlace(tmp_path / "a")).deliver()
    assert Anchorer(state, FilePlace(tmp_path / "b")).deliver() == 1
    (state / POSITION).write_text("nonsense")
    assert Anchorer(state, FilePlace(tmp_path / "b")).deliver() == 1  # twice is harmless, never is not


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    seal(tmp_path / "state", 1)
    anchorer = Anchorer(tmp_path / "state", FilePlace(tmp_path / "no" / "anchor"))
    with pytest.raises(AnchorError, match="no such file"):
        anchorer.deliver()
    (tmp_path / "no").mkdir()
    assert anchorer.deliver() == 1


def test_an_object_store_keeps_what_was_there_and_shows_the_rollback(sealed: Any, tmp_path: Path) -> None:
    folder = tmp_path / "bucket"
    folder.mkdir()
    url = folder.as_uri()
    count = Anchorer(sealed.state, ObjectPlace(url)).deliver()
    objects = sorted(path.name for path in folder.iterdir())
    assert len(objects) == count == len(sealed.log.read().signed)
    assert verify(sealed.state, anchors=[folder]).findings == []
    # The same again (an answer that was lost) changes nothing; other seals of the same numbers stand beside.
    assert Anchorer(sealed.state, ObjectPlace(url + "/")).deliver() == count
    assert sorted(path.name for path in folder.iterdir()) == objects
    (sealed.state / "seals.ndjson").unlink()
    (sealed.state / POSITION).unlink()
    sealed.seal()
    (sealed.state / POSITION).unlink()
    Anchorer(sealed.state, ObjectPlace(url)).deliver()
    assert len(list(folder.iterdir())) > count
    assert "rolled-back" in [found.kind for found in verify(sealed.state, anchors=[folder]).findings]


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["content-length"]))
        server.got.append((self.path, dict(self.headers), body))
        self.send_response(server.status)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Any]:
    server: Any = http.server.HTTPServer(("127.0.0.1", 0), _Handler)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.got, server.status = [], 200
    server.url = f"https://localhost:{server.server_address[1]}/seals"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_url_gets_each_seal_with_the_token(tmp_path: Path, collector: Any) -> None:
    state = tmp_path / "state"
    for offset in range(2):
        seal(state, offset)
    (tmp_path / "token").write_text("secret\n")
    setting = Anchor(url=collector.url, ca_file=str(tmp_path / "ca.pem"), token_file=str(tmp_path / "token"))
    anchorer = Anchorer(state, place_of(setting))
    assert anchorer.deliver() == 2
    path, headers, body = collector.got[0]
    assert (path, headers["authorization"]) == ("/seals", "Bearer secret")
    assert read_line(body).seal.number == 1
    assert headers["idempotency-key"] == read_line(body).digest


def test_a_url_that_refuses_is_asked_again_from_there(tmp_path: Path, collector: Any) -> None:
    state = tmp_path / "state"
    seal(state, 1)
    anchorer = Anchorer(state, UrlPlace(collector.url, str(tmp_path / "ca.pem")))
    for status in (301, 400, 503):
        collector.status = status
        with pytest.raises(AnchorError, match=str(status)):
            anchorer.deliver()
    collector.status = 202
    assert anchorer.deliver() == 1
    assert json.loads((state / POSITION).read_text())["delivered"] == 1


def test_a_url_whose_certificate_is_not_trusted_gets_nothing(tmp_path: Path, collector: Any) -> None:
    seal(tmp_path / "state", 1)
    with pytest.raises(AnchorError, match="ConnectError"):
        Anchorer(tmp_path / "state", UrlPlace(collector.url)).deliver()
    assert collector.got == []
