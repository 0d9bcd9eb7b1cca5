"""Puts people, groups and applications into the tenant from one JSON document; running it again changes nothing.

```json
{"users": [{"displayName": "Ada", "mail": "ada@contoso.example", "id": "…", "groups": ["platform-team"]}],
 "groups": [{"displayName": "platform-team", "id": "…", "members": ["ada@contoso.example"], "owners": []}],
 "applications": [{"displayName": "wicketgate-deployer", "appId": "…", "id": "…", "servicePrincipalId": "…",
   "federatedCredentials": [{"name": "ci", "issuer": "https://…", "subject": "repo:…"}],
   "secrets": [{"displayName": "s", "secretText": "…", "endDateTime": "…"}], "certificates": ["PEM"],
   "graphRoles": ["Application.ReadWrite.OwnedBy", "Group.Create"],
   "assignments": [{"resource": "gateway", "role": "Agent.Connect"}], "groups": ["reviewers"], "owners": []}],
 "quirks": {"replication_lag": 0}}
```

Any other key of an entry is a Graph property. Without ids they follow from the tenant and the display name. Relations
name objects by display name, mail, client id or object id. `deployer` is short for the application in the example
with the Graph permissions that the toolkit's deployer needs.
"""

import base64
import uuid
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from wicketgate.testing.entra import rules, writes
from wicketgate.testing.entra.builtin import stable_id
from wicketgate.testing.entra.directory import GRAPH_APP_ID, Directory
from wicketgate.testing.entra.errors import GraphError
from wicketgate.testing.entra.keys import secret_digest
from wicketgate.testing.entra.schema import ENTITIES
from wicketgate.testing.entra.store import Doc

DEPLOYER = "wicketgate-deployer"
DEPLOYER_ROLES = ("Application.ReadWrite.OwnedBy", "Group.Create", "Application.Read.All", "User.Read.All")
_SECTIONS = frozenset({"users", "groups", "applications", "deployer", "quirks"})
_APP_RELATIONS = frozenset(
    {
        "servicePrincipalId",
        "federatedCredentials",
        "secrets",
        "certificates",
        "graphRoles",
        "assignments",
        "groups",
        "owners",
        "appRoleAssignmentRequired",
        "accountEnabled",
    }
)


class SeedError(ValueError):
    """The seed names something that is not there, or has an unknown key."""


def apply_seed(directory: Directory, seed: dict[str, Any]) -> None:
    """Adds what the seed describes and the tenant lacks; sets its quirks. Raises SeedError."""
    if unknown := set(seed) - _SECTIONS:
        raise SeedError(f"unknown keys in the seed: {', '.join(sorted(unknown))}")
    if quirks := seed.get("quirks"):
        directory.quirks.update(quirks)
    applications = list(seed.get("applications", []))
    if "deployer" in seed:
        applications.insert(0, {"displayName": DEPLOYER, "graphRoles": list(DEPLOYER_ROLES)} | seed["deployer"])
    try:
        for user in seed.get("users", []):
            _user(directory, user)
        for group in seed.get("groups", []):
            _object(directory, "group", _plain(group, {"members", "owners"}) | _nickname(group))
        for application in applications:
            _application(directory, application)
        for user in seed.get("users", []):
            for name in user.get("groups", []):
                directory.store.link("members", _named(directory, name), _named(directory, user["displayName"]))
        for group in seed.get("groups", []):
            for relation in ("members", "owners"):
                for name in group.get(relation, []):
                    directory.store.link(relation, _named(directory, group["displayName"]), _named(directory, name))
        for application in applications:
            _relations(directory, application)
    except GraphError as error:
        raise SeedError(str(error)) from error
    except KeyError as error:
        raise SeedError(f"an entry of the seed lacks {error}") from error


def _plain(entry: dict[str, Any], relations: set[str] | frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name not in relations}


def _nickname(entry: dict[str, Any]) -> dict[str, Any]:
    if "mailNickname" in entry:
        return {}
    return {
        "mailNickname": "".join(one for one in entry["displayName"] if one.isalnum() or one in "-_.")[:64] or "group"
    }


def _user(directory: Directory, entry: dict[str, Any]) -> None:
    principal_name = entry.get("userPrincipalName") or entry.get("mail")
    if principal_name is None:
        principal_name = f"{_nickname(entry)['mailNickname'].lower()}@{directory.domain}"
    plain = _plain(entry, {"groups"}) | {"userPrincipalName": principal_name, "mail": entry.get("mail", principal_name)}
    _object(directory, "user", plain | _nickname(entry))


def _object(directory: Directory, kind: str, properties: dict[str, Any]) -> Doc:
    """The object in the tenant, made now if it is not there; an existing one stays as it is."""
    entity = ENTITIES[kind]
    if unknown := [name for name in properties if name != "id" and not entity.knows(name)]:
        raise SeedError(f"a {kind} has no property {', '.join(unknown)}")
    name = properties.get("appId") if kind == "servicePrincipal" else properties["displayName"]
    key = str(properties.get("id") or stable_id(directory.tenant, kind, str(name))).lower()
    if not rules.is_guid(key):
        raise SeedError(f"the id `{key}` is no GUID")
    if existing := directory.store.get(kind, key):
        return existing
    doc = directory.new(entity, {}, key=key)
    doc |= {one: writes.merge(doc.get(one), value) for one, value in properties.items() if one != "id"}
    rules.CREATE[kind](directory, doc)
    doc["_created"] = 0.0
    return directory.save(doc)


def _application(directory: Directory, entry: dict[str, Any]) -> None:
    plain = _plain(entry, _APP_RELATIONS)
    plain.setdefault("appId", stable_id(directory.tenant, "appId", entry["displayName"]))
    plain["keyCredentials"] = [{"key": _der(pem)} for pem in entry.get("certificates", [])]
    application = _object(directory, "application", plain)
    principal = {"appId": application["appId"]}
    for name in ("appRoleAssignmentRequired", "accountEnabled"):
        if name in entry:
            principal[name] = entry[name]
    if "servicePrincipalId" in entry:
        principal["id"] = entry["servicePrincipalId"]
    _object(directory, "servicePrincipal", principal)
    for secret in entry.get("secrets", []):
        digest = secret_digest(secret["secretText"])
        if all(one["_digest"] != digest for one in application["passwordCredentials"]):
            rules.add_password(directory, application, _plain(secret, {"secretText"}) | {"_text": secret["secretText"]})
    for credential in entry.get("federatedCredentials", []):
        _federated(directory, application, credential)


def _federated(directory: Directory, application: Doc, entry: dict[str, Any]) -> None:
    entity = ENTITIES["federatedIdentityCredential"]
    if unknown := [name for name in entry if not entity.knows(name)]:
        raise SeedError(f"a federated credential has no property {', '.join(unknown)}")
    key = stable_id(directory.tenant, f"fic/{application['id']}", entry["name"])
    existing = directory.store.get(entity.kind, key)
    doc = directory.new(entity, {"audiences": ["api://AzureADTokenExchange"]} | entry, key=key)
    doc["_parent"] = application["id"]
    doc["_created"] = 0.0
    if existing is None:
        rules.create_federated_credential(directory, doc)
        directory.save(doc)
    elif (existing["issuer"], existing["subject"]) != (doc["issuer"], doc["subject"]):
        # The issuer of a local set-up may come back on another port.
        rules.update_federated_credential(directory, existing, doc)
        directory.save(doc)


def _relations(directory: Directory, entry: dict[str, Any]) -> None:
    application = _object(directory, "application", _plain(entry, _APP_RELATIONS | {"certificates"}))
    principal = directory.principal_of(application["appId"])
    if principal is None:
        raise SeedError(f"the application `{entry['displayName']}` has no service principal")
    for name in entry.get("groups", []):
        directory.store.link("members", _named(directory, name), principal["id"])
    for name in entry.get("owners", []):
        for owned in (application["id"], principal["id"]):
            directory.store.link("owners", owned, _named(directory, name))
    assignments = [{"resource": GRAPH_APP_ID, "role": role} for role in entry.get("graphRoles", [])]
    for assignment in [*assignments, *entry.get("assignments", [])]:
        _assign(directory, principal, assignment)


def _assign(directory: Directory, principal: Doc, assignment: dict[str, Any]) -> None:
    resource = directory.find("servicePrincipal", _named(directory, assignment["resource"]))
    if resource is None:
        raise SeedError(f"there is no API `{assignment['resource']}` to assign a role of")
    resource = directory.with_application(resource)
    roles = {role["value"]: role["id"] for role in resource["appRoles"]}
    if assignment["role"] not in roles:
        raise SeedError(f"`{assignment['resource']}` has no app role `{assignment['role']}`")
    properties = {
        "principalId": principal["id"],
        "resourceId": resource["id"],
        "appRoleId": roles[assignment["role"]],
    }
    for one in directory.store.all("appRoleAssignment"):
        if all(one[name] == value for name, value in properties.items()):
            return
    doc = directory.new(ENTITIES["appRoleAssignment"], properties, key=str(uuid.uuid4()))
    rules.create_app_role_assignment(directory, doc)
    doc["_created"] = 0.0
    directory.save(doc)


def _named(directory: Directory, name: str) -> str:
    """The id of the object that a relation names; a service principal for an application. Raises SeedError."""
    for kind in ("servicePrincipal", "group", "user"):
        for property_name in ("id", "appId", "displayName", "mail", "userPrincipalName"):
            if doc := directory.find_by(kind, property_name, name):
                return doc["id"]
    raise SeedError(f"the seed names `{name}`, which is not there")


def _der(pem: str) -> str:
    certificate = x509.load_pem_x509_certificate(pem.encode())
    return base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
