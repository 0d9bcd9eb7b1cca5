"""Who may do what, from settings and policies, by names alone."""

from pathlib import Path
from typing import Any

from wicketgate.config import load
from wicketgate.policy.access import access_of, policy_names

SETTINGS: dict[str, Any] = {
    "policyFolder": "rules",
    "gateway": {
        "host": "gate.example.com",
        "deploy": {
            "kind": "local", "folder": "o", "certificateFile": "a", "keyFile": "b", "caFile": "c", "tokenFolder": "d",
            "secretFolder": "e",
        },
    },
    "agents": {"eu": {"credentials": [{"oidc": {"issuer": "https://issuer", "subject": "agent"}}]}},
    "targets": {
        "db": {
            "kind": "postgres", "address": "db.internal:5432", "database": "d", "agent": "eu",
            "credential": {"secret": "hidden-name"}, "labels": {"env": "prod"},
        }
    },
    "groups": {"readers": {"policies": ["reading"]}},
    "bots": {
        "review": {
            "owner": "group:team", "groups": ["readers"], "expires": "2027-06-30",
            "credentials": [{"github": {"repository": "acme/shop", "branch": "main"}}],
        }
    },
}  # fmt: skip
POLICY = "policy: {}\ntargets: [db]\n{}rules:\n  - allow: {{sql: {{statements: read}}}}\n"


def test_names_and_no_address_or_credential(tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "reading.yaml").write_text(POLICY.format("reading", ""))
    (folder / "direct.yaml").write_text(POLICY.format("direct", "subjects: {bots: [review]}\n"))
    config = load(SETTINGS)
    assert policy_names(config, tmp_path) == ["direct", "reading"]
    found = access_of(config, tmp_path)
    assert [(p.policy, p.groups, p.bots) for p in found.policies] == [
        ("direct", [], ["review"]),
        ("reading", ["readers"], []),
    ]
    assert found.targets["db"].labels == {"env": "prod"}
    assert found.bots["review"].expires == "2027-06-30"
    text = found.render()
    assert "db.internal" not in text
    assert "hidden-name" not in text
