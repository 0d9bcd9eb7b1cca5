"""Audit events in the terms of the Open Cybersecurity Schema Framework (OCSF 1.5, schema.ocsf.io).

How this works: what a bot did with a database is Datastore Activity (6005), who came in or was refused Authentication
(3002), the gateway's own start and recovery are Application Lifecycle (6002), and what people and policies did is API
Activity (6003), which is also what a kind of event gets that has no row here. Fields that OCSF has no place for are in
`unmapped`, so nothing is lost. Times are milliseconds, as OCSF asks.
"""

from __future__ import annotations

import ipaddress
from typing import Any

import msgspec

from wicketgate_gateway.audit.events import (
    AgentConnected,
    AgentCredentials,
    AgentDisconnected,
    AgentRefused,
    AuditEvent,
    GatewayStarted,
    JournalRecovered,
    Operation,
    OperationFinished,
    PolicyRefused,
    SessionEnded,
    SessionKilled,
    SessionRefused,
    SessionStarted,
)

VERSION = "1.5.0"
_READ, _UPDATE, _CONNECT, _QUERY, _WRITE, _CREATE, _DELETE, _OTHER = 1, 2, 3, 4, 5, 6, 7, 99
_BY_KIND = {"select": _READ, "insert": _WRITE, "update": _UPDATE, "delete": _DELETE, "merge": _WRITE, "create": _CREATE}
_INFORMATIONAL, _LOW, _MEDIUM, _HIGH = 1, 2, 3, 4
_SUCCESS, _FAILURE = 1, 2
_OIDC = 5
_HTTP_CREATE, _HTTP_UPDATE = 1, 3
_API = {"hold-requested": _HTTP_CREATE, "kill-ordered": _HTTP_CREATE, "policy-loaded": _HTTP_UPDATE}


def to_ocsf(event: AuditEvent, started: SessionStarted | None, uid: str) -> dict[str, Any]:
    """One event; `started` is its session's, where there is one, and `uid` what tells it from all others."""
    match event:
        case Operation():
            return _operation(event, started, uid)
        case OperationFinished():
            return _finished(event, started, uid)
        case SessionStarted() | SessionEnded() | SessionRefused() | SessionKilled():
            return _session(event, started, uid)
        case AgentConnected() | AgentCredentials() | AgentDisconnected() | AgentRefused():
            return _agent(event, uid)
        case GatewayStarted() | JournalRecovered():
            start = isinstance(event, GatewayStarted)
            trouble = not start or bool(event.repaired)
            made = _base(6002, 3 if start else 99, event, uid, _HIGH if trouble else _INFORMATIONAL)
            return made | {"app": {"name": "wicketgate", "vendor_name": "Wicketgate"}, "unmapped": _fields(event)}
        case _:
            return _api(event, started, uid)


def _base(class_uid: int, activity: int, event: AuditEvent, uid: str, severity: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "version": VERSION,
        "uid": uid,
        "product": {"name": "Wicketgate", "vendor_name": "Wicketgate"},
        "event_code": str(event.__struct_config__.tag),
    }
    if event.session:
        metadata["correlation_uid"] = event.session
    return {
        "class_uid": class_uid,
        "category_uid": class_uid // 1000,
        "activity_id": activity,
        "type_uid": class_uid * 100 + activity,
        "severity_id": severity,
        "time": event.time // 1_000_000,
        "metadata": metadata,
    }


def _fields(event: AuditEvent, *without: str) -> dict[str, Any]:
    found = msgspec.to_builtins(event)
    return {key: value for key, value in found.items() if key not in ("event", "time", "session", *without)}


def _user(name: str, uid: str) -> dict[str, Any]:
    user: dict[str, Any] = {"type_id": 3, "type": "System"}
    if name:
        user["name"] = name
    if uid:
        user["uid"] = uid
    if not name and not uid:
        user["name"] = "unknown"
    return user


def _actor(started: SessionStarted | None, bot: str = "") -> dict[str, Any]:
    actor: dict[str, Any] = {"user": _user(started.bot if started else bot, started.bot_id if started else "")}
    if started is not None:
        actor["session"] = {"uid": started.session, "credential_uid": started.token_id}
        if started.client:
            actor["app_name"] = started.client
    return actor


def _peer(peer: str) -> dict[str, Any]:
    host, _, port = peer.rpartition(":")
    try:
        address = str(ipaddress.ip_address(host.strip("[]").partition("%")[0]))
    except ValueError:
        return {"name": peer or "unknown"}
    found: dict[str, Any] = {"ip": address}
    if port.isascii() and port.isdecimal() and int(port) <= 65535:
        found["port"] = int(port)
    return found


def _store(target: str, relations: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"database": {"name": target or "unknown", "type_id": 1}, "type_id": 1}
    if len(relations) == 1:
        found["table"] = {"name": relations[0]}
    return found


def _operation(event: Operation, started: SessionStarted | None, uid: str) -> dict[str, Any]:
    allowed = event.effect == "allow"
    activity = _BY_KIND.get(event.kinds[0], _QUERY) if len(event.kinds) == 1 else _QUERY
    made = _base(6005, activity, event, uid, _INFORMATIONAL if allowed else _MEDIUM)
    made |= _store(event.target or (started.target if started else ""), event.relations)
    made["metadata"]["profiles"] = ["security_control"]
    # 1 allowed, 2 denied; a held one is neither yet.
    made["action_id"] = {"allow": 1, "deny": 2}.get(event.effect, 99)
    made["disposition_id"] = {"allow": 1, "deny": 2}.get(event.effect, 99)
    if made["action_id"] == 99:
        made |= {"action": event.effect, "disposition": event.effect}
    made["policy"] = {"name": event.rule or "none", "uid": event.policy or "none"}
    made["actor"] = _actor(started, event.bot)
    made["src_endpoint"] = _peer(started.peer if started else "")
    made["query_info"] = {"query_string": event.statement, "uid": f"{event.session}/{event.seq}"}
    made |= {"status_id": _SUCCESS if allowed else _FAILURE}
    if event.code or event.reason:
        made |= {"status_code": event.code, "status_detail": event.reason}
    made["unmapped"] = _fields(event, "statement", "effect", "rule", "policy", "code", "reason", "bot", "target")
    return made


def _finished(event: OperationFinished, started: SessionStarted | None, uid: str) -> dict[str, Any]:
    good = event.outcome == "ok"
    made = _base(6005, _QUERY, event, uid, _INFORMATIONAL if good else _LOW)
    made |= _store(started.target if started else "", [])
    made["actor"] = _actor(started)
    made["src_endpoint"] = _peer(started.peer if started else "")
    made |= {"status_id": _SUCCESS if good else _FAILURE, "status_code": event.sqlstate or event.outcome}
    if event.rows is not None:
        made["count"] = max(1, event.rows)
    made["duration"] = event.duration_us // 1000
    made["unmapped"] = _fields(event)
    return made


def _session(
    event: SessionStarted | SessionEnded | SessionRefused | SessionKilled, started: SessionStarted | None, uid: str
) -> dict[str, Any]:
    refused = event if isinstance(event, SessionRefused) else None
    of = event if isinstance(event, SessionStarted) else started
    leaves = isinstance(event, SessionEnded | SessionKilled)
    severity = _MEDIUM if refused or isinstance(event, SessionKilled) else _INFORMATIONAL
    made = _base(3002, 2 if leaves else 1, event, uid, severity)
    made["status_id"] = _FAILURE if refused else _SUCCESS
    if refused is not None:
        made |= {"status_code": refused.code, "status_detail": refused.reason}
    elif leaves:
        made["status_detail"] = getattr(event, "reason", "")
    name = refused.bot if refused else of.bot if of else ""
    made["user"] = _user(name, refused.bot_id if refused else of.bot_id if of else "")
    made["service"] = {"name": (refused.target if refused else of.target if of else "") or "unknown"}
    made["src_endpoint"] = _peer(refused.peer if refused else of.peer if of else "")
    made |= {"auth_protocol_id": _OIDC, "is_remote": True}
    if event.session:
        made["session"] = {"uid": event.session, "credential_uid": of.token_id if of else ""}
    made["unmapped"] = _fields(event, "bot", "bot_id", "target", "peer", "code", "reason")
    return made


def _agent(event: AgentConnected | AgentCredentials | AgentDisconnected | AgentRefused, uid: str) -> dict[str, Any]:
    refused = isinstance(event, AgentRefused)
    activity = 99 if isinstance(event, AgentCredentials) else 2 if isinstance(event, AgentDisconnected) else 1
    made = _base(3002, activity, event, uid, _MEDIUM if refused else _INFORMATIONAL)
    if activity == _OTHER:
        made["activity_name"] = str(event.__struct_config__.tag)
    made["status_id"] = _FAILURE if refused else _SUCCESS
    if refused:
        made |= {"status_code": event.code, "status_detail": event.reason}
    made["user"] = _user(getattr(event, "agent", ""), getattr(event, "agent_id", ""))
    made["service"] = {"name": "wicketgate agents"}
    made["src_endpoint"] = _peer(getattr(event, "peer", ""))
    made["unmapped"] = _fields(event)
    return made


def _api(event: AuditEvent, started: SessionStarted | None, uid: str) -> dict[str, Any]:
    tag = str(event.__struct_config__.tag)
    severity = _HIGH if isinstance(event, PolicyRefused) or tag.startswith("kill") else _INFORMATIONAL
    made = _base(6003, _API.get(tag, _OTHER), event, uid, severity)
    if made["activity_id"] == _OTHER:
        made["activity_name"] = tag
    made["api"] = {"operation": tag, "service": {"name": "wicketgate"}}
    who = next((str(value) for name in ("name", "by") if (value := getattr(event, name, ""))), "")
    ident = next((str(value) for name in ("approver", "by_id", "bot_id") if (value := getattr(event, name, ""))), "")
    made["actor"] = {"user": _user(who or getattr(event, "bot", "") or "wicketgate", ident)}
    made["src_endpoint"] = _peer(started.peer if started else "")
    made["unmapped"] = _fields(event)
    return made
