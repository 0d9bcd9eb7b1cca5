"""The API as it is served: what people see and decide, and every way in that must not be one."""

import base64
import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from wicketgate_gateway.approvals.model import State
from wicketgate_gateway.identity.workload import WorkloadCredential

SNAPSHOT = Path(__file__).resolve().parents[3] / "docs" / "openapi.json"


def test_openapi_is_the_one_on_record(desk: Any) -> None:
    served = desk.call("GET", "/openapi.json").json()
    if not SNAPSHOT.exists() or __import__("os").environ.get("WICKETGATE_GOLDEN") == "write":
        SNAPSHOT.write_text(json.dumps(served, indent=1, sort_keys=True) + "\n")
    assert served == json.loads(SNAPSHOT.read_text())
    assert served["security"] == [{"entra": []}]
    assert {path for path in served["paths"] if "{" not in path} >= {"/v1/me", "/v1/approvals", "/v1/kills"}


def test_an_approver_sees_everything_and_decides(desk: Any) -> None:
    held = desk.hold()
    listed = desk.call("GET", "/v1/approvals", "Dana").json()["approvals"]
    (shown,) = [one for one in listed if one["handle"] == held.handle]
    assert shown == desk.call("GET", f"/v1/approvals/{held.handle}", "Dana").json()
    assert shown["statement"] == held.statement  # the very text, controls and all: who draws it makes them visible
    assert shown["warnings"]
    assert [p["text"] for p in shown["parameters"]] == ["42", None]
    assert base64.b64decode(shown["parameters"][0]["base64"]) == b"\0\0\0\x2a"
    assert shown["bot"] == {"name": "code-review", "id": desk.cloud.ids["bot"], "owner": "group:platform-team"}
    assert (shown["rule"], shown["facts"], shown["blast"]) == ("orders#2", {"search_path": "public"}, {"estimate": 1})
    assert shown["approvers"] == [{"name": "dba", "id": desk.cloud.ids["dba"]}]
    assert shown["link"] == f"https://gate.example:8444/approvals/{held.handle}"
    done = desk.call(
        "POST", f"/v1/approvals/{held.handle}/approve", "Dana", json={"seal": shown["seal"], "comment": "ok"}
    )
    assert (done.status_code, done.json()["state"]) == (200, "approved")
    assert desk.stands(held.handle).votes[0].approver == desk.cloud.ids["Dana"]
    again = desk.call("POST", f"/v1/approvals/{held.handle}/approve", "Dana", json={"seal": shown["seal"]})
    assert (again.status_code, again.json()["code"]) == (409, "hold-closed")


def test_denied(desk: Any) -> None:
    held = desk.hold()
    assert desk.call("POST", f"/v1/approvals/{held.handle}/deny", "Dana", json={}).json()["state"] == "denied"
    assert desk.stands(held.handle).state is State.DENIED


def test_what_was_not_looked_at_is_not_approved(desk: Any) -> None:
    one, other = desk.hold("DELETE FROM orders WHERE id = 1"), desk.hold("DELETE FROM orders")
    answer = desk.call("POST", f"/v1/approvals/{other.handle}/approve", "Dana", json={"seal": one.seal})
    assert (answer.status_code, answer.json()["code"]) == (409, "seal-mismatch")
    for body in ({}, {"seal": other.seal[:12]}, {"seal": other.seal, "force": True}, {"seal": [other.seal]}):
        assert desk.call("POST", f"/v1/approvals/{other.handle}/approve", "Dana", json=body).status_code == 422
    assert desk.stands(other.handle).state is State.PENDING


def test_a_policy_that_is_no_longer_in_force(desk: Any) -> None:
    held = desk.hold(policy="sha256:" + "0" * 64)
    answer = desk.call("POST", f"/v1/approvals/{held.handle}/approve", "Dana", json={"seal": held.seal})
    assert (answer.status_code, answer.json()["code"]) == (409, "policy-changed")
    assert desk.stands(held.handle).state is State.VOID


def test_a_bot_that_is_gone(desk: Any) -> None:
    held = desk.hold(bot_id="00000000-0000-4000-8000-00000000dead")
    answer = desk.call("POST", f"/v1/approvals/{held.handle}/approve", "Dana", json={"seal": held.seal})
    assert (answer.status_code, answer.json()["code"]) == (409, "bot-gone")


@pytest.mark.parametrize("verb", ["approve", "deny"])
def test_who_may_not_decide(desk: Any, verb: str) -> None:
    """Outside the group; with another role; the owner; a member of the owner's group; a bot; an app with the role."""
    cloud = desk.cloud
    held = desk.hold()

    def refused(token: str, status: int, code: str, handle: str = held.handle, seal: str = held.seal) -> None:
        answer = desk.call("POST", f"/v1/approvals/{handle}/{verb}", token=token, json={"seal": seal})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["content-type"] == "application/problem+json"
        assert desk.stands(handle).state is State.PENDING
        assert token.split(".")[-1] not in answer.text

    refused(desk.token("Erik"), 403, "approver-not-allowed")
    refused(cloud.mint_person("Erik", groups=[cloud.ids["dba"]]), 403, "approver-not-allowed")
    refused(desk.token("Ada"), 403, "role-missing")
    refused(desk.token("Root"), 403, "role-missing")
    refused(cloud.mint_person("Dana", roles=["Session.Read", "Gateway.Admin"]), 403, "role-missing")
    own = desk.hold("DELETE FROM orders WHERE id = 3", owner_id=cloud.ids["Dana"], owner="person:dana")
    refused(desk.token("Dana"), 403, "approver-is-owner", own.handle, own.seal)
    group = desk.hold("DELETE FROM orders WHERE id = 4", owner_id=cloud.ids["dba"], owner="group:dba")
    refused(desk.token("Dana"), 403, "approver-is-owner", group.handle, group.seal)
    app = {"oid": cloud.ids["bot"], "roles": ["Approval.Decide"], "idtyp": "app", "scp": None}
    refused(cloud.mint_person("Dana", **app), 401, "not-a-persons-token")
    now = int(time.time())
    refused(cloud.mint_person("Dana", auth_time=now - 13 * 3600), 401, "sign-in-too-old")
    refused(cloud.mint_person("Dana", auth_time=None), 401, "sign-in-unknown")
    refused(cloud.person_token("Dana", client="other-cli"), 401, "wrong-client")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"aud": "00000003-0000-0000-c000-000000000000"}, "wrong-audience"),
        ({"aud": None}, "wrong-audience"),
        ({"iss": "https://evil.example/v2.0"}, "wrong-issuer"),
        ({"tid": "00000000-0000-4000-8000-000000000001"}, "wrong-tenant"),
        ({"ver": "1.0"}, "wrong-version"),
        ({"exp": 1}, "token-malformed"),
        ({"scp": None}, "not-a-persons-token"),
        ({"scp": "User.Read"}, "scope-missing"),
        ({"nonce": "n"}, "not-a-persons-token"),
    ],
)
def test_tokens_that_are_none(desk: Any, changes: dict[str, Any], code: str) -> None:
    answer = desk.call("GET", "/v1/me", token=desk.cloud.mint_person("Dana", **changes))
    assert answer.status_code == 401
    assert answer.json()["code"] in (code, "token-expired")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_real_bots_token_and_forgeries(desk: Any) -> None:
    import asyncio

    from wicketgate_gateway.contract.gateway import Entra, Workload
    from wicketgate_gateway.identity import http

    async def token() -> str:
        entra = Entra.model_validate(desk.cloud.document())
        async with http.client(entra) as client:
            credential = WorkloadCredential(entra, Workload.model_validate(desk.cloud.workload("bot")), client)
            return (await credential.token(f"{desk.cloud.audience}/.default")).token

    for given, code in (
        (asyncio.run(token()), "not-a-persons-token"),
        (desk.cloud.entra.graph_token(), "wrong-audience"),
        (desk.cloud.entra.mint(alg="HS256"), "wrong-algorithm"),
        (desk.cloud.entra.mint(alg="none") + "AA", "wrong-algorithm"),
    ):
        answer = desk.call("GET", "/v1/approvals", token=given)
        assert (answer.status_code, answer.json()["code"]) == (401, code)


def test_a_handle_opens_nothing(desk: Any) -> None:
    held = desk.hold()
    page = desk.call("GET", f"/approvals/{held.handle}")
    assert page.status_code == 200
    assert held.statement.split()[1] not in page.text.replace(held.handle, "")
    for path in (f"/v1/approvals/{held.handle}", f"/v1/approvals/{held.handle}?access_token={desk.token('Dana')}"):
        assert desk.call("GET", path).json()["code"] == "token-missing"
    for given in (held.handle, held.seal, held.digest, f"{held.handle}.{held.seal}.x"):
        assert desk.call("GET", f"/v1/approvals/{held.handle}", token=given).status_code == 401
    cookies = {"Cookie": f"token={desk.token('Dana')}"}
    assert desk.call("GET", "/v1/me", headers=cookies).status_code == 401
    assert desk.call("POST", f"/approvals/{held.handle}", "Dana", json={}).status_code == 405
    assert desk.call("GET", "/approvals/%3Cscript%3E").status_code == 422


def test_strangers_learn_nothing_of_what_there_is(desk: Any) -> None:
    held = desk.hold()
    answers = [desk.call("GET", f"/v1/approvals/{handle}") for handle in (held.handle, "hold-000000")]
    assert answers[0].content == answers[1].content


def test_who_sees_what(desk: Any) -> None:
    held = desk.hold()
    for name, sees in (("Dana", True), ("Ada", True), ("Root", True), ("Erik", False)):
        listed = desk.call("GET", "/v1/approvals", name).json()["approvals"]
        assert any(one["handle"] == held.handle for one in listed) is sees
        assert desk.call("GET", f"/v1/approvals/{held.handle}", name).status_code == (200 if sees else 403)
    assert desk.call("GET", "/v1/sessions", "Dana").json()["code"] == "role-missing"
    # What other tests put on record there is ended, and none of it runs.
    sessions = desk.call("GET", "/v1/sessions", "Ada")
    assert sessions.status_code == 200
    assert {one["bot_id"] for one in sessions.json()["sessions"]} <= {"id"}
    assert desk.call("GET", "/v1/approvals/hold-zzzzzz", "Dana").json()["code"] == "hold-unknown"


def test_filters(desk: Any) -> None:
    held = desk.hold()
    found = desk.call("GET", "/v1/approvals?state=approved&state=denied", "Dana").json()["approvals"]
    assert held.handle not in [one["handle"] for one in found]
    assert len(desk.call("GET", "/v1/approvals?bot=code-review&target=orders-db", "Dana").json()["approvals"]) == 1
    assert desk.call("GET", "/v1/approvals?target=other", "Dana").json()["approvals"] == []
    assert desk.call("GET", "/v1/approvals?bot=nobody", "Dana").json()["code"] == "bot-unknown"
    for query in ("state=open", "limit=0", "limit=201", "limit=x"):
        answer = desk.call("GET", f"/v1/approvals?{query}", "Dana")
        assert (answer.status_code, answer.json()["code"]) == (422, "request-invalid")


def test_me(desk: Any) -> None:
    me = desk.call("GET", "/v1/me", "Dana").json()
    assert (me["name"], me["id"], me["roles"]) == ("Dana", desk.cloud.ids["Dana"], ["Approval.Decide"])


def test_kills(desk: Any) -> None:
    order = {"scope": "bot", "value": "code-review", "reason": "it loops"}
    for name in ("Dana", "Ada"):
        assert desk.call("POST", "/v1/kills", name, json=order).json()["code"] == "role-missing"
    stale = desk.cloud.mint_person("Root", auth_time=int(time.time()) - 13 * 3600)
    assert desk.call("POST", "/v1/kills", token=stale, json=order).json()["code"] == "sign-in-too-old"
    held = desk.hold()
    made = desk.call("POST", "/v1/kills", "Root", json=order).json()
    assert (made["scope"], made["value"], made["by"]) == ("bot", desk.cloud.ids["bot"], "Root")
    assert desk.stands(held.handle).state is State.VOID
    assert [one["id"] for one in desk.call("GET", "/v1/kills", "Ada").json()["kills"]] == [made["id"]]
    assert desk.call("POST", f"/v1/kills/{made['id']}/lift", "Root", json={}).json() == {"kills": []}
    assert desk.call("POST", f"/v1/kills/{made['id']}/lift", "Root", json={}).json()["code"] == "kill-unknown"
    for body, code in (
        ({"scope": "bot", "value": "code-revue"}, "bot-unknown"),
        ({"scope": "group", "value": "reviewer"}, "group-unknown"),
        ({"scope": "target", "value": "orders"}, "target-unknown"),
        ({"scope": "all", "value": "x"}, "kill-invalid"),
        ({"scope": "target", "value": ""}, "kill-invalid"),
        ({"scope": "everything"}, "request-invalid"),
    ):
        assert desk.call("POST", "/v1/kills", "Root", json={**body, "reason": "r"}).json()["code"] == code
    assert desk.call("POST", "/v1/kills", "Root", json={"scope": "all"}).status_code == 422
    assert desk.call("GET", "/v1/kills", "Root").json() == {"kills": []}
    group = desk.call("POST", "/v1/kills", "Root", json={"scope": "group", "value": "reviewers", "reason": "r"}).json()
    assert group["value"] == desk.cloud.ids["reviewers"]
    session = desk.call("POST", "/v1/sessions/01J000TEST/kill", "Root", json={"reason": "r"}).json()
    assert (session["scope"], session["value"]) == ("session", "01J000TEST")


def test_no_page_no_form_no_trick(desk: Any) -> None:
    held = desk.hold()
    path = f"/v1/approvals/{held.handle}/approve"
    body = json.dumps({"seal": held.seal})
    for headers, status in (
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "application/json; charset=utf-7"}, 415),
        ({"Content-Type": "text/json"}, 415),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
        ({"Content-Type": "application/json", "Origin": "https://evil.example"}, 403),
        ({"Content-Type": "application/json", "Origin": "null"}, 403),
        ({"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"}, 403),
    ):
        answer = desk.call("POST", path, "Dana", headers=headers, content=body)
        assert answer.status_code == status
        assert "access-control-allow-origin" not in answer.headers
    json_type = {"Content-Type": "application/json"}
    assert desk.call("POST", path, headers=json_type, content=body + " " * 20_000).status_code == 413
    assert (
        desk.call("GET", f"{path}?_method=POST", "Dana", headers={"X-HTTP-Method-Override": "POST"}).status_code == 405
    )
    assert desk.call("PUT", path, "Dana", headers=json_type, content=body).status_code in (400, 405)
    assert desk.call("POST", path + "/", "Dana", headers=json_type, content=body).status_code == 404
    assert desk.call("POST", path.upper(), "Dana", headers=json_type, content=body).status_code == 404
    assert desk.call("OPTIONS", path, headers={"Access-Control-Request-Method": "POST"}).status_code == 405
    twice = [("Authorization", f"Bearer {desk.token('Erik')}"), ("Authorization", f"Bearer {desk.token('Dana')}")]
    import ssl

    with httpx2.Client(verify=ssl.create_default_context(cafile=str(desk.ca_file)), trust_env=False) as http:
        answer = http.post(desk.url + path, headers=[*twice, *json_type.items()], content=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "header-twice")
        basic = http.get(desk.url + "/v1/me", headers={"Authorization": f"Basic {desk.token('Dana')}"})
        assert basic.json()["code"] == "token-missing"
    assert desk.stands(held.handle).state is State.PENDING
    deep = desk.call("POST", path, "Dana", headers=json_type, content="[" * 8000)
    assert (deep.status_code, deep.json()["code"]) == (400, "request-invalid")


def test_headers_of_every_answer(desk: Any) -> None:
    for path in ("/v1/me", "/openapi.json", "/approvals/hold-000000", "/nowhere"):
        headers = desk.call("GET", path).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "server" not in headers


def test_the_stream(desk: Any) -> None:
    before = desk.hold("DELETE FROM orders WHERE id = 7")
    seen: list[tuple[str, Any]] = []
    ready = threading.Event()

    def read(name: str) -> None:
        import ssl

        context = ssl.create_default_context(cafile=str(desk.ca_file))
        headers = {"Authorization": f"Bearer {desk.token(name)}"}
        with (
            httpx2.Client(verify=context, trust_env=False, timeout=20) as http,
            http.stream("GET", f"{desk.url}/v1/approvals/stream", headers=headers) as response,
        ):
            assert response.headers["content-type"].startswith("text/event-stream")
            event = ""
            for line in response.iter_lines():
                if line.startswith("event: "):
                    event = line[7:]
                elif line.startswith("data: "):
                    seen.append((event, json.loads(line[6:])))
                    if event == "ready":
                        ready.set()
                    if event == "approval" and seen[-1][1]["state"] == "denied":
                        return

    thread = threading.Thread(target=read, args=("Dana",))
    thread.start()
    assert ready.wait(10)
    held = desk.hold("DELETE FROM orders WHERE id = 8")
    desk.call("POST", f"/v1/approvals/{held.handle}/deny", "Dana", json={})
    thread.join(10)
    assert not thread.is_alive()
    assert (seen[0][0], seen[0][1]["handle"], seen[1][0]) == ("approval", before.handle, "ready")
    later = [one["state"] for event, one in seen[2:] if event == "approval" and one["handle"] == held.handle]
    assert later[-1] == "denied"


def test_too_many_requests(desk: Any) -> None:
    token = desk.cloud.mint_person("Nils", roles=["Session.Read"])
    codes = [desk.call("GET", "/v1/me", token=token).status_code for _ in range(90)]
    assert codes[0] == 200
    assert 429 in codes
