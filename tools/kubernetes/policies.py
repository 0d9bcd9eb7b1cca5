"""NetworkPolicies as nftables rules, for a test's node: what `networking.k8s.io/v1` says, for the pods that run now.

How this works: a pod that policies of a direction select may do in that direction what one of them allows, and nothing
else; one that none selects may do all. Rules are on forwarded packets, so after kube-proxy chose a pod for a Service.
Answers of connections that were let through pass. What a node does to its own pods (probes) is never forwarded. What
this does not know (named ports, port ranges, SCTP) is refused, since a rule left out would be a hole in a proof.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

Document = dict[str, Any]
TABLE: Final = "network-policies"
PATHS: Final = ("/apis/networking.k8s.io/v1/networkpolicies", "/api/v1/pods", "/api/v1/namespaces")
_OPERATORS: Final = ("In", "NotIn", "Exists", "DoesNotExist")


def ruleset(policies: list[Document], pods: list[Document], namespaces: list[Document]) -> str:
    """What `nft -f -` reads: it replaces the rules of an earlier call. Raises ValueError for what is not known here."""
    known = {n["metadata"]["name"]: n["metadata"].get("labels", {}) for n in namespaces}
    running = [p for p in pods if p["status"].get("podIP") and not p["spec"].get("hostNetwork")]
    chains: list[str] = []
    jumps: list[str] = []
    for pod in running:
        address = pod["status"]["podIP"]
        for direction, key, side in (("Egress", "to", "daddr"), ("Ingress", "from", "saddr")):
            selecting = [p for p in policies if _selects(p, pod) and direction in _types(p)]
            if not selecting:
                continue
            name = f"{direction.lower()}_{address.replace('.', '_')}"
            rules = [
                rule
                for policy in selecting
                for allowed in policy["spec"].get(direction.lower()) or ()
                for rule in _rules(allowed, key, side, policy["metadata"]["namespace"], running, known)
            ]
            chains.append(f"  chain {name} {{\n" + "".join(f"    {r} return\n" for r in rules) + "    drop\n  }\n")
            own = "saddr" if direction == "Egress" else "daddr"
            jumps.append(f"    ip {own} {address} jump {name}\n")
    head = "    type filter hook forward priority 10; policy accept;\n    ct state established,related accept\n"
    body = "".join(chains) + "  chain forward {\n" + head + "".join(jumps) + "  }\n"
    return f"table ip {TABLE} {{}}\ndelete table ip {TABLE}\ntable ip {TABLE} {{\n{body}}}\n"


def matches(selector: Document | None, labels: Document) -> bool:
    """Whether a label selector takes these labels; an empty one takes all. Raises ValueError."""
    selector = selector or {}
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for one in selector.get("matchExpressions") or ():
        key, operator, values = one["key"], one["operator"], one.get("values") or []
        if operator not in _OPERATORS:
            raise ValueError(f"the operator `{operator}` is not known")
        held = {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }[operator]
        if not held:
            return False
    return True


def _types(policy: Document) -> list[str]:
    spec = policy["spec"]
    return spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]


def _selects(policy: Document, pod: Document) -> bool:
    same = policy["metadata"]["namespace"] == pod["metadata"]["namespace"]
    return same and matches(policy["spec"].get("podSelector"), pod["metadata"].get("labels", {}))


def _rules(
    allowed: Document, key: str, side: str, namespace: str, pods: list[Document], namespaces: dict[str, Document]
) -> Iterable[str]:
    peers = allowed.get(key)
    if not peers:
        addresses = [""]
    else:
        addresses = [f"ip {side} {one} " for peer in peers for one in _addresses(peer, namespace, pods, namespaces)]
    ports = allowed.get("ports")
    matched = [_port(port) for port in ports] if ports else [""]
    return [f"{address}{port}" for address in addresses for port in matched]


def _addresses(peer: Document, namespace: str, pods: list[Document], namespaces: dict[str, Document]) -> Iterable[str]:
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        excepted = block.get("except") or []
        if excepted:
            raise ValueError("`except` of an `ipBlock` is not known")
        return [block["cidr"]]
    found: list[str] = []
    for pod in pods:
        where = pod["metadata"]["namespace"]
        if "namespaceSelector" in peer:
            near = matches(peer["namespaceSelector"], namespaces.get(where, {}))
        else:
            near = where == namespace
        if near and matches(peer.get("podSelector"), pod["metadata"].get("labels", {})):
            found.append(pod["status"]["podIP"])
    return found


def _port(port: Document) -> str:
    number, protocol = port.get("port"), port.get("protocol", "TCP").lower()
    if protocol not in ("tcp", "udp") or "endPort" in port or isinstance(number, str):
        raise ValueError(f"the port {port} is not known")
    return f"meta l4proto {protocol}" if number is None else f"{protocol} dport {number}"
