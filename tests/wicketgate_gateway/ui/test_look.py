"""The list of sessions, and who ends one."""

from __future__ import annotations

from typing import Any


def test_a_list_has_filters(record: Any, tab: Any) -> None:
    session = record("ssh", [], ["uname"], bot="lister")
    page = tab("Ada")
    assert session in page.get("/ui/sessions?bot=lister").text
    assert session not in page.get("/ui/sessions?bot=nobody").text
    assert session not in page.get("/ui/sessions/rows?bot=lister&live=1").text


def test_only_administrators_end_sessions(tab: Any) -> None:
    path = "/ui/sessions/01m880q6t42qp19k5tpbzkxpgm/kill"
    assert tab("Ada").post(path, {"reason": "x"}).status_code == 403
    root = tab("Root")
    assert root.post(path, {"reason": " "}).status_code == 422
    assert root.post(path, {"reason": "looks wrong"}).status_code == 303
