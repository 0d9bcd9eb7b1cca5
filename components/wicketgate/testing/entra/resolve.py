"""Follows a Graph path through the table of entities to what a request is about.

The walk ends at a collection or at an object, perhaps with `$ref`, `$count` or an action behind it. What does not exist
is 404 here, in the real service's words, before any method is looked at.
"""

from dataclasses import dataclass, field

from wicketgate.testing.entra.core import Core
from wicketgate.testing.entra.errors import GraphError, bad_request, not_found
from wicketgate.testing.entra.paths import Segment
from wicketgate.testing.entra.schema import COLLECTIONS, DIRECTORY_KINDS, ENTITIES, Entity, Navigation, Via
from wicketgate.testing.entra.store import Doc

ACTIONS = frozenset(
    {
        "addPassword",
        "removePassword",
        "checkMemberGroups",
        "checkMemberObjects",
        "getMemberGroups",
        "getMemberObjects",
        "getByIds",
        "restore",
    }
)
_PSEUDO = frozenset({"directoryObjects", "deletedItems"})


@dataclass
class Target:
    """Where a path leads. `item` is None for a collection; `parent` and `navigation` say what it was reached from."""

    entity: Entity | None
    item: Doc | None = None
    parent: Doc | None = None
    navigation: Navigation | None = None
    navigation_name: str = ""
    cast: str | None = None
    pseudo: str | None = None
    ref: bool = False
    count: bool = False
    action: str | None = None
    context: list[str] = field(default_factory=list[str])

    @property
    def polymorphic(self) -> bool:
        """Whether objects here need their `@odata.type`."""
        if self.cast:
            return False
        return self.pseudo is not None or (self.navigation is not None and self.navigation.polymorphic)


def resolve(core: Core, segments: list[Segment], caller_oid: str, *, is_user: bool) -> Target:
    """Walks the path. Raises GraphError 400 for an unknown segment and 404 for an unknown object."""
    segments = _merge_root(segments)
    first, *rest = segments
    if first.text == "me":
        user = core.directory.find("user", caller_oid) if is_user else None
        if user is None:
            raise bad_request("/me request is only valid with delegated authentication flow.", "BadRequest")
        target = Target(ENTITIES["user"], item=user, context=["users"])
    elif first.text in _PSEUDO:
        target = Target(None, pseudo=first.text, context=[first.text])
    elif first.text in COLLECTIONS:
        target = Target(COLLECTIONS[first.text], context=[first.text])
    else:
        raise bad_request(f"Resource not found for the segment '{first.text}'.", "BadRequest")
    if first.key is not None:
        target = _keyed(core, target, first.key, first.key_name)
    for segment in rest:
        target = _step(core, target, segment)
    return target


def _merge_root(segments: list[Segment]) -> list[Segment]:
    """`roleManagement/directory/X` and `directory/deletedItems` are one step each in the table."""
    names = [segment.text for segment in segments]
    if names[:2] == ["roleManagement", "directory"] and len(segments) > 2:
        third = segments[2]
        return [Segment("/".join(names[:3]), third.key, third.key_name), *segments[3:]]
    if names[:2] == ["directory", "deletedItems"]:
        return segments[1:]
    return segments


def _step(core: Core, target: Target, segment: Segment) -> Target:
    text = segment.text
    if target.ref or target.count or target.action:
        raise bad_request(f"Resource not found for the segment '{text}'.", "BadRequest")
    if text == "$ref" and target.navigation is not None:
        target.ref = True
        return target
    if text == "$count" and target.item is None:
        target.count = True
        return target
    short = text.removeprefix("microsoft.graph.").removeprefix("graph.")
    if short in ACTIONS:
        target.action = short
        return target
    if segment.cast is not None:
        return _cast(target, segment)
    if target.item is None:
        return _keyed(core, target, text, None)
    entity = ENTITIES[target.item["_kind"]]
    if entity.kind == "user" and text == "manager":
        raise not_found("manager")  # nobody here has one, and azuread's getUser asks
    navigation = entity.navigations.get(text)
    if navigation is None:
        raise bad_request(f"Resource not found for the segment '{text}'.", "BadRequest")
    step = Target(
        ENTITIES[navigation.name] if navigation.via is Via.CHILD else None,
        parent=target.item,
        navigation=navigation,
        navigation_name=text,
        context=[*target.context, f"('{target.item['id']}')", text],
    )
    return step if segment.key is None else _keyed(core, step, segment.key, segment.key_name)


def _cast(target: Target, segment: Segment) -> Target:
    kinds = {kind.casefold(): kind for kind in (*DIRECTORY_KINDS, "directoryObject")}
    kind = kinds.get((segment.cast or "").casefold())
    if kind is None:
        raise bad_request(f"Resource not found for the segment '{segment.text}'.", "BadRequest")
    if target.item is not None:
        if kind not in (target.item["_kind"], "directoryObject"):
            raise not_found(target.item["id"])
        return target
    target.cast = None if kind == "directoryObject" else kind
    return target


def members(core: Core, target: Target) -> list[Doc]:
    """The objects in a collection, cast applied, before any query option."""
    directory = core.directory
    if target.pseudo == "deletedItems":
        docs = [doc for kind in DIRECTORY_KINDS for doc in directory.store.all(kind) if doc.get("_deleted")]
    elif target.pseudo == "directoryObjects":
        docs = [doc for kind in DIRECTORY_KINDS for doc in directory.all(kind)]
    elif target.navigation is not None and target.parent is not None:
        docs = directory.related(target.parent, target.navigation)
    elif target.entity is not None:
        docs = list(directory.all(target.entity.kind))
    else:
        docs = []
    return [doc for doc in docs if target.cast in (None, doc["_kind"])]


def _keyed(core: Core, target: Target, key: str, key_name: str | None) -> Target:
    doc = _find(core, target, key, key_name)
    if doc is None:
        raise not_found(key)
    target.item = core.directory.store.get(doc["_kind"], doc["id"])
    return target


def _find(core: Core, target: Target, key: str, key_name: str | None) -> Doc | None:
    directory = core.directory
    if key_name is not None:
        if target.entity is None or key_name not in (*target.entity.alternate_keys, "id"):
            raise GraphError(400, "BadRequest", f"Resource not found for the segment '{key_name}'.")
        candidates = members(core, target)
        return next((one for one in candidates if str(one.get(key_name) or "").casefold() == key.casefold()), None)
    if target.navigation is None and target.entity is not None:
        found = directory.find(target.entity.kind, key)
        if found is None and target.entity.kind == "user":
            found = directory.find_by("user", "userPrincipalName", key)
        return found
    if target.pseudo == "directoryObjects":
        return directory.directory_object(key)
    if target.pseudo == "deletedItems":
        return directory.deleted(key)
    names = ("id", "name") if target.entity is not None and "name" in target.entity.alternate_keys else ("id",)
    return next((one for one in members(core, target) if key in [one.get(name) for name in names]), None)
