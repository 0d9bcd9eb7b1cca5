"""`wicketgate connect` before an HTTP service: stock curl and Python's own client, with nothing of a token in them."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def local(web: Any) -> Iterator[dict[str, Any]]:
    """The local address of the service."""
    where = {"host": "localhost", "caFile": str(web.ca_file)}
    path = web.folder / "connect-client.yaml"
    document = {
        "bot": "code-review",
        "entra": web._entra(),
        "audience": web.cloud.audience,
        "workload": {"clientId": web.cloud.client("bot"), "tokenFile": web.cloud.token_file("bot")},
        "gateway": {**where, "port": web.ports["postgres"]},
        "http": {**where, "port": web.ports["http"]},
        "targets": {"orders-api": "http", "web-1": "ssh"},
    }
    path.write_text(json.dumps(document))
    command = [sys.executable, "-m", "wicketgate_gateway.cli", "connect", "orders-api", "--json", "--config", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_curl(web: Any, local: dict[str, Any]) -> None:
    """The service's own paths; a redirect leads back here."""
    assert local["url"] == f"http://127.0.0.1:{local['port']}"
    done = web.curl("-L", local["url"] + "/redirect?to=/orders/7", token="")
    assert json.loads(done.stdout)["name"] == "Ann"
    assert (
        web.curl("-o", "/dev/null", "-w", "%{http_code}", local["url"] + "/orders/secret/1", token="").stdout == b"403"
    )
    body = "x" * 100_000
    assert web.curl("--data-binary", body, local["url"] + "/upload", token="").stdout == b'{"got": 100000}'
    assert len(web.curl(local["url"] + "/bytes/3000000", token="").stdout) == 3_000_000
    assert b"wicketgate" not in web.upstream.seen[-1].lower()


def test_one_connection_is_one_session(web: Any, local: dict[str, Any]) -> None:
    """Requests one after the other, also one that is denied between them."""
    known = len(web.operations())
    connection = http.client.HTTPConnection("127.0.0.1", local["port"], timeout=60)
    for path, status in (("/orders/1", 200), ("/nowhere", 403), ("/chunked/50", 200)):
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == status
        answer.read()
    connection.close()
    web.wait(lambda: len(web.operations()) >= known + 3, 30)
    assert len({operation.session for operation in web.operations()[known:]}) == 1


def test_other_kinds_say_what_to_do_instead(web: Any, local: dict[str, Any]) -> None:
    """ssh gets its tokens by itself."""
    path = str(web.folder / "connect-client.yaml")
    done = subprocess.run(
        [sys.executable, "-m", "wicketgate_gateway.cli", "connect", "web-1", "--config", path],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "wicketgate ssh-config" in done.stderr
