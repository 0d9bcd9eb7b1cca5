"""A held request to Kubernetes: what people are shown, what an approval is bound to, and the wait.

How this works: the operation's canonical text holds all that goes out: method, path and parameters, the body's form and
the body itself. What runs is the request that led to exactly this text. Of values of Secrets it holds keyed digests:
they are bound to the approval, and neither people nor the control store get them. Exec and attach are the same whether
they come by GET or POST. Approvers see it as a diff of the object where the API server says by a dry run what would
become of it, and the pod that a command would run in.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import hmac
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from wicketgate_gateway.approvals.model import Claim, Held, Request
from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.masking import kubernetes as secrets
from wicketgate_gateway.session.holds import Answer, Blast, Hold, until
from wicketgate_gateway.wire.kubernetes.request import Request as Wanted

if TYPE_CHECKING:
    from wicketgate_gateway.session.kubernetes import KubernetesSession
    from wicketgate_gateway.session.kubernetes_request import Asked

MAX_DIFF = 64 * 1024


@dataclass(frozen=True, slots=True)
class Approved:
    """A held request that may go out now, once."""

    hold: Hold
    claim: Claim

    @property
    def handle(self) -> str:
        """The approval's handle."""
        return self.claim.request.handle

    def verdict(self, verdict: Verdict) -> Verdict:
        """The verdict on record."""
        return replace(verdict, code="hold-approved", reason=f"{verdict.reason}: `{self.handle}`")

    def still(self, session: KubernetesSession, asked: Asked) -> bool:
        """Whether what was approved is what would be held now, by the policy in force."""
        request = self.claim.request
        terms = asked.verdict.hold
        now = held(session, asked)
        return (
            terms is not None
            and terms.rule == request.rule
            and (request.statement, dict(request.facts), request.policy, request.bot_id)
            == (now.statement, dict(now.facts), now.policy, now.bot_id)
        )


def canonical(asked: Asked, key: bytes) -> str:
    """The operation, whole, as one text: JSON, which people can read. `key` is for digests of values of Secrets."""

    def sealed(value: bytes) -> str:
        return f"hmac-sha256:{hmac.digest(key, value, 'sha256').hex()} ({len(value)} bytes)"

    request, body = asked.request, asked.body
    hidden = secrets.concerns(request)
    method = "CONNECT" if request.connects else request.method
    document: dict[str, Any] = {"do": str(asked.point), "method": method, "target": request.target}
    if body is not None and not body.opaque:
        document["type"] = body.form
        document["body"] = secrets.sealed(body.value, sealed) if hidden else body.value
    elif body is not None:
        document["protobuf"] = sealed(body.raw) if hidden else body.raw.hex()
    elif asked.raw:
        document["raw"] = asked.raw.hex()
    return json.dumps(document, indent=1, ensure_ascii=False)


def held(session: KubernetesSession, asked: Asked) -> Held:
    """The operation as it is stored."""
    inner = session.session
    bot_id = inner.principal.object_id
    bot = inner.gate.policies().bots.get(bot_id)
    return Held(
        bot_id=bot_id,
        bot=inner.bot,
        owner=bot.owner if bot is not None else "",
        owner_id=str(bot.owner_id or "") if bot is not None else "",
        target=inner.opening.target_name,
        protocol=inner.opening.protocol,
        session=inner.id,
        statement=canonical(asked, inner.gate.mask_key),
        parameters=(),
        facts={},
        policy=inner.policy.digest,
        reason=asked.reason,
    )


def reach(asked: Asked, before: Any, after: Any) -> Blast:
    """What approvers see beside the operation: in `plan` the diff, or the pod that a command would run in."""
    request = asked.request
    if request.connects:
        return {"note": str(asked.point), "plan": "\n".join(_pod(before))}
    if request.verb == "delete":
        plan = "" if before is None else difference(before, {}, request)
    elif after is None:
        # As a diff this would read as if the object went away.
        plan = "" if before is None else "(the API server's dry run did not tell what would become of it)"
    else:
        plan = difference(before, after, request)
    return {"note": str(asked.point), **({"plan": plan} if plan else {})}


def difference(before: Any, after: Any, request: Wanted) -> str:
    """A unified diff of an object, without what the API server keeps about it and without values of Secrets."""
    texts: list[list[str]] = []  # as it is, as it would be
    for value in (before, after):
        if isinstance(value, dict):
            value = json.loads(json.dumps(value))
            secrets.mask(value, request)
            metadata = value.get("metadata")
            if isinstance(metadata, dict):
                for key in ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"):
                    metadata.pop(key, None)
                annotations = metadata.get("annotations")
                if isinstance(annotations, dict):
                    annotations.pop("kubectl.kubernetes.io/last-applied-configuration", None)
            value.pop("status", None)
        texts.append(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).splitlines() if value else [])
    lines = list(difflib.unified_diff(texts[0], texts[1], "as it is", "as it would be", lineterm=""))
    text = "\n".join(lines) or "(no change)"
    return text if len(text) <= MAX_DIFF else text[:MAX_DIFF] + "\n… (cut)"


def _pod(pod: Any) -> list[str]:
    if not isinstance(pod, dict):
        return ["(the pod could not be looked at)"]
    spec, phase = pod.get("spec") or {}, (pod.get("status") or {}).get("phase", "?")
    lines = [f"pod: {phase}, on node {spec.get('nodeName', '?')}, account {spec.get('serviceAccountName', '?')}"]
    containers = [c for c in spec.get("containers") or () if isinstance(c, dict)]
    lines += [f"container {container.get('name')}: {container.get('image')}" for container in containers]
    owners = (pod.get("metadata") or {}).get("ownerReferences") or ()
    lines += [f"owned by {owner.get('kind')} {owner.get('name')}" for owner in owners if isinstance(owner, dict)]
    return lines


async def ask(
    session: KubernetesSession, asked: Asked, *, tell: Callable[[str], None], gone: Coroutine[Any, Any, None]
) -> Approved | Verdict:
    """Ask people and wait; `tell` gets lines for the client, `gone` returns once it hung up."""
    verdict = asked.verdict
    terms, holds = verdict.hold, session.session.gate.holds
    if terms is None or holds is None:
        gone.close()
        return _refused(verdict, "approvals-unavailable", "nobody can be asked for approval here", verdict.remedy)
    answered = asyncio.Event()

    def told(request: Request) -> None:
        names = " or ".join(f"`{name}`" for name in request.approver_names)
        people = "one person" if request.quorum == 1 else f"{request.quorum} people"
        tell(f"wicketgate: held for approval as `{request.handle}`: rule {request.rule}")
        tell(
            f"wicketgate: asked: {people} of {names}, until {until(request.expires)}; waiting {terms.wait:.0f} s; "
            f"`wicketgate approvals approve {request.handle}` lets it run"
        )

    async def measure() -> Blast | None:
        return reach(asked, *await session.preview(asked))

    one = held(session, asked)
    looks = session.session.detecting
    if looks is not None and looks.holds_secret(f"{one.statement}\n\n{one.reason}".encode(errors="replace")):
        gone.close()
        said = "this is held for approval, and there is a key or token in it, which nobody may be shown"
        return _refused(verdict, "hold-not-showable", said, "send it without the key")
    hold = holds.begin(
        one, terms, shown=one.statement, measure=measure, asked=told, answered=answered.set
    )  # fmt: skip
    leaving = asyncio.ensure_future(gone)
    waiting = asyncio.ensure_future(answered.wait())
    try:
        await asyncio.wait((leaving, waiting), return_when=asyncio.FIRST_COMPLETED)
        if not answered.is_set():
            raise ConnectionError("the client hung up while its request waited for approval")
    except BaseException:
        hold.abandon()
        raise
    finally:
        for task in (leaving, waiting):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    answer = hold.answer or Answer(code="internal-error", message="the hold failed inside the gateway")
    if answer.claim is None:
        message = answer.message.replace("the statement did not run", "the request did not run")
        remedy = answer.remedy.replace("statement", "request")
        if answer.code == "hold-reason-missing":
            remedy = "say why: set `WICKETGATE_REASON` for kubectl and Helm; libraries send `X-Wicketgate-Reason`"
        return _refused(verdict, answer.code, message, remedy)
    return Approved(hold, answer.claim)


def _refused(verdict: Verdict, code: str, reason: str, remedy: str) -> Verdict:
    return Verdict(Effect.HOLD, verdict.rule, reason, remedy, code, record=verdict.record)
