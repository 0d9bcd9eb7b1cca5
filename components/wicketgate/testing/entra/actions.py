"""Graph's actions: memberships, objects by id, client secrets, restore."""

from typing import Any

from wicketgate.testing.entra import rules
from wicketgate.testing.entra.core import Core
from wicketgate.testing.entra.errors import bad_request
from wicketgate.testing.entra.query import Query
from wicketgate.testing.entra.resolve import Target
from wicketgate.testing.entra.store import Doc
from wicketgate.testing.entra.views import View

_MAX_CHECKED = 20
_MAX_IDS = 1000


def perform(view: View, target: Target, body: dict[str, Any]) -> dict[str, Any] | None:
    """Runs `target.action`; the answer's body, or None for 204. Raises GraphError."""
    core, item = view.core, target.item
    match target.action:
        case "getByIds" if target.pseudo == "directoryObjects" and item is None:
            return _get_by_ids(view, body)
        case "restore" if target.pseudo == "deletedItems" and item is not None:
            restored = core.directory.restore(item)
            return {"@odata.context": f"{view.base}/$metadata#directoryObjects/$entity"} | view.object(
                restored, Query(), typed=True
            )
        case "addPassword" if item is not None and item["_kind"] in ("application", "servicePrincipal"):
            given = body.get("passwordCredential") or {}
            if not isinstance(given, dict):
                raise bad_request("Invalid value specified for property 'passwordCredential'.")
            answer = rules.add_password(core.directory, item, rules.asked_password(given))
            return {"@odata.context": f"{view.base}/$metadata#microsoft.graph.passwordCredential"} | answer
        case "removePassword" if item is not None and item["_kind"] in ("application", "servicePrincipal"):
            rules.remove_password(core.directory, item, body.get("keyId"))
            return None
        case "checkMemberGroups" | "checkMemberObjects" if item is not None:
            return _strings(view, _check(core, item, body, groups_only=target.action == "checkMemberGroups"))
        case "getMemberGroups" | "getMemberObjects" if item is not None:
            enabled_only = body.get("securityEnabledOnly", False) is True
            found = [
                one["id"] for one in core.directory.groups_of(item["id"]) if one["securityEnabled"] or not enabled_only
            ]
            return _strings(view, found)
        case _:
            raise bad_request(f"Resource not found for the segment '{target.action}'.", "BadRequest")


def _strings(view: View, values: list[str]) -> dict[str, Any]:
    return {"@odata.context": f"{view.base}/$metadata#Collection(Edm.String)", "value": values}


def _check(core: Core, item: Doc, body: dict[str, Any], *, groups_only: bool) -> list[str]:
    """Of the asked ids those that the object is a member of, by nesting too."""
    asked = body.get("groupIds" if groups_only else "ids")
    if not isinstance(asked, list) or not all(isinstance(one, str) for one in asked):
        raise bad_request("Invalid value specified for the ids of the request.")
    if len(asked) > _MAX_CHECKED:
        raise bad_request(f"The number of ids exceeds the maximum of {_MAX_CHECKED}.")
    if not all(rules.is_guid(one) for one in asked):
        raise bad_request("Invalid GUID specified.")
    groups = {one["id"] for one in core.directory.groups_of(item["id"])}
    if not groups_only:
        groups |= set(core.directory.store.sources("members", item["id"]))
    return [one for one in dict.fromkeys(asked) if one.lower() in groups]


def _get_by_ids(view: View, body: dict[str, Any]) -> dict[str, Any]:
    ids, types = body.get("ids"), body.get("types") or []
    if not isinstance(ids, list) or len(ids) > _MAX_IDS:
        raise bad_request(f"The 'ids' must be a list of at most {_MAX_IDS}.")
    wanted = {str(one).casefold() for one in types}
    found = (view.core.directory.directory_object(str(one)) for one in ids)
    docs = [doc for doc in found if doc and (not wanted or wanted & {doc["_kind"].casefold(), "directoryobject"})]
    return {
        "@odata.context": f"{view.base}/$metadata#directoryObjects",
        "value": [view.object(doc, Query(), typed=True) for doc in docs],
    }
