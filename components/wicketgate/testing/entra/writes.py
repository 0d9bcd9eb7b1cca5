"""Graph's writes: create, update, delete, and references between objects."""

import asyncio
import copy
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from wicketgate.testing.entra import rules
from wicketgate.testing.entra.core import Core
from wicketgate.testing.entra.errors import GraphError, bad_request, not_found
from wicketgate.testing.entra.paths import PathError, parse_path
from wicketgate.testing.entra.resolve import Target
from wicketgate.testing.entra.schema import COMPLEX, ENTITIES, MEMBER_KINDS, OBJECT_LISTS, Entity, Via
from wicketgate.testing.entra.store import Doc

Body = dict[str, Any]
_BOUND = "@odata.bind"
_OWNER_KINDS = frozenset({"user", "servicePrincipal"})
_MAX_BOUND = 20
_busy: set[tuple[int, str]] = set()


def _properties(entity: Entity, body: Body, current: Doc | None = None) -> Body:
    """The body's settable properties; `current` is the object to be changed, None at creation.

    Raises GraphError for unknown, read-only or missing ones.
    """
    known: Body = {}
    creating = current is None
    for name, value in body.items():
        if "@odata." in name or name.startswith("@") or name in entity.navigations:
            continue
        if not entity.knows(name):
            raise bad_request(f"Invalid property '{name}'.")
        if name == "passwordCredentials" and creating and entity.kind == "application" and _fits(name, [], value):
            continue  # `create` makes the secrets
        if name in entity.read_only:
            settable = creating and name == "appId" and entity.kind == "servicePrincipal"
            # Clients send whole objects back (azuread the id of a federated credential): what is as it was, a null or
            # an empty list changes nothing.
            if not settable and value not in (None, []) and (current is None or value != current.get(name)):
                raise bad_request(f"Property '{name}' is read-only and cannot be set.")
            if not settable:
                continue
        if not _fits(name, entity.defaults.get(name), value):
            raise bad_request(f"Invalid value specified for property '{name}' of resource '{entity.kind}'.")
        known[name] = value
    if creating:
        for name in entity.required:
            if known.get(name) is None:
                raise bad_request(f"A value is required for property '{name}' of resource '{entity.kind}'.")
    return known


def _fits(name: str, default: Any, value: Any) -> bool:
    """Whether a value has the shape of the property's default: clients' mistakes end here and in no handler."""
    if value is None:
        return True
    if default is None:
        return name in COMPLEX or (not isinstance(value, dict | list) and value == value)  # not NaN
    if isinstance(default, dict):
        return isinstance(value, dict) and all(_fits(key, default.get(key), one) for key, one in value.items())
    if isinstance(default, list):
        kind = dict if name in OBJECT_LISTS else str
        return isinstance(value, list) and all(isinstance(one, kind) for one in value)
    return isinstance(value, type(default))


def merge(old: Any, new: Any) -> Any:
    """Complex properties merge (RFC 7396 without its deletion by null); lists and values replace."""
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {name: merge(old.get(name), value) for name, value in new.items()}
    return new


def _settled(default: Any, value: Any) -> Any:
    """A null for a list or a complex property, at any depth, means its empty form."""
    if value is None and isinstance(default, list | dict):
        return copy.deepcopy(default)
    if isinstance(value, dict) and isinstance(default, dict):
        return {name: _settled(default.get(name), one) for name, one in value.items()}
    return value


async def create(core: Core, target: Target, body: Body, caller: Doc | None) -> Doc:
    """POST to a collection: stores a new object and its bound references; returns it. Raises GraphError."""
    entity = target.entity
    if entity is None or not entity.writable:
        raise GraphError(405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")
    directory = core.directory
    properties = _properties(entity, body)
    doc = directory.new(entity, {})
    for name, value in properties.items():
        doc[name] = merge(doc.get(name), _settled(entity.defaults.get(name), value))
    if target.navigation is not None and target.parent is not None:
        given = doc.get(target.navigation.key)
        if given is not None and given != target.parent["id"]:
            raise bad_request(f"Property '{target.navigation.key}' must be the id of the object in the URL.")
        doc[target.navigation.key] = target.parent["id"]
    passwords = body.get("passwordCredentials") or [] if entity.kind == "application" else []
    bound = [(name, one) for name in ("owners", "members") for one in _bound_ids(core, entity, body, name)]
    async with _FicWrite(core, target):
        rules.CREATE.get(entity.kind, lambda _directory, _doc: None)(directory, doc)
        directory.save(doc)
    if caller is not None and entity.kind in ("application", "servicePrincipal"):
        directory.store.link("owners", doc["id"], caller["id"])
    for name, one in bound:
        directory.store.link(name, doc["id"], one)
    if passwords:
        shown = [rules.add_password(directory, doc, rules.asked_password(one)) for one in passwords]
        return doc | {"passwordCredentials": shown}
    return doc


def _bound_ids(core: Core, entity: Entity, body: Body, name: str) -> Iterable[str]:
    urls = body.get(f"{name}{_BOUND}")
    if urls is None:
        return []
    if name not in entity.navigations or not isinstance(urls, list):
        raise bad_request(f"Invalid property '{name}{_BOUND}'.")
    if len(urls) > _MAX_BOUND:
        raise bad_request(f"The number of references in '{name}{_BOUND}' exceeds the maximum of {_MAX_BOUND}.")
    return [_checked(core, entity.kind, name, url)["id"] for url in dict.fromkeys(urls)]


def _checked(core: Core, kind: str, name: str, url: Any) -> Doc:
    """The object that a reference URL names, if it may be an owner or member. Raises GraphError."""
    key = reference_id(url)
    doc = core.directory.directory_object(key)
    if doc is None:
        raise not_found(key)
    if doc["_kind"] not in (_OWNER_KINDS if name == "owners" else MEMBER_KINDS):
        raise bad_request(f"Invalid object type '{doc['_kind']}' for the '{name}' of '{kind}'.")
    if kind == "directoryRole" and doc["_kind"] == "group" and not doc["isAssignableToRole"]:
        raise bad_request("Only groups with isAssignableToRole can be members of a directory role.")
    return doc


def reference_id(url: Any) -> str:
    """The object id at the end of a reference URL, whatever its host and version. Raises GraphError."""
    if not isinstance(url, str):
        raise bad_request("Invalid URL format specified in payload.")
    try:
        segments = parse_path(urlsplit(url).path)
    except (PathError, ValueError):
        raise bad_request("Invalid URL format specified in payload.") from None
    last = segments[-1]
    key = last.key if last.key is not None else last.text
    if not rules.is_guid(key):
        raise bad_request("Invalid URL format specified in payload.")
    return key.lower()


class _FicWrite:
    """A write to a federated credential takes a moment; a second one to the same application meanwhile gets 409."""

    def __init__(self, core: Core, target: Target) -> None:
        entity = target.entity.kind if target.entity else ""
        self._core = core
        parent = (target.item or {}).get("_parent") or (target.parent or {}).get("id")
        self._key = (id(core), parent) if entity == "federatedIdentityCredential" and parent else None

    async def __aenter__(self) -> None:
        if self._key is None:
            return
        if self._key in _busy:
            raise GraphError(
                409,
                "Directory_ConcurrencyViolation",
                "Error due to concurrent requests being made to the tenant. Please wait briefly and retry.",
            )
        _busy.add(self._key)
        try:
            await asyncio.sleep(self._core.quirks.fic_write_seconds)
        except BaseException:
            _busy.discard(self._key)
            raise

    async def __aexit__(self, *_: object) -> None:
        if self._key is not None:
            _busy.discard(self._key)


async def update(core: Core, target: Target, body: Body) -> None:
    """PATCH an object. Raises GraphError."""
    before = target.item
    entity = target.entity or _entity_of(before)
    if before is None or not entity.writable or entity.kind in ("appRoleAssignment", "unifiedRoleAssignment"):
        raise GraphError(405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")
    target.entity = entity
    doc = copy.deepcopy(before)
    for name, value in _properties(entity, body, before).items():
        doc[name] = merge(doc.get(name), _settled(entity.defaults.get(name), value))
    if entity.kind == "federatedIdentityCredential":
        _swap_subject(body, doc)
    bound = list(_bound_ids(core, entity, body, "members"))
    if entity.kind == "servicePrincipal" and "displayName" in body and core.directory.application_of(before):
        doc["displayName"] = before["displayName"]
    async with _FicWrite(core, target):
        rules.UPDATE.get(entity.kind, lambda _directory, _before, _doc: None)(core.directory, before, doc)
        core.directory.save(doc)
    for one in bound:
        if not core.directory.store.link("members", doc["id"], one):
            raise _already("members")


def _swap_subject(body: Body, doc: Doc) -> None:
    """Naming a subject drops the expression, and the other way round."""
    if body.get("subject") is not None and body.get("claimsMatchingExpression") is None:
        doc["claimsMatchingExpression"] = None
    elif body.get("claimsMatchingExpression") is not None and body.get("subject") is None:
        doc["subject"] = None


def _entity_of(doc: Doc | None) -> Entity:

    if doc is None:
        raise GraphError(405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")
    return ENTITIES[doc["_kind"]]


async def delete(core: Core, target: Target) -> None:
    """DELETE an object, or for good from deletedItems. Raises GraphError."""
    doc = target.item
    if target.ref:
        remove_reference(core, target)
        return
    entity = _entity_of(doc)
    if doc is None or not entity.writable or entity.kind == "directoryRole":
        raise GraphError(405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")
    if target.pseudo == "deletedItems":
        core.directory.purge(doc)
        return
    if target.navigation is not None and target.navigation.via is not Via.CHILD:
        raise bad_request("Write requests are only allowed on contained entities.")
    target.entity = entity
    async with _FicWrite(core, target):
        core.directory.delete(doc)


def _link_name(target: Target) -> str:
    if target.navigation is None or target.navigation.via is not Via.LINK:
        raise bad_request("The navigation does not take references.")
    return target.navigation.name


def add_reference(core: Core, target: Target, body: Body) -> None:
    """POST members/$ref or owners/$ref. Raises GraphError."""
    name = _link_name(target)
    parent = target.parent
    if parent is None:
        raise bad_request("The navigation does not take references.")
    member = _checked(core, parent["_kind"], name, body.get("@odata.id"))
    if parent["_kind"] == "group" and name == "members":
        if "DynamicMembership" in parent["groupTypes"]:
            raise bad_request("Insufficient privileges to complete the operation: the membership is dynamic.")
        if member["id"] == parent["id"]:
            raise bad_request("A group cannot be a member of itself.")
    if not core.directory.store.link(name, parent["id"], member["id"]):
        raise _already(name)


def _already(name: str) -> GraphError:
    return bad_request(
        f"One or more added object references already exist for the following modified properties: '{name}'."
    )


def remove_reference(core: Core, target: Target) -> None:
    """DELETE members/ID/$ref or owners/ID/$ref. Raises GraphError."""
    name = _link_name(target)
    parent, member = target.parent, target.item
    if parent is None or member is None:
        raise bad_request("The object to remove is missing in the URL.")
    store = core.directory.store
    owners = store.targets("owners", parent["id"])
    if name == "owners" and parent["_kind"] == "group" and owners == [member["id"]] and member["_kind"] == "user":
        raise bad_request("The group must have at least one owner, hence this owner cannot be removed.")
    store.unlink(name, parent["id"], member["id"])
