"""Values of Secrets in what an API server answers: objects, lists, tables and watches, masked wherever they stand.

How this works: a Secret is known by its kind wherever it is within an answer, and by the request where items of a list
carry no kind. Its values become one fixed value, which is base64 like any other, so that clients read on; what kubectl
remembers of the last `apply` goes away, since it holds the values again. Keys stay: they tell what there is. A Secret
with such a value is not written back (`holds_masked`): a bot that edits what it read would destroy what it never saw.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from typing import Any, Final

from wicketgate_gateway.wire.kubernetes.body import canonical
from wicketgate_gateway.wire.kubernetes.request import Request

TEXT: Final = "masked-by-wicketgate"
VALUE: Final = base64.b64encode(TEXT.encode()).decode()
"""What stands for each value under `data`."""
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


def concerns(request: Request) -> bool:
    """Whether the answer to a request is Secrets, or credentials that the API server makes."""
    return request.group == "" and (request.resource == "secrets" or request.full_resource == "serviceaccounts/token")


def mask(value: Any, request: Request) -> bool:
    """Mask a decoded answer in place; whether there was anything to mask."""
    if not isinstance(value, dict | list):
        return False
    changed = False
    if concerns(request) and isinstance(value, dict):
        for item in _items(value):
            changed = _secret(item, token=request.subresource == "token") or changed
    elif concerns(request) and isinstance(value, list):
        # A JSON patch: which of its values go where is not looked at.
        for step in value:
            if isinstance(step, dict) and "value" in step:
                step["value"] = TEXT
                changed = True
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            kind = item.get("kind")
            if kind == "Secret" or (kind == "TokenRequest" and "status" in item):
                changed = _secret(item, token=kind == "TokenRequest") or changed
            elif kind == "SecretList":
                for secret in _items(item):
                    changed = _secret(secret, token=False) or changed
            pending += item.values()
        elif isinstance(item, list):
            pending += item
    return changed


def sealed(value: Any, seal: Callable[[bytes], str]) -> Any:
    """The body of a write of a Secret (an object, or a patch of any kind) with `seal` of each value in its place.

    Unlike `mask` it keeps values apart that differ, and what is deleted (`null`) stays so.
    """
    found = copy.deepcopy(value)
    if isinstance(found, list):
        for step in found:
            if isinstance(step, dict) and "value" in step:
                step["value"] = seal(canonical(step["value"]))
        return found
    for key in ("data", "stringData"):
        values = found.get(key)
        if isinstance(values, dict):
            found[key] = {name: one if one is None else seal(canonical(one)) for name, one in values.items()}
        elif values is not None:
            found[key] = seal(canonical(values))
    metadata = found.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if isinstance(annotations, dict) and annotations.get(_LAST_APPLIED) is not None:
        annotations[_LAST_APPLIED] = seal(canonical(annotations[_LAST_APPLIED]))
    return found


def holds_masked(value: Any) -> bool:
    """Whether something that is written has a value that we gave out masked."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending += item.values()
        elif isinstance(item, list):
            pending += item
        elif isinstance(item, str) and (item in (VALUE, TEXT) or (VALUE in item and len(item) < 1 << 20)):
            return True
    return False


def _items(value: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects of an answer: itself, a list's, a table's rows', a watch event's."""
    found: list[Any] = [value]
    items = value.get("items")
    found += items if isinstance(items, list) else []
    rows = value.get("rows")
    found += [row.get("object") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    inner = value.get("object")
    if isinstance(inner, dict):
        found += _items(inner)
    return [item for item in found if isinstance(item, dict)]


def _secret(item: dict[str, Any], *, token: bool) -> bool:
    changed = False
    for key in ("data", "stringData"):
        values = item.get(key)
        if isinstance(values, dict):
            for name in values:
                values[name] = VALUE if key == "data" else TEXT
                changed = True
    metadata = item.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if isinstance(annotations, dict) and annotations.pop(_LAST_APPLIED, None) is not None:
        changed = True
    if token and isinstance(status := item.get("status"), dict) and status.get("token"):
        status["token"] = TEXT
        changed = True
    return changed
