"""How held operations are listed and shown; brief where it is one of many."""

from __future__ import annotations

from typing import Any

from wicketgate_gateway.ui import approvals


def test_a_row_is_short_and_visible(desk: Any) -> None:
    held = desk.hold("DELETE FROM orders\nWHERE id = 1 -- \u202e" + "x" * 500)
    brief = approvals._brief(held)
    statement = str(brief["statement"])
    assert statement.startswith("DELETE FROM orders WHERE id = 1 -- ⟦U+202E⟧")
    assert len(statement) < 330
    assert (brief["handle"], brief["quorum"]) == (held.handle, held.quorum)


def test_what_was_answered_before_is_shown(desk: Any, tab: Any) -> None:
    first = desk.hold("DELETE FROM orders WHERE id = 71")
    page = tab("Dana")
    page.post(f"/ui/approvals/{first.handle}/deny", {"comment": "not now"})
    second = desk.hold("DELETE FROM orders WHERE id = 72")
    text = page.get(f"/ui/approvals/{second.handle}").text
    assert "id = 71" in text
    assert "not now" in page.get(f"/ui/approvals/{first.handle}/standing").text
    assert first.handle in page.get("/ui/approvals?view=answered").text
    assert first.handle not in page.get("/ui/approvals?view=waiting").text
    assert second.handle in page.get("/ui/approvals?view=nonsense").text


def test_a_plan_is_shown_line_by_line(desk: Any, tab: Any) -> None:
    plan = '--- as it is\n+++ as it would be\n@@ -1 +1 @@\n-  "replicas": 2\n+  "replicas": 9 <b>\u202e\n'
    statement = '{"do": "patch deployments web in prod", "body": {"spec": {"replicas": 9}}}'
    held = desk.hold(statement, protocol="kubernetes", parameters=(), blast={"note": "one object", "plan": plan})
    text = tab("Dana").get(f"/ui/approvals/{held.handle}").text
    assert '<span class="add">+  &#34;replicas&#34;: 9 &lt;b&gt;⟦U+202E⟧</span>' in text
    assert '<span class="del">-  &#34;replicas&#34;: 2</span>' in text
    assert "patch deployments web in prod" in tab("Dana").get("/ui/approvals").text
    explained = desk.hold("DELETE FROM orders WHERE id = 4", blast={"plan": "- Seq Scan\n+ x"})
    assert 'class="del"' not in tab("Dana").get(f"/ui/approvals/{explained.handle}").text


def test_ends_are_said(desk: Any, tab: Any) -> None:
    held = desk.hold(within=0.05)  # shorter than signing in takes
    page = tab("Dana")
    assert page.post(f"/ui/approvals/{held.handle}/approve", {"seal": held.seal}).status_code == 410
    text = page.get(f"/ui/approvals/{held.handle}").text
    assert "lapsed" in text
    assert "approve-form" not in text
