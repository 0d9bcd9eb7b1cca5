"""What all objects of the Kubernetes deployment have in common."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]
GATEWAY, REPLICAS = "gateway", "gateway-replicas"


def named(api: str, kind: str, name: str, namespace: str | None, **more: Any) -> Document:
    """An object with our label; `labels` and `metadata` add to its metadata, the rest is its body."""
    labels = {"app.kubernetes.io/name": "wicketgate", **more.pop("labels", {})}
    metadata: Document = {"name": name, "labels": labels, **more.pop("metadata", {})}
    if namespace is not None:
        metadata["namespace"] = namespace
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **more}
