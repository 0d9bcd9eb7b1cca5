"""Messages tell and link; nothing that a bot wrote is markup in them, and nothing in them acts."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from wicketgate_gateway.api import messages
from wicketgate_gateway.approvals.model import Change
from wicketgate_gateway.contract.gateway import WebhookFormat

MARKUP = "<!channel> <https://evil|Approve> *b* _i_ ```\n[x](https://evil) @here {{DATE(1)}} ${x} \x1b\u202e &lt;"


@pytest.fixture
def request_(desk: Any) -> Any:
    return desk.hold(f"DELETE FROM orders -- {MARKUP}", reason=MARKUP, parameters=())


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}/{value.get('type', '')}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, path)
    elif isinstance(value, str):
        yield path, value


def made(desk: Any, request: Any, kind: WebhookFormat, change: str = "requested") -> Any:
    return messages.payload(kind, Change(7, request.created, change, request.handle, {}), request, desk.config)


def test_slack_reads_no_markup_where_bots_words_stand(desk: Any, request_: Any) -> None:
    message = made(desk, request_, WebhookFormat.SLACK)
    told = [path for path, text in leaves(message) if "evil" in text]
    assert len(told) == 2  # statement and reason
    assert all(path.endswith("/text.text") for path in told)  # elements of rich_text: literal
    assert "mrkdwn" not in json.dumps(message)
    assert message["text"] == f"A statement waits for your answer: {request_.handle}"
    (header,) = [block for block in message["blocks"] if block["type"] == "header"]
    assert header["text"]["type"] == "plain_text"
    assert not {"button", "actions", "input"} & {block["type"] for block in message["blocks"]}


def test_teams_reads_no_markup_where_bots_words_stand(desk: Any, request_: Any) -> None:
    message = made(desk, request_, WebhookFormat.TEAMS)
    told = [(path, text) for path, text in leaves(message) if "evil" in text]
    assert len(told) == 2
    assert all(path.endswith("TextRun.text") for path, _ in told)
    assert all("{{" not in text and "${" not in text for _, text in told)
    card = message["attachments"][0]["content"]
    assert '"TextBlock"' not in json.dumps(card)
    assert [action["type"] for action in card["actions"]] == ["Action.OpenUrl"]
    assert card["actions"][0]["url"] == f"https://gate.example:8444/approvals/{request_.handle}"


@pytest.mark.parametrize("kind", WebhookFormat)
def test_what_does_not_show_is_written_out_and_secrets_stay_here(desk: Any, request_: Any, kind: WebhookFormat) -> None:
    text = json.dumps(made(desk, request_, kind), ensure_ascii=False)
    if kind is not WebhookFormat.JSON:
        assert "\u202e" not in text
        assert "\\u001b" not in text
    assert request_.seal not in text
    assert request_.digest not in text
    for method in ("/approve", "/deny", "POST"):
        assert method not in text


def test_json(desk: Any, request_: Any) -> None:
    message = made(desk, request_, WebhookFormat.JSON, "approved")
    assert message["type"] == "hold.approved"
    assert message["data"]["link"] == f"https://gate.example:8444/approvals/{request_.handle}"
    assert message["data"]["bot"] == "code-review"


def test_a_long_statement_is_said_to_be_a_beginning(desk: Any) -> None:
    held = desk.hold("SELECT " + "1, " * 5000 + "1", parameters=())
    text = made(desk, held, WebhookFormat.JSON)["data"]["statement_beginning"]
    assert text.endswith("… (the beginning alone)")
    assert len(text) < 600


@pytest.mark.parametrize("change", sorted(messages.TOLD))
@pytest.mark.parametrize("kind", WebhookFormat)
def test_every_kind_of_change_in_every_format(desk: Any, request_: Any, kind: WebhookFormat, change: str) -> None:
    assert request_.handle in json.dumps(made(desk, request_, kind, change))
