"""The tenant's objects as the other modules see them: found by id or by name, related, and seen with a lag.

`created` moments are the emulator's own (`_created`), so that the replication lag can hide what is too fresh.
"""

import copy
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from wicketgate.testing.entra.quirks import Quirks
from wicketgate.testing.entra.schema import DIRECTORY_KINDS, ENTITIES, Entity, Navigation, Via
from wicketgate.testing.entra.store import Doc, Store

GRAPH_APP_ID = "00000003-0000-0000-c000-000000000000"


def now_text() -> str:
    """This moment as Graph writes it."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


@dataclass
class Directory:
    """One tenant's directory over a store."""

    store: Store
    tenant: str
    domain: str = "contoso.onmicrosoft.com"
    display_name: str = "Contoso"
    quirks: Quirks = field(default_factory=Quirks)

    def new(self, entity: Entity, properties: Doc, *, key: str | None = None) -> Doc:
        """A new document with every property of its kind, not stored yet."""
        doc = copy.deepcopy(dict(entity.defaults)) | properties
        doc["id"] = key or doc.get("id") or str(uuid.uuid4())
        doc["_kind"] = entity.kind
        doc["_created"] = time.time()
        if "createdDateTime" in entity.defaults and not doc["createdDateTime"]:
            doc["createdDateTime"] = now_text()
        return doc

    def save(self, doc: Doc) -> Doc:
        """Stores a document under its own kind."""
        return self.store.put(doc["_kind"], doc)

    def visible(self, doc: Doc) -> bool:
        """Whether the object has reached every replica and is not deleted."""
        if doc.get("_deleted"):
            return False
        return time.time() - doc.get("_created", 0.0) >= self.quirks.replication_lag

    def find(self, kind: str, key: str) -> Doc | None:
        """The object of this kind with this id (GUIDs in any case), or None."""
        doc = self.store.get(kind, key) or self.store.get(kind, key.lower())
        return doc if doc is not None and self.visible(doc) else None

    def find_by(self, kind: str, name: str, value: str) -> Doc | None:
        """The object of this kind whose property is `value` (without case), or None."""
        wanted = value.casefold()
        for doc in self.all(kind):
            if isinstance(doc.get(name), str) and doc[name].casefold() == wanted:
                return self.store.get(kind, doc["id"])
        return None

    def all(self, kind: str) -> Iterator[Doc]:
        """All visible objects of a kind, oldest first."""
        return (doc for doc in self.store.all(kind) if self.visible(doc))

    def directory_object(self, key: str) -> Doc | None:
        """The directory object with this id, of whatever kind, or None."""
        return next((doc for kind in DIRECTORY_KINDS if (doc := self.find(kind, key))), None)

    def deleted(self, key: str) -> Doc | None:
        """The soft-deleted object with this id, or None."""
        for kind in DIRECTORY_KINDS:
            doc = self.store.get(kind, key)
            if doc is not None and doc.get("_deleted"):
                return doc
        return None

    def related(self, doc: Doc, navigation: Navigation) -> list[Doc]:
        """The visible objects that a navigation leads to."""
        key = doc["id"]
        match navigation.via:
            case Via.LINK:
                ids = self.store.targets(navigation.name, key)
            case Via.BACK:
                ids = self.store.sources(navigation.name, key)
            case Via.CLOSURE:
                ids = self._closure(key, navigation.name, forward=True)
            case Via.BACK_CLOSURE:
                ids = self._closure(key, navigation.name, forward=False)
            case Via.CHILD:
                return [child for child in self.all(navigation.name) if child.get(navigation.key) == key]
            case Via.NOTHING:
                return []
        return [found for one in ids if (found := self.directory_object(one))]

    def _closure(self, start: str, name: str, *, forward: bool) -> list[str]:
        step = self.store.targets if forward else self.store.sources
        seen: dict[str, None] = {}
        waiting = [start]
        while waiting:
            for key in step(name, waiting.pop()):
                if key not in seen and key != start:
                    seen[key] = None
                    waiting.append(key)
        return list(seen)

    def groups_of(self, key: str) -> list[Doc]:
        """Every group that the object is in, directly or by nesting."""
        found = (self.find("group", one) for one in self._closure(key, "members", forward=False))
        return [doc for doc in found if doc]

    def application_of(self, principal: Doc) -> Doc | None:
        """The application object behind a service principal, or None if it lives in another tenant."""
        for doc in self.store.all("application"):
            if doc["appId"] == principal["appId"] and not doc.get("_deleted"):
                return doc
        return None

    def principal_of(self, app_id: str) -> Doc | None:
        """The service principal with this client id, or None."""
        return self.find_by("servicePrincipal", "appId", app_id)

    def with_application(self, principal: Doc) -> Doc:
        """A service principal with what it takes from its application: names, roles, scopes, reply URLs."""
        application = self.application_of(principal)
        if application is None:
            return principal
        web = application["web"]
        replies = web["redirectUris"] + application["publicClient"]["redirectUris"] + application["spa"]["redirectUris"]
        return principal | {
            "appDisplayName": application["displayName"],
            "appDescription": application["description"],
            "displayName": application["displayName"],
            "appRoles": [{**role, "origin": "Application"} for role in application["appRoles"]],
            "oauth2PermissionScopes": application["api"]["oauth2PermissionScopes"],
            "servicePrincipalNames": [principal["appId"], *application["identifierUris"]],
            "replyUrls": replies,
            "homepage": web["homePageUrl"],
            "logoutUrl": web["logoutUrl"],
            "info": application["info"],
            "signInAudience": application["signInAudience"],
            "verifiedPublisher": application["verifiedPublisher"],
        }

    def resource_named(self, name: str) -> Doc | None:
        """The service principal of the API called `name`: its client id or one of its identifier URIs."""
        wanted = name.rstrip("/").casefold()
        for principal in self.all("servicePrincipal"):
            names = [principal["appId"], *self.with_application(principal)["servicePrincipalNames"]]
            if any(one.rstrip("/").casefold() == wanted for one in names):
                return principal
        return None

    def role_values(self, principal: Doc, resource: Doc) -> list[str]:
        """Values of the app roles of `resource` that are assigned to `principal` and belong into its token.

        A person also has the roles of groups that they are a direct member of; a service principal has not.
        """
        holders = {principal["id"]}
        if principal["_kind"] == "user":
            holders |= set(self.store.sources("members", principal["id"]))
        values = {role["id"]: role.get("value") for role in self.with_application(resource)["appRoles"]}
        found: dict[str, None] = {}
        for assignment in self.assignments(resource):
            if assignment["principalId"] in holders and (value := values.get(assignment["appRoleId"])):
                found[value] = None
        return list(found)

    def assigned(self, principal: Doc, resource: Doc) -> bool:
        """Whether any assignment, with or without a role, lets the principal use the resource."""
        holders = {principal["id"]}
        if principal["_kind"] == "user":
            holders |= set(self.store.sources("members", principal["id"]))
        return any(assignment["principalId"] in holders for assignment in self.assignments(resource))

    def assignments(self, resource: Doc) -> Iterator[Doc]:
        """App-role assignments to the resource that have reached the token service."""
        for assignment in self.all("appRoleAssignment"):
            fresh = time.time() - assignment["_created"] < self.quirks.assignment_lag
            if assignment["resourceId"] == resource["id"] and not fresh:
                yield assignment

    def delete(self, doc: Doc) -> None:
        """Deletes an object as Graph does: recoverable kinds go to deletedItems, children and assignments vanish."""
        entity = ENTITIES[doc["_kind"]]
        if not entity.recoverable:
            self.store.remove(doc["_kind"], doc["id"])
            return
        self.store.put(doc["_kind"], doc | {"_deleted": True, "deletedDateTime": now_text()})
        for assignment in self.store.all("appRoleAssignment"):
            if doc["id"] in (assignment["principalId"], assignment["resourceId"]):
                self.store.remove("appRoleAssignment", assignment["id"])
        if doc["_kind"] == "application":
            for principal in list(self.all("servicePrincipal")):
                if principal["appId"] == doc["appId"]:
                    self.delete(principal)

    def restore(self, doc: Doc) -> Doc:
        """Brings a soft-deleted object back, with its links and federated credentials."""
        return self.save({key: value for key, value in doc.items() if key != "_deleted"} | {"deletedDateTime": None})

    def purge(self, doc: Doc) -> None:
        """Deletes for good, with children."""
        for child in list(self.store.all("federatedIdentityCredential")):
            if child.get("_parent") == doc["id"]:
                self.store.remove("federatedIdentityCredential", child["id"])
        self.store.remove(doc["_kind"], doc["id"])
