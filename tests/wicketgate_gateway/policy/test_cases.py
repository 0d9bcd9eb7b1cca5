"""Cases of policies: each kind of expectation can fail."""

from pathlib import Path

import pytest

from wicketgate_gateway.policy import cases

POLICY = """
policy: p
targets: [db]
rules:
  - allow: {sql: {statements: read, relations: [public.*]}}
  - hold: {sql: {statements: write}, approvers: {groups: [dba], quorum: 2}, because: careful}
mask: [{columns: [public.t.email], with: partial}]
"""
HEAD = "schema: {public.t: [id, email]}\ncases:\n"


def wrong(folder: Path, case: str, head: str = HEAD) -> list[str]:
    (folder / "p.yaml").write_text(POLICY)
    (folder / "p.test.yaml").write_text(head + f"  - {case}\n")
    return [text for outcome in cases.run(folder / "p.test.yaml") for text in outcome.wrong]


@pytest.mark.parametrize(
    "case",
    [
        "{allow: SELECT id FROM t, rule: 'p#1', masked: {}}",
        "{allow: SELECT * FROM t, masked: {email: partial}}",
        "{allow: SELECT email AS e FROM t, masked: {e: partial}}",
        "{hold: DELETE FROM t, approvers: dba, quorum: 2, reason: careful, rule: 'p#2'}",
        "{deny: DROP TABLE t, reason: no rule}",
        "{allow: EXECUTE q, after: PREPARE q AS SELECT 1}",
        "{allow: 'SELECT id, email, upper(email) AS up FROM t', columns: {email: partial, up: redact, id: plain}}",
        "{allow: SELECT x.e FROM (SELECT email AS e FROM t) x, columns: {e: partial}, masked: {e: partial}}",
    ],
)
def test_what_is_as_expected(tmp_path: Path, case: str):
    assert wrong(tmp_path, case) == []


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("{allow: DELETE FROM t}", "held by `p#2`"),
        ("{hold: SELECT 1}", "allowed by `p#1`"),
        ("{deny: SELECT 1}", "allowed by `p#1`"),
        ("{allow: SELECT 1, rule: 'p#2'}", "decided by `p#1`, not by `p#2`"),
        ("{deny: DROP TABLE t, reason: because}", "without `because`"),
        ("{hold: DELETE FROM t, approvers: leads}", "may be approved by `dba`"),
        ("{hold: DELETE FROM t, quorum: 1}", "needs 2 to approve, not 1"),
        ("{allow: SELECT email FROM t, masked: {}}", "column `email` comes as `partial`, not as it is"),
        ("{allow: SELECT email FROM t, masked: {email: redact}}", "comes as `partial`, not as `redact`"),
        ("{allow: SELECT id FROM t, masked: {id: partial}}", "column `id` comes as it is, not as `partial`"),
        ("{allow: SELECT id FROM t, masked: {email: partial}}", "no column `email`"),
        ("{allow: SELECT x.email FROM (TABLE t) x, masked: {}}", "column `email` comes as `partial`, not as it is"),
        ("{allow: SELECT * FROM gone, masked: {}}", "cannot be told"),
        ("{allow: 'SELECT id, email FROM t', columns: {email: plain}}", "comes as `partial`, not as it is"),
        ("{allow: 'SELECT id, upper(email) AS up FROM t', columns: {up: partial}}", "as `redact`, not as `partial`"),
        ("{allow: SELECT id FROM t, columns: {id: hash}}", "column `id` comes as it is, not as `hash`"),
        ("{allow: SELECT id FROM t, columns: {email: plain}}", "no column `email`"),
        ("{allow: EXECUTE q, after: [PREPARE q AS SELECT 1, DROP TABLE t]}", "comes before and is denied"),
    ],
)
def test_what_is_not(tmp_path: Path, case: str, says: str):
    (found,) = wrong(tmp_path, case)
    assert says in found


def test_the_policy_must_apply(tmp_path: Path):
    head = "target: other\ncases:\n"
    assert wrong(tmp_path, "{deny: SELECT 1}", head) == []
    assert wrong(tmp_path, "{allow: SELECT 1}", head) == ["no policy applies to `some-bot` at `other`"]
