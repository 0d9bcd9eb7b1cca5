"""How an object looks to a client of one API version: selected, expanded, typed; null where Graph says null."""

from dataclasses import dataclass
from typing import Any

from wicketgate.testing.entra.core import Core
from wicketgate.testing.entra.errors import bad_request
from wicketgate.testing.entra.query import Query, run
from wicketgate.testing.entra.schema import ENTITIES, Navigation
from wicketgate.testing.entra.store import Doc


@dataclass(frozen=True)
class View:
    """Renders objects for `version` (`v1.0` or `beta`)."""

    core: Core
    version: str

    @property
    def base(self) -> str:
        """The version's root URL."""
        return f"{self.core.url}/{self.version}"

    def full(self, doc: Doc) -> dict[str, Any]:
        """All properties that this version has, before selection: what filters see."""
        entity = ENTITIES[doc["_kind"]]
        if doc["_kind"] == "servicePrincipal":
            doc = self.core.directory.with_application(doc)
        known = {name: value for name, value in doc.items() if not name.startswith("_")}
        if self.version == "v1.0":
            known = {name: value for name, value in known.items() if name not in entity.beta}
        if "passwordCredentials" in known:
            known["passwordCredentials"] = [
                {name: value for name, value in one.items() if not name.startswith("_")}
                for one in known["passwordCredentials"]
            ]
        return known

    def object(self, doc: Doc, query: Query, *, typed: bool) -> dict[str, Any]:
        """One object; `typed` adds `@odata.type`, which Graph does where the kind does not follow from the URL."""
        entity = ENTITIES[doc["_kind"]]
        known = self.full(doc)
        if query.select and "*" not in query.select:
            shown = {name: known[name] for name in known if name in query.select or (typed and name == "id")}
        else:
            shown = {name: value for name, value in known.items() if name not in entity.select_only}
        if "keyCredentials" in shown and "keyCredentials" not in query.select:
            shown["keyCredentials"] = [one | {"key": None} for one in shown["keyCredentials"]]
        if typed:
            shown = {"@odata.type": entity.odata_type} | shown
        for name, inner in query.expand.items():
            navigation = entity.navigations.get(name)
            if navigation is None or not navigation.expands:
                raise bad_request(f"Could not find a property named '{name}' on type '{entity.odata_type[1:]}'.")
            shown[name] = self.listed(navigation, doc, inner)
        return shown

    def listed(self, navigation: Navigation, doc: Doc, query: Query) -> list[dict[str, Any]]:
        """The objects of a navigation, rendered."""
        docs = self.core.directory.related(doc, navigation)
        return [self.object(one, query, typed=navigation.polymorphic) for one in run(query, docs, self.full).docs]

    def reference(self, doc: Doc) -> dict[str, str]:
        """A `$ref` entry."""
        return {
            "@odata.id": f"{self.base}/directoryObjects/{doc['id']}/Microsoft.DirectoryServices.{_cap(doc['_kind'])}"
        }


def _cap(kind: str) -> str:
    return kind[0].upper() + kind[1:]
