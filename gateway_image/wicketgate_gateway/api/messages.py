"""What a webhook says: that something is held or decided, and where to look. Never an action, never an approval.

How this works: all that a bot wrote goes where no markup is read: Slack's `rich_text` and `plain_text`, the `TextRun`s
of an adaptive card. Characters that do not show are written out first. Only the beginning of a statement is quoted, and
said to be one: nobody should decide by it. Sources: Slack's Block Kit reference; Microsoft's Adaptive Cards schema 1.5;
Standard Webhooks 1.0, "payload structure".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wicketgate_gateway.api.models import link, moment
from wicketgate_gateway.approvals.display import visible
from wicketgate_gateway.approvals.model import Change, Request
from wicketgate_gateway.contract.gateway import GatewayConfig, WebhookFormat

TOLD = frozenset({"requested", "approved", "denied", "expired", "void"})
"""The kinds of changes that are told."""
MAX_QUOTED = 500
_SAID = {
    "requested": "A statement waits for your answer",
    "approved": "Approved",
    "denied": "Denied",
    "expired": "Lapsed without an answer or a use",
    "void": "Void",
}


def payload(kind: WebhookFormat, change: Change, request: Request, config: GatewayConfig) -> dict[str, Any]:
    """The message on a change of a request."""
    match kind:
        case WebhookFormat.JSON:
            return _json(change, request, config)
        case WebhookFormat.SLACK:
            return _slack(change, request, config)
        case WebhookFormat.TEAMS:
            return _teams(change, request, config)


def _quoted(text: str) -> str:
    shown = visible(text)
    return shown if len(shown) <= MAX_QUOTED else shown[:MAX_QUOTED] + " … (the beginning alone)"


def _facts(change: Change, request: Request) -> Mapping[str, str]:
    facts = {
        "Bot": f"{request.bot}, answered for by {request.owner}",
        "Target": request.target,
        "Rule": request.rule,
        "Reason (the bot's words)": request.reason or "none given",
        "Approvers": f"{request.quorum} of {', '.join(request.approver_names)}",
        "Until": moment(request.expires),
    }
    if change.kind != "requested":
        del facts["Until"], facts["Approvers"]
        answers = ", ".join(f"{vote.name}: {vote.choice.value}" for vote in request.votes)
        facts["Answers"] = answers or request.note or "none"
    return {name: _quoted(value) for name, value in facts.items()}


def _json(change: Change, request: Request, config: GatewayConfig) -> dict[str, Any]:
    return {
        "type": f"hold.{change.kind}",
        "timestamp": moment(change.time),
        "data": {
            "handle": request.handle,
            "link": link(config, request.handle),
            "gateway": config.name,
            "bot": request.bot,
            "bot_id": request.bot_id,
            "owner": request.owner,
            "target": request.target,
            "rule": request.rule,
            "reason": request.reason,
            "statement_beginning": _quoted(request.statement),
            "approvers": list(request.approver_names),
            "quorum": request.quorum,
            "expires": moment(request.expires),
            "answers": [
                {"name": vote.name, "id": vote.approver, "choice": vote.choice.value} for vote in request.votes
            ],
            "note": request.note,
        },
    }


def _slack(change: Change, request: Request, config: GatewayConfig) -> dict[str, Any]:
    title = f"{_SAID[change.kind]}: {request.handle}"

    def text(value: str, **style: bool) -> dict[str, Any]:
        return {"type": "text", "text": value, **({"style": style} if style else {})}

    lines: list[dict[str, Any]] = []
    for name, value in _facts(change, request).items():
        lines += [text(f"{name}: ", bold=True), text(f"{value}\n")]
    return {
        "text": title,  # for notifications; nothing of it is from a bot
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}},
            {
                "type": "rich_text",
                "elements": [
                    {"type": "rich_text_section", "elements": lines},
                    {"type": "rich_text_preformatted", "elements": [text(_quoted(request.statement) or " ")]},
                    {
                        "type": "rich_text_section",
                        "elements": [
                            {"type": "link", "url": link(config, request.handle), "text": "See all of it and answer"}
                        ],
                    },
                ],
            },
        ],
    }


def _teams(change: Change, request: Request, config: GatewayConfig) -> dict[str, Any]:
    def run(value: str, **more: Any) -> dict[str, Any]:
        # `{{DATE(…)}}` and `${…}` are read by some hosts even where Markdown is not.
        return {"type": "TextRun", "text": value.replace("{{", "{ {").replace("${", "$ {"), **more}

    def block(*runs: dict[str, Any]) -> dict[str, Any]:
        return {"type": "RichTextBlock", "inlines": list(runs)}

    title = run(f"{_SAID[change.kind]}: {request.handle}", weight="Bolder", size="Medium")
    facts = [block(run(f"{name}: ", weight="Bolder"), run(value)) for name, value in _facts(change, request).items()]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.5",
        "body": [block(title), *facts, block(run(_quoted(request.statement) or " ", fontType="Monospace"))],
        "actions": [
            {"type": "Action.OpenUrl", "title": "See all of it and answer", "url": link(config, request.handle)}
        ],
    }
    return {
        "type": "message",
        "attachments": [
            {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
        ],
    }
