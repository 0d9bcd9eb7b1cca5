"""A session with an API server: decided, recorded, sent on and answered; the API server is played."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.contract.policy import Policy
from wicketgate_gateway.contract.targets import TargetKind
from wicketgate_gateway.policy.load import PolicySet
from wicketgate_gateway.policy.trial import bundle_of, policy_for, stand_in
from wicketgate_gateway.session.kubernetes import KubernetesSession
from wicketgate_gateway.session.kubernetes_discovery import Discovery
from wicketgate_gateway.session.session import SessionOverError
from wicketgate_gateway.tunnel.messages import HttpRequest
from wicketgate_gateway.wire.http.head import parse_request

POLICY = {
    "policy": "p",
    "targets": ["prod"],
    "rules": [
        {"allow": {"kubernetes": {"verbs": "read", "resources": ["pods", "secrets"], "namespaces": "a"}}},
        {"allow": {"kubernetes": {"verbs": ["create", "patch"], "resources": "pods", "namespaces": "a"}}},
        {"deny": {"kubernetes": {"pod": "host-namespaces"}}},
        {
            "allow": {
                "kubernetes": {
                    "verbs": "get",
                    "resources": "secrets",
                    "namespaces": "a",
                    "names": "open*",
                    "reveal": True,
                },
                "when": "op.name != 'open-not'",
            }
        },
    ],
}
POD = {"kind": "Pod", "metadata": {"name": "x", "namespace": "a"}, "spec": {"containers": []}}


class Api:
    """An agent and its API server: answers each request by `answers`, and remembers them all."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        self.answers: dict[tuple[str, str], Any] = {}
        self.on_data: Any = None
        self.on_close: Any = None
        self.on_writable: Any = None
        self.writable = True

    async def open(self, _target: str, _opening: Any) -> tuple[Any, Any]:
        return self, None

    def send_control(self, message: HttpRequest) -> None:
        self.asked.append((message.method, message.path, b""))
        if ("Content-Length", "0") in message.headers or not any(n == "Content-Length" for n, _ in message.headers):
            self._answer()

    def send(self, data: bytes) -> None:
        method, path, _ = self.asked.pop()
        self.asked.append((method, path, data))
        self._answer()

    def _answer(self) -> None:
        method, path, _ = self.asked[-1]
        if path in ("/api", "/apis"):
            names = ("pods", "secrets")
            resources = [{"resource": name, "scope": "Namespaced", "subresources": []} for name in names]
            items = (
                [{"metadata": {}, "versions": [{"version": "v1", "resources": resources}]}] if path == "/api" else []
            )
            document: Any = {"items": items}
        else:
            document = self.answers.get((method, path), {"kind": "Status", "status": "Success"})
        content = json.dumps(document).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        self.on_data(head.encode() + content)

    def consumed(self, _count: int) -> None: ...

    def close(self, _reason: str) -> None: ...


class Caller:
    """The client's end."""

    def __init__(self) -> None:
        self.code = 0
        self.content = b""

    async def answer(self, code: int, _headers: Any, body: bytes) -> None:
        self.code, self.content = code, body

    async def begin(self, code: int, _headers: Any) -> None:
        self.code = code

    async def piece(self, data: bytes) -> None:
        self.content += data

    async def finish(self) -> None: ...


@pytest.fixture
def made() -> tuple[KubernetesSession, Api, list[Any]]:
    """A session, the API server behind it, and the journal."""
    api, events = Api(), list[Any]()
    policies = PolicySet(bundle_of([Policy.model_validate(POLICY, strict=False)], "bot", []))
    policy = policy_for(policies, stand_in("bot"), (), "prod", {}, TargetKind.KUBERNETES)

    def submit(new: list[Any], release: Any = None) -> None:
        events.extend(new)
        if release is not None:
            release(RuntimeError("full") if any(e == "full" for e in events) else None)

    gate = SimpleNamespace(
        journal=SimpleNamespace(submit=submit), notices=SimpleNamespace(add=events.extend), mask_key=b"k", holds=None
    )
    opening = SimpleNamespace(target_name="prod", protocol="kubernetes")
    session: Any = SimpleNamespace(
        id="s", seq=0, bot="bot", gate=gate, opening=opening, policy=policy, recording=None, bytes_in=0, bytes_out=0,
        refresh=lambda: None, recording_trouble=lambda: None, ended=lambda reason: f"ended: {reason}",
    )  # fmt: skip
    return KubernetesSession(session, api.open, Discovery()), api, events


async def ask(session: KubernetesSession, line: str, body: Any = None, form: str = "application/json") -> Caller:
    method, target = line.split()
    head = parse_request(f"{method} /t/prod{target} HTTP/1.1\r\nHost: x\r\nContent-Type: {form}\r\n\r\n".encode())
    caller = Caller()
    await session.serve(head, target, b"" if body is None else json.dumps(body).encode(), caller)  # type: ignore[arg-type]
    return caller


@pytest.mark.anyio
async def test_what_is_allowed_goes_out_once_it_is_on_record(made: Any) -> None:
    """Written anew, answered, and with values of Secrets masked."""
    session, api, events = made
    path = "/api/v1/namespaces/a/secrets/x"
    api.answers["GET", path] = {"kind": "Secret", "data": {"k": "canary"}}
    caller = await ask(session, f"GET {path}")
    assert caller.code == 200
    assert b"canary" not in caller.content
    assert [one[1] for one in api.asked] == ["/api", "/apis", path]
    assert [e.effect for e in events if isinstance(e, Operation)] == ["allow"]


@pytest.mark.anyio
@pytest.mark.parametrize(("name", "shown"), [("open-1", True), ("open-not", False), ("x", False)])
async def test_values_come_back_only_where_a_rule_reveals_them(made: Any, name: str, shown: bool) -> None:
    """And only while its condition holds."""
    session, api, _ = made
    path = f"/api/v1/namespaces/a/secrets/{name}"
    api.answers["GET", path] = {"kind": "Secret", "data": {"k": "canary"}}
    assert (b"canary" in (await ask(session, f"GET {path}")).content) is shown


@pytest.mark.anyio
async def test_what_is_denied_never_goes_out(made: Any) -> None:
    """Only what the resource is was asked for."""
    session, api, events = made
    for line in (
        "DELETE /api/v1/namespaces/a/pods/x",
        "GET /api/v1/namespaces/b/pods",
        "GET /api/v1/namespaces/a/pods/",
    ):
        caller = await ask(session, line)
        assert caller.code in (400, 403)
        assert json.loads(caller.content)["kind"] == "Status"
    assert {one[1] for one in api.asked} <= {"/api", "/apis"}
    assert [e.effect for e in events if isinstance(e, Operation)] == ["deny"] * 3


@pytest.mark.anyio
async def test_a_patch_is_decided_by_what_it_leads_to(made: Any) -> None:
    """The dry run is asked first; what it shows decides."""
    session, api, _ = made
    path = "/api/v1/namespaces/a/pods/x"
    worse = {**POD, "spec": {"containers": [], "hostPID": True}}
    for shown, code, count in ((POD, 200, 2), (worse, 403, 1)):
        api.answers["PATCH", f"{path}?dryRun=All"] = shown
        api.asked.clear()
        patch = {"metadata": {"labels": {"a": "b"}}}
        caller = await ask(session, f"PATCH {path}", patch, "application/merge-patch+json")
        assert caller.code == code
        sent = [one for one in api.asked if one[0] == "PATCH"]
        assert len(sent) == count
        assert sent[0][1].endswith("?dryRun=All")
        assert all(one[2] == b'{"metadata":{"labels":{"a":"b"}}}' for one in sent)


@pytest.mark.anyio
async def test_no_record_no_execution(made: Any) -> None:
    """If the journal fails, nothing goes out and the session ends."""
    session, api, events = made
    events.append("full")
    with pytest.raises(SessionOverError, match="cannot be recorded"):
        await ask(session, "GET /api/v1/namespaces/a/pods")
    assert {one[1] for one in api.asked} <= {"/api", "/apis"}


@pytest.mark.anyio
async def test_a_session_that_ends_cuts_what_is_under_way(made: Any) -> None:
    """And says why."""
    session, api, _ = made
    api._answer = lambda: None  # type: ignore[method-assign] - it never answers
    under_way = asyncio.ensure_future(ask(session, "GET /api/v1/namespaces/a/pods"))
    await asyncio.sleep(0.01)
    assert session.busy
    session.end("57P01", "cut off", reason="killed")
    with pytest.raises(SessionOverError, match="cut off"):
        await under_way
    assert session.over
