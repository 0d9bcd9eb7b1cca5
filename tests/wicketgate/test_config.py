"""The stack's settings: what they mean, and where each mistake stands."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from wicketgate import config
from wicketgate_gateway.contract.errors import DocumentError

STACK = """\
config:
  wicketgate:gateway:
    host: 127.0.0.1
    postgresPort: 6432
    deploy: {kind: local, folder: d, certificateFile: c, keyFile: k, caFile: a, tokenFolder: t, secretFolder: s}
  wicketgate:agents:
    desk: {credentials: [{oidc: {issuer: "https://issuer", subject: agent}}]}
  wicketgate:targets:
    orders-db: {kind: postgres, address: "db:5432", database: orders, agent: desk, credential: {secret: orders-db}}
  wicketgate:groups:
    reviewers: {policies: [orders-readonly]}
  wicketgate:bots:
    code-review:
      owner: group:platform-team
      groups: [reviewers]
      expires: 2027-06-30
      credentials:
        - github: {repository: acme/shop, branch: main}
"""


def load(text: str, tmp_path: Path) -> config.StackConfig:
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_text(text)
    # The engine hands over JSON: dates and numbers as YAML 1.2 has them.
    data: dict[str, Any] = yaml.load(text, yaml.BaseLoader)["config"]
    values = {k.removeprefix("wicketgate:"): v for k, v in data.items()}
    port = values["gateway"].get("postgresPort", "")
    if port.isdigit():
        values["gateway"]["postgresPort"] = int(port)
    return config.load(values, file)


def test_six_lines_make_a_bot(tmp_path: Path) -> None:
    bot = load(STACK, tmp_path).bots["code-review"]
    assert [c.resolve() for c in bot.credentials] == [
        {
            "kind": "github",
            "issuer": "https://token.actions.githubusercontent.com",
            "subject": "repo:acme/shop:ref:refs/heads/main",
            "audience": "api://AzureADTokenExchange",
        }
    ]
    assert not bot.expired


def test_a_bot_whose_last_day_is_over_has_expired(tmp_path: Path) -> None:
    assert load(STACK.replace("2027-06-30", "2024-01-31"), tmp_path).bots["code-review"].expired


@pytest.mark.parametrize(
    ("wrong", "right", "line", "message"),
    [
        ("owner: group", "ownr: group", 14, "unknown key; did you mean `owner`?"),
        ("[reviewers]", "[reviwers]", 15, "there is no group `reviwers`; known: `reviewers`"),
        ("agent: desk", "agent: dsk", 9, "there is no agent `dsk`; known: `desk`"),
        ("2027-06-30", "30.06.2027", 16, "not a date"),
        ("branch: main", "branch: main, environment: prod", 18, "needs exactly one of `branch`, `tag`"),
        ("repository: acme/shop", "repository: acme", 18, "must be `owner/name`"),
        ("group:platform-team", "platform-team", 13, "`owner` must be `group:NAME` or `person:MAIL`"),
        ('"db:5432"', '"db"', 9, "`address` must be `host:port`"),
        ("https://issuer", "http://issuer", 7, "must be an https address"),
        ("subject: agent", 'subject: "*"', 7, "is one exact value"),
        ("    host: 127.0.0.1", "    hots: 127.0.0.1", 3, "unknown key; did you mean `host`?"),
        ("kind: postgres", "kind: oracle", 9, "'postgres'"),
        ("postgresPort: 6432", "postgresPort: 70000", 4, "not a port"),
        ("code-review:", "Code_Review:", 13, "not a name"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, wrong: str, right: str, line: int, message: str) -> None:
    assert wrong in STACK
    with pytest.raises(DocumentError) as caught:
        load(STACK.replace(wrong, right), tmp_path)
    found = [p for p in caught.value.problems if message in str(p)]
    assert found, str(caught.value)
    assert found[0].where is not None
    assert found[0].where.line is not None
    assert abs(found[0].where.line - line) <= 1, str(found[0])
    assert "Pulumi.dev.yaml" in str(found[0])


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = STACK.replace("[reviewers]", "[nobody]").replace("agent: desk", "agent: nowhere")
    with pytest.raises(DocumentError) as caught:
        load(text, tmp_path)
    assert len(caught.value.problems) == 2


def test_more_than_twenty_credentials_are_refused(tmp_path: Path) -> None:
    item = '{oidc: {issuer: "https://issuer", subject: agent}}'
    many = ", ".join(item.replace("agent", f"agent-{n}") for n in range(21))
    with pytest.raises(DocumentError, match="at most 20 federated credentials"):
        load(STACK.replace(item, many), tmp_path)


def test_the_same_credential_twice_is_refused(tmp_path: Path) -> None:
    item = '{oidc: {issuer: "https://issuer", subject: agent}}'
    with pytest.raises(DocumentError, match="the same issuer and subject stand twice"):
        load(STACK.replace(item, f"{item}, {item}"), tmp_path)


def test_a_whole_value_can_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = STACK.replace("6432", "${GATE_PORT}")
    monkeypatch.setenv("GATE_PORT", "7777")
    assert load(text, tmp_path).gateway.postgres_port == 7777


def test_an_unset_variable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATE_PORT", raising=False)
    with pytest.raises(DocumentError, match=r"Pulumi.dev.yaml:4:\d+: `gateway.postgresPort`.*`GATE_PORT` is not set"):
        load(STACK.replace("6432", "${GATE_PORT}"), tmp_path)


@pytest.mark.parametrize(
    ("group", "fine"),
    [
        ({"group": "dba"}, True),
        ({"id": "66666666-6666-4666-8666-666666666666"}, True),
        ({}, False),
        ({"group": "dba", "id": "66666666-6666-4666-8666-666666666666"}, False),
        ({"id": "dba"}, False),
    ],
)
def test_a_group_of_people_is_named_in_one_way(group: dict[str, str], fine: bool) -> None:
    if fine:
        assert config.PeopleGroup.model_validate(group)
    else:
        with pytest.raises(ValueError, match=r"group|id"):
            config.PeopleGroup.model_validate(group)
