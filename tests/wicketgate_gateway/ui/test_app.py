"""The pages as they are served: who sees what, and every way in that must not be one."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.wicketgate_gateway.ui.conftest import SAME
from wicketgate_gateway.approvals.model import State


def test_an_approver_sees_everything_and_decides(desk: Any, tab: Any) -> None:
    held = desk.hold()
    page = tab("Dana")
    assert held.handle in page.get("/ui/approvals").text
    shown = page.get(f"/ui/approvals/{held.handle}")
    assert held.seal in shown.text
    assert shown.headers["cache-control"] == "no-store"
    answer = page.post(f"/ui/approvals/{held.handle}/approve", {"seal": held.seal, "comment": "ok"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/ui/approvals/{held.handle}")
    assert desk.stands(held.handle).votes[0].approver == desk.cloud.ids["Dana"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
    ],
)
def test_no_other_site_answers(desk: Any, tab: Any, headers: dict[str, str], status: int) -> None:
    held = desk.hold()
    page = tab("Dana")
    answer = page.post(f"/ui/approvals/{held.handle}/approve", {"seal": held.seal}, **headers)
    assert answer.status_code == status
    assert desk.stands(held.handle).state is State.PENDING


def test_what_does_not_approve(desk: Any, tab: Any) -> None:
    """A GET; no cookie; somebody else's cookie; the wrong seal; another role; outside the group; the owner."""
    held = desk.hold()
    path, form = f"/ui/approvals/{held.handle}/approve", {"seal": held.seal}
    dana = tab("Dana")
    assert dana.get(path + f"?seal={held.seal}").status_code == 404
    assert tab().post(path, form).status_code == 303  # to the sign-in
    stolen = tab()
    stolen.cookies["__Host-wicketgate"] = "x" * 43
    assert stolen.post(path, form).headers["location"].startswith("/ui/sign-in")
    assert dana.post(path, {"seal": "0" * 64}).status_code == 409
    assert dana.post(path, {}).status_code in (409, 422)
    assert tab("Ada").post(path, form).status_code == 403
    assert tab("Root").post(path, form).status_code == 403
    assert tab("Erik").post(path, form).status_code == 403
    assert desk.stands(held.handle).state is State.PENDING
    own = desk.hold("DELETE FROM orders WHERE id = 3", owner_id=desk.cloud.ids["Dana"], owner="person:dana")
    assert dana.post(f"/ui/approvals/{own.handle}/approve", {"seal": own.seal}).status_code == 403
    assert desk.stands(own.handle).state is State.PENDING


def test_a_denial_needs_a_reason(desk: Any, tab: Any) -> None:
    held = desk.hold()
    page = tab("Dana")
    answer = page.post(f"/ui/approvals/{held.handle}/deny", {"seal": held.seal, "comment": "  "})
    assert answer.status_code == 422
    assert desk.stands(held.handle).state is State.PENDING
    assert page.post(f"/ui/approvals/{held.handle}/deny", {"comment": "no"}).status_code == 303
    assert desk.stands(held.handle).state is State.DENIED


def test_what_others_may_not_see(desk: Any, tab: Any) -> None:
    held = desk.hold("DELETE FROM orders WHERE note = 'very private'")
    erik = tab("Erik")  # an approver of other groups
    assert "very private" not in erik.get("/ui/approvals").text
    answer = erik.get(f"/ui/approvals/{held.handle}")
    assert answer.status_code == 403
    assert "very private" not in answer.text
    for place in ("sessions", "audit", "audit/export", "sessions/abcd"):
        assert erik.get(f"/ui/{place}").status_code == 403, place
    for place in ("approvals", f"approvals/{held.handle}", "sessions", "audit", "audit/export", "policies", "access"):
        answer = tab().get(f"/ui/{place}")
        assert answer.status_code == 303, place
        assert "very private" not in answer.text


def test_an_api_token_opens_no_page_and_a_cookie_no_api(desk: Any, tab: Any) -> None:
    token = desk.token("Dana")
    assert tab().get("/ui/approvals", Authorization=f"Bearer {token}").status_code == 303
    page = tab("Dana")
    assert page.get("/v1/me").status_code == 401


def test_signing_out_ends_it(tab: Any) -> None:
    page = tab("Dana")
    cookies = dict(page.cookies)
    assert page.get("/ui/sign-out").status_code == 404
    assert page.post("/ui/sign-out").status_code == 200
    assert page.cookies == {}
    page.cookies.update(cookies)
    assert page.get("/ui/approvals").status_code == 303


def test_an_account_that_is_disabled_is_out_within_the_cache_time(desk: Any, tab: Any) -> None:
    import json
    import ssl
    import urllib.request

    entra = desk.cloud.entra
    page = tab("Root")
    assert page.get("/ui/sessions").status_code == 200
    context = ssl.create_default_context(cafile=str(entra.ca_file))
    token = entra.graph_token(roles=["User.ReadWrite.All", "User.EnableDisableAccount.All"])

    def enabled(value: bool) -> None:
        head = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        call = urllib.request.Request(
            f"{entra.graph}/v1.0/users/{desk.cloud.ids['Root']}",
            json.dumps({"accountEnabled": value}).encode(),
            head,
            method="PATCH",
        )
        urllib.request.urlopen(call, context=context, timeout=20).close()

    enabled(False)
    try:
        # Ending a session asks Graph anew.
        answer = page.post("/ui/sessions/01m880q6t42qp19k5tpbzkxpgm/kill", {"reason": "x"})
        assert answer.status_code in (303, 403)
        assert page.get("/ui/sessions").status_code == 303
    finally:
        enabled(True)


@pytest.mark.parametrize(
    "path",
    [
        "/ui/static/x/../../app.py",
        "/ui/static/x/..%2f..%2fapp.py",
        "/ui/static/x/%2e%2e/app.py",
        "/ui/static/x/base.html",
        "/ui/static/",
        "/ui/approvals/../../v1/me",
        "/ui/approvals/<script>",
        "/ui/sessions/%00",
        "/ui/policies/..%2fbundle.json",
        "/ui/policies/nothing",
    ],
)
def test_paths_that_lead_nowhere(tab: Any, path: str) -> None:
    answer = tab("Ada").get(path)
    assert answer.status_code in (401, 403, 404, 422), answer.status_code
    assert "<script>" not in answer.text
    assert "import" not in answer.text


def test_statics_are_served(tab: Any) -> None:
    page = tab().get("/ui/sign-in")
    assert page.status_code == 200
    for part in page.text.split("/ui/static/")[1:]:
        answer = tab().get("/ui/static/" + part.partition('"')[0])
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]


def test_markup_in_what_a_bot_sent_stays_text(desk: Any, tab: Any) -> None:
    evil = "<img src=x onerror=alert(1)>"
    held = desk.hold(f"DELETE FROM orders WHERE note = '{evil}'", reason=f"{evil}\u202e")
    page = tab("Dana")
    for path in ("/ui/approvals", "/ui/approvals/rows", f"/ui/approvals/{held.handle}"):
        text = page.get(path).text
        assert "<img src=x" not in text
        assert "onerror=alert(1)" in text
        assert "\u202e" not in text


def test_a_part_of_a_page_says_where_to_sign_in(tab: Any) -> None:
    answer = tab().get("/ui/approvals/rows", **{"HX-Request": "true"}, **SAME)
    assert answer.status_code == 204
    assert answer.headers["hx-redirect"].startswith("/ui/sign-in?to=")


def test_nothing_of_a_session_is_in_the_log(desk: Any, tab: Any) -> None:
    page = tab("Dana")
    page.get("/ui/approvals")
    time.sleep(0.1)
    log = (desk.folder / "api.log").read_text()
    assert all(value not in log for value in page.cookies.values())
