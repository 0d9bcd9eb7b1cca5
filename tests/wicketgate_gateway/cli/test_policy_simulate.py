import json
from pathlib import Path

import pytest

from wicketgate_gateway.cli.policy_simulate import simulate
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.policy import Bundle, BundledBot, BundledPolicy

ACCESS = Path(__file__).parents[3] / "policies" / "access"
SUPPORT, SCHEMA = (ACCESS / "support-bot.yaml",), ACCESS / "support-bot.test.yaml"
TENANT, BOT, GROUP = (f"00000000-0000-0000-0000-00000000000{i}" for i in (1, 2, 3))


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_a_denial_and_the_rule_that_would_change_it(capsys: pytest.CaptureFixture[str]):
    simulate("UPDATE orders SET item = 'x'", target="orders-db", policy=SUPPORT, schema=SCHEMA)
    lines = said(capsys)
    assert lines[:3] == [
        "verdict deny",
        "rule default",
        "because no rule of `support-bot` allows `write` on `public.orders`",
    ]
    assert "it does `write` on `public.orders` (`item`)" in lines
    assert lines[-2:] == [
        "change with - allow: {sql: {statements: write, columns: [public.orders.item]}}",
        "then allow",
    ]


def test_a_hold_and_who_may_approve(capsys: pytest.CaptureFixture[str]):
    simulate("UPDATE orders SET amount = 0", target="orders-db", policy=SUPPORT, schema=SCHEMA)
    lines = said(capsys)
    assert lines[:2] == ["verdict hold", "rule support-bot#3"]
    assert "approvers 1 of `support-leads`, within 900 s; the client waits 60 s" in lines
    assert "approval serves one run; a reason is required" in lines


def test_masks_and_time(capsys: pytest.CaptureFixture[str]):
    simulate("SELECT name, email FROM customers", target="orders-db", policy=SUPPORT, schema=SCHEMA)
    assert "masked `email` as partial" in said(capsys)
    text = "UPDATE orders SET status = 'x'"
    for at, verdict in (("2026-11-24T12:00:00+01:00", "verdict allow"), ("2026-11-22T12:00:00+01:00", "verdict deny")):
        simulate(text, target="orders-db", policy=SUPPORT, schema=SCHEMA, at=at)
        assert said(capsys)[0] == verdict


def test_json(capsys: pytest.CaptureFixture[str]):
    simulate("SELECT * FROM api_keys", target="orders-db", policy=SUPPORT, json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["rule"], found["code"]) == ("deny", "support-bot#5", "denied-by-rule")
    assert found["without"] == ["support-bot#5"]
    assert found["with"] == ["- allow: {sql: {statements: read, relations: [public.api_keys]}}"]
    assert found["then"] == "allow"


def test_a_bundle_and_its_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    policy = BundledPolicy.model_validate(
        {
            "policy": "p",
            "targets": ["db"],
            "rules": [{"allow": {"sql": {"statements": ["read"]}}}],
            "groups": {GROUP: "reviewers"},
        }
    )
    bundle = tmp_path / "bundle.json"
    bots = {BOT: BundledBot(name="code-review", owner="group:x")}
    bundle.write_text(Bundle(tenant=TENANT, policies=[policy], bots=bots).render())
    simulate("SELECT 1", target="db", bot="code-review", group=("reviewers",), bundle=bundle)
    assert said(capsys)[:2] == ["verdict allow", "rule p#1"]
    with pytest.raises(WicketgateError, match=r"no policy applies to `code-review` at `db`.*`reviewers`"):
        simulate("SELECT 1", target="db", bot="code-review", bundle=bundle)
    with pytest.raises(WicketgateError, match="has no group `nobody`"):
        simulate("SELECT 1", target="db", bot="code-review", group=("nobody",), bundle=bundle)


def test_where_no_policy_applies():
    with pytest.raises(WicketgateError, match="no policy applies to `some-bot` at `elsewhere`"):
        simulate("SELECT 1", target="elsewhere", policy=SUPPORT)
    with pytest.raises(WicketgateError, match="`x` is no label"):
        simulate("SELECT 1", target="elsewhere", policy=SUPPORT, label=("x",))
    with pytest.raises(WicketgateError, match="`soon` is not a time"):
        simulate("SELECT 1", target="orders-db", policy=SUPPORT, at="soon")


def test_without_tables_it_says_what_is_missing(capsys: pytest.CaptureFixture[str]):
    simulate("UPDATE orders SET amount = 0", target="orders-db", policy=SUPPORT)
    assert "note which tables there are is not known: name them by `--schema`, for masks hang on them" in said(capsys)


def test_http_requests_with_headers_and_a_body(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Also from a bundle that selects targets by kind."""
    document = {
        "policy": "p",
        "targets": {"kind": "http"},
        "rules": [{"allow": {"http": {"methods": "POST", "routes": "/pay", "headers": {"X-Kind": "a"}},
                             "when": "op.body.sum < 9"}}],
    }  # fmt: skip
    policy = BundledPolicy.model_validate({**document, "groups": {GROUP: "reviewers"}})
    path = tmp_path / "bundle.json"
    path.write_text(Bundle(tenant="00000000-0000-0000-0000-000000000001", policies=[policy]).render())

    def verdict(*header: str, body: str | None) -> str:
        simulate("POST /pay", target="api", bundle=path, group=("reviewers",), header=header, body=body, json=True)
        return json.loads(capsys.readouterr().out)["verdict"]

    assert verdict("X-Kind: a", body='{"sum": 5}') == "allow"
    assert verdict("X-Kind: a", body='{"sum": 50}') == "deny"
    assert verdict("X-Kind: b", body='{"sum": 5}') == "deny"
    assert verdict(body='{"sum": 5}') == "deny"
    with pytest.raises(WicketgateError, match="not JSON"):
        verdict("X-Kind: a", body="{")
    with pytest.raises(WicketgateError, match="no header"):
        verdict("X-Kind", body=None)
