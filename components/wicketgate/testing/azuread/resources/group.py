"""`Group` and `GroupMember`, both on beta.

Source: terraform-provider-azuread `group_resource.go`, `group_member_resource.go`, `groups.go`.
"""

import secrets
from typing import Any, Final, cast

from wicketgate.provider.values import UNKNOWN
from wicketgate.testing.azuread import validators as v
from wicketgate.testing.azuread.errors import (
    GoneError,
    GraphError,
    NotInStandInError,
    OperationError,
    already_exists,
    duplicate_name,
)
from wicketgate.testing.azuread.graph import BETA
from wicketgate.testing.azuread.names import named
from wicketgate.testing.azuread.operation import Operation, Session
from wicketgate.testing.azuread.plan import Plan
from wicketgate.testing.azuread.resource import Resource
from wicketgate.testing.azuread.resources.common import (
    FIRST_OWNERS,
    GROUP,
    or_null,
    part,
    required_id,
    retry_missing,
    same_text,
    temporary_name,
    typed,
)
from wicketgate.testing.azuread.schema import (
    COMPUTED,
    FORCE_NEW,
    OPTIONAL,
    REQUIRED,
    Block,
    flag,
    is_zero,
    one,
    text,
    texts,
)

SEGMENTS: Final = ("groups", "{groupId}")
_UNIFIED: Final = "Unified"
_DYNAMIC: Final = "DynamicMembership"
_HIDDEN: Final = "Hiddenmembership"
_DUPLICATE_VALUE: Final = "Request contains a property with duplicate values"
_OWNER_TYPES: Final = ("#microsoft.graph.user", "#microsoft.graph.servicePrincipal", "#microsoft.graph.group")
_EXTRA: Final = {
    "externalSendersAllowed": "allowExternalSenders",
    "autoSubscribeNewMembers": "autoSubscribeNewMembers",
    "hideFromAddressLists": "hideFromAddressLists",
    "hideFromOutlookClients": "hideFromOutlookClients",
}
_SECURITY_OR_MAIL: Final = ("mail_enabled", "security_enabled")

BLOCK: Final[Block] = {
    "displayName": text(REQUIRED, check=v.not_empty),
    "administrativeUnitIds": texts(OPTIONAL, check=v.uuid),
    "assignableToRole": flag(OPTIONAL | FORCE_NEW),
    "autoSubscribeNewMembers": flag(OPTIONAL | COMPUTED),
    "behaviors": texts(
        OPTIONAL | FORCE_NEW,
        check=v.one_of(
            "AllowOnlyMembersToPost",
            "CalendarMemberReadOnly",
            "ConnectorsDisabled",
            "HideGroupInOutlook",
            "SkipExchangeInstantOn",
            "SubscribeMembersToCalendarEventsDisabled",
            "SubscribeNewGroupMembers",
            "WelcomeEmailDisabled",
        ),
    ),
    "description": text(OPTIONAL),
    "dynamicMembership": one(
        OPTIONAL,
        {"enabled": flag(REQUIRED), "rule": text(REQUIRED, check=v.length(0, 3072))},
        conflicts=("members",),
    ),
    "externalSendersAllowed": flag(OPTIONAL | COMPUTED),
    "hideFromAddressLists": flag(OPTIONAL | COMPUTED),
    "hideFromOutlookClients": flag(OPTIONAL | COMPUTED),
    "mail": text(COMPUTED),
    "mailEnabled": flag(OPTIONAL, some_of=_SECURITY_OR_MAIL),
    "mailNickname": text(OPTIONAL | COMPUTED | FORCE_NEW, check=v.mail_nickname),
    "members": texts(OPTIONAL | COMPUTED, check=v.uuid, conflicts=("dynamic_membership",), plain_hash=True),
    "objectId": text(COMPUTED),
    "onpremisesDomainName": text(COMPUTED),
    "onpremisesGroupType": text(
        OPTIONAL | COMPUTED,
        check=v.one_of("UniversalDistributionGroup", "UniversalMailEnabledSecurityGroup", "UniversalSecurityGroup"),
    ),
    "onpremisesNetbiosName": text(COMPUTED),
    "onpremisesSamAccountName": text(COMPUTED),
    "onpremisesSecurityIdentifier": text(COMPUTED),
    "onpremisesSyncEnabled": flag(COMPUTED),
    "owners": texts(OPTIONAL | COMPUTED, max_items=100, check=v.uuid, plain_hash=True),
    "preferredLanguage": text(COMPUTED),
    "preventDuplicateNames": flag(OPTIONAL, default=False),
    "provisioningOptions": texts(OPTIONAL | FORCE_NEW, check=v.one_of("Team")),
    "proxyAddresses": texts(COMPUTED, ordered=True),
    "securityEnabled": flag(OPTIONAL, some_of=_SECURITY_OR_MAIL),
    "theme": text(OPTIONAL, check=v.one_of("", "Blue", "Green", "Orange", "Pink", "Purple", "Red", "Teal")),
    "types": texts(OPTIONAL | FORCE_NEW, check=v.one_of(_DYNAMIC, _UNIFIED)),
    "visibility": text(OPTIONAL | COMPUTED, check=v.one_of(_HIDDEN, "Private", "Public")),
    "writebackEnabled": flag(OPTIONAL, default=False),
}


def group_path(identifier: str) -> str:
    """The Graph path of a group, from its resource ID. Raises ValueError if it is none."""
    return f"/groups/{v.parse_id(identifier, *SEGMENTS)['groupId']}"


def check_id(identifier: str) -> None:
    """Raises ValueError unless it is `/groups/{groupId}`."""
    group_path(identifier)


def _named(op: Operation, name: str) -> list[dict[str, Any]]:
    with op.attempting("Could not check for existing groups(s)"):
        listed = op.graph_list("/groups", version=BETA, filtered=f"displayName eq '{name}'")
    return [group for group in listed if group.get("displayName") == name]


def _membership(op: Operation) -> dict[str, Any]:
    dynamic = op.get("dynamicMembership")
    if dynamic is None:
        return {"membershipRule": None}
    return {
        "membershipRuleProcessingState": "On" if dynamic.get("enabled") else "Paused",
        "membershipRule": dynamic.get("rule") or "",
    }


def _writeback(op: Operation) -> dict[str, Any]:
    body: dict[str, Any] = {"isEnabled": bool(op.get("writebackEnabled"))}
    if op.get("onpremisesGroupType"):
        body["onPremisesGroupType"] = op.get("onpremisesGroupType")
    return body


def _owners(op: Operation) -> tuple[list[str], list[str]]:
    """The URLs of the first owners and the IDs of the rest: the caller first if it is named, then users, service
    principals and groups; the caller alone if nobody is named.
    """
    caller = op.session.caller
    reference = op.session.graph.reference
    wanted = cast(list[str], op.ordered("owners"))
    chosen = [owner for owner in wanted if same_text(owner, caller)]
    for kind in _OWNER_TYPES:
        for owner in wanted:
            if same_text(owner, caller):
                continue
            with op.attempting(f'Could not retrieve owner principal object "{owner}"'):
                found = op.graph_get(f"/directoryObjects/{owner}")
            if found.get("@odata.type") == kind:
                chosen.append(owner)
    chosen = chosen or [caller]
    first = [caller if same_text(owner, caller) else owner for owner in chosen[:FIRST_OWNERS]]
    return [reference(BETA, owner) for owner in first], chosen[FIRST_OWNERS:]


def retry_create(status: int, error: str) -> bool:
    """Repeat while owners are not everywhere yet."""
    if status == 400:
        return (
            "One or more property values specified are invalid" in error
            or "does not exist or one of its queried reference-property objects are not present" in error
        )
    return status == 404


def create(op: Operation) -> None:
    """Create a group."""
    name = op.get("displayName")
    if op.get("preventDuplicateNames"):
        existing = _named(op, name)
        if existing:
            raise duplicate_name(GROUP, str(existing[0].get("id")), name)
    if op.given("administrativeUnitIds"):
        raise NotInStandInError("groups in administrative units (`administrativeUnitIds`)")
    types = op.ordered("types")
    if _UNIFIED in types:
        raise NotInStandInError("Microsoft 365 groups (`types` with `Unified`)")
    digits = secrets.token_hex(5)
    body: dict[str, Any] = {
        "description": or_null(op.get("description")),
        "displayName": name,
        "groupTypes": types,
        "isAssignableToRole": bool(op.get("assignableToRole")),
        "mailEnabled": bool(op.get("mailEnabled")),
        "mailNickname": op.get("mailNickname") or f"{digits[:8]}-{digits[8]}",
        "resourceBehaviorOptions": op.ordered("behaviors"),
        "resourceProvisioningOptions": op.ordered("provisioningOptions"),
        "securityEnabled": bool(op.get("securityEnabled")),
        **_membership(op),
    }
    if op.get("writebackEnabled"):
        body["writebackConfiguration"] = _writeback(op)
    for key in ("theme", "visibility"):
        if op.get(key):
            body[key] = op.get(key)
    first, rest = _owners(op)
    body["owners@odata.bind"] = first
    what = f'Creating group "{name}"'
    made = _post(op, body, what)
    op.id = f"/groups/{required_id(made, 'unable to obtain group object ID', summary=what)}"
    _settle(op, name)
    for owner in rest:
        with op.attempting(f"Could not add owners to {named(op.id)}"):
            op.graph_post(f"{op.id}/owners/$ref", op.reference(owner, version=BETA), version=BETA)
    if op.given("members"):
        for member in op.ordered("members"):
            with op.attempting(f'Could not add members to group with object ID: "{op.id}"'):
                op.graph_post(f"{op.id}/members/$ref", op.reference(member, version=BETA), version=BETA)
    read(op)


def _post(op: Operation, body: dict[str, Any], what: str) -> dict[str, Any]:
    """Create the group; if Graph adds the caller as an owner by itself, without naming it."""
    try:
        return op.graph_post("/groups", typed("group", body), version=BETA, retry=retry_create)
    except GraphError as error:
        caller = op.session.graph.reference(BETA, op.session.caller)
        others = [owner for owner in body["owners@odata.bind"] if owner != caller]
        if error.status != 400 or _DUPLICATE_VALUE not in str(error) or len(others) == len(body["owners@odata.bind"]):
            raise OperationError(what, str(error)) from None
    again = {key: value for key, value in body.items() if key != "owners@odata.bind"}
    if others:
        again["owners@odata.bind"] = others
    with op.attempting(what):
        return op.graph_post("/groups", typed("group", again), version=BETA)


def _settle(op: Operation, name: str) -> None:
    """Change the new group until Graph has it, then wait until its name shows everywhere."""
    for shown in (temporary_name(), name):
        try:
            op.graph_patch(op.id, typed("group", {"displayName": shown}), version=BETA, retry=retry_missing)
        except GraphError as error:
            what = (
                f"Timed out whilst waiting for new {named(op.id)} to be replicated in Azure AD"
                if error.not_found
                else f"Failed to patch {named(op.id)} after creating"
            )
            raise OperationError(what, str(error)) from None
    op.wait_until(
        lambda: part(op.graph_find(op.id, version=BETA), "displayName") == name,
        f"Waiting for update of `display_name` for {named(op.id)}",
    )


def update(op: Operation) -> None:
    """Change a group."""
    object_id = v.parse_id(op.id, *SEGMENTS)["groupId"]
    with op.locked(GROUP, object_id):
        name = op.get("displayName")
        if op.get("preventDuplicateNames"):
            other = next((group for group in _named(op, name) if group.get("id") != object_id), None)
            if other is not None:
                raise duplicate_name(GROUP, str(other.get("id")), name)
        if op.changed("administrativeUnitIds"):
            raise NotInStandInError("groups in administrative units (`administrativeUnitIds`)")
        body: dict[str, Any] = {
            "description": or_null(op.get("description")),
            "displayName": name,
            "mailEnabled": bool(op.get("mailEnabled")),
            "securityEnabled": bool(op.get("securityEnabled")),
            **_membership(op),
        }
        if op.changed("writebackEnabled") or op.changed("onpremisesGroupType"):
            body["writebackConfiguration"] = _writeback(op)
        if op.get("theme"):
            body["theme"] = op.get("theme")
        if op.changed("visibility"):
            body["visibility"] = op.get("visibility")
        with op.attempting(f"Updating {named(op.id)}"):
            op.graph_patch(op.id, typed("group", body), version=BETA)
        if op.changed("members"):
            _relate(op, "members", remove_first=True)
        if op.changed("owners") and op.given("owners"):
            _relate(op, "owners", remove_first=False)
        read(op)


def _relate(op: Operation, relation: str, *, remove_first: bool) -> None:
    """Bring members or owners to the desired set; owners are added first, as a group must have one."""
    with op.attempting(f"Could not retrieve members for {named(op.id)}"):
        existing = op.ids(f"{op.id}/{relation}", version=BETA)
    desired = cast(list[str], op.ordered(relation))
    removals = [item for item in existing if item not in desired]
    additions = [item for item in desired if item not in existing]

    def remove() -> None:
        for item in removals:
            with op.attempting(f"removing {named(f'{op.id}/{relation}/{item}')}"):
                op.graph_delete(f"{op.id}/{relation}/{item}/$ref", version=BETA)

    def add() -> None:
        for item in additions:
            with op.attempting(f"removing {named(f'{op.id}/{relation}/{item}')}"):
                op.graph_post(f"{op.id}/{relation}/$ref", op.reference(item, version=BETA), version=BETA)

    for step in (remove, add) if remove_first else (add, remove):
        step()


def read(op: Operation) -> None:
    """Read a group."""
    with op.attempting(f"Retrieving {named(op.id)}"):
        found = op.graph_find(op.id, version=BETA)
    if found is None:
        raise GoneError
    for name, value in values_of(found).items():
        op.put(name, value)
    extra = extra_of(op, found, op.id)
    for name in _EXTRA:
        op.put(name, extra.get(name, False))
    with op.attempting(f"Could not retrieve owners for {named(op.id)}"):
        op.put("owners", op.ids(f"{op.id}/owners", version=BETA))
    with op.attempting(f"Could not retrieve members for {named(op.id)}"):
        op.put("members", op.ids(f"{op.id}/members", version=BETA))
        units = op.graph_list(f"{op.id}/memberOf", version=BETA)
    op.put(
        "administrativeUnitIds",
        [unit["id"] for unit in units if unit.get("@odata.type") == "#microsoft.graph.administrativeUnit"],
    )
    op.put("preventDuplicateNames", bool(op.get("preventDuplicateNames")))


def extra_of(op: Operation, found: dict[str, Any], path: str) -> dict[str, bool]:
    """What only Microsoft 365 groups have, asked for apart."""
    if _UNIFIED not in (found.get("groupTypes") or []):
        return {}
    with op.attempting(f'Could not retrieve group with object UID "{path}"'):
        extra = op.graph_find(path, version=BETA, select=",".join(_EXTRA.values()))
    return {name: bool((extra or {}).get(graph)) for name, graph in _EXTRA.items()}


def values_of(found: dict[str, Any]) -> dict[str, Any]:
    """A group's properties from Graph's answer."""
    names = {
        "assignableToRole": "isAssignableToRole",
        "description": "description",
        "displayName": "displayName",
        "mailEnabled": "mailEnabled",
        "mail": "mail",
        "mailNickname": "mailNickname",
        "objectId": "id",
        "onpremisesDomainName": "onPremisesDomainName",
        "onpremisesNetbiosName": "onPremisesNetBiosName",
        "onpremisesSamAccountName": "onPremisesSamAccountName",
        "onpremisesSecurityIdentifier": "onPremisesSecurityIdentifier",
        "onpremisesSyncEnabled": "onPremisesSyncEnabled",
        "preferredLanguage": "preferredLanguage",
        "securityEnabled": "securityEnabled",
        "theme": "theme",
        "visibility": "visibility",
    }
    lists = {
        "behaviors": "resourceBehaviorOptions",
        "provisioningOptions": "resourceProvisioningOptions",
        "proxyAddresses": "proxyAddresses",
        "types": "groupTypes",
    }
    out: dict[str, Any] = {name: found.get(graph) for name, graph in names.items()}
    out |= {name: list(found.get(graph) or []) for name, graph in lists.items()}
    # Null and absent differ here, as in the real provider: Graph always tells the rule.
    rule = found.get("membershipRule", "")
    paused = found.get("membershipRuleProcessingState") == "Paused"
    out["dynamicMembership"] = None if rule is None else {"enabled": not paused, "rule": rule}
    writeback = found.get("writebackConfiguration")
    if isinstance(writeback, dict):
        settings = cast(dict[str, Any], writeback)
        out["writebackEnabled"] = bool(settings.get("isEnabled"))
        out["onpremisesGroupType"] = settings.get("onPremisesGroupType")
    return out


def delete(op: Operation) -> None:
    """Delete a group and wait until it is gone."""
    with op.attempting(f"Retrieving {named(op.id)}"):
        if op.graph_find(op.id, version=BETA) is None:
            raise OperationError(f"Retrieving {named(op.id)}", "group was not found")
    with op.attempting(f"Deleting {named(op.id)}"):
        op.graph_delete(op.id, version=BETA)
    op.wait_gone(op.id, f"Waiting for deletion of {named(op.id)}", version=BETA)


def customise(session: Session, plan: Plan, identifier: str, deadline: float) -> None:
    """The provider's `CustomizeDiff`: which properties go together."""
    name = plan.values.get("displayName")
    old = (plan.prior or {}).get("displayName") or ""
    # The real provider looks only once there is an ID, and then compares with an ID of another form.
    if identifier and plan.known("preventDuplicateNames") and name and name is not UNKNOWN and name != old:
        session.graph.items(BETA, "/groups", deadline=deadline, query={"$filter": f"displayName eq '{name}'"})
    types = plan.known("types")
    if _DYNAMIC in types and plan.values.get("dynamicMembership") is None:
        raise ValueError(f'`dynamic_membership` must be specified when `types` contains "{_DYNAMIC}"')
    mail_enabled = bool(plan.known("mailEnabled"))
    if mail_enabled and _UNIFIED not in types:
        raise ValueError(f'`types` must contain "{_UNIFIED}" for mail-enabled groups')
    if not mail_enabled and _UNIFIED in types:
        raise ValueError("`mail_enabled` must be true for unified groups")
    if mail_enabled and not plan.known("mailNickname"):
        raise ValueError("`mail_nickname` is required for mail-enabled groups")
    if plan.known("assignableToRole") and not plan.known("securityEnabled"):
        raise ValueError("`assignable_to_role` can only be `true` for security-enabled groups")
    if _UNIFIED not in types:
        _check_not_unified(plan)
    before, after = (plan.prior or {}).get("visibility"), plan.values.get("visibility")
    if before in ("Private", "Public") and after == _HIDDEN:
        plan.forced.add("visibility")


def _check_not_unified(plan: Plan) -> None:
    only_unified = {
        "autoSubscribeNewMembers": "auto_subscribe_new_members",
        "behaviors": "behaviors",
        "externalSendersAllowed": "external_senders_allowed",
        "hideFromAddressLists": "hide_from_address_lists",
        "hideFromOutlookClients": "hide_from_outlook_clients",
        "provisioningOptions": "provisioning_options",
        "theme": "theme",
    }
    for name, said in only_unified.items():
        if not is_zero(plan.known(name)):
            raise ValueError(f"`{said}` is only supported for unified groups")
    if plan.known("visibility") == _HIDDEN:
        raise ValueError(f'`visibility` can only be "{_HIDDEN}" for unified groups')


RESOURCE: Final = Resource(
    name="Group",
    tf=GROUP,
    block=BLOCK,
    create=create,
    read=read,
    update=update,
    delete=delete,
    customise=customise,
    check_id=check_id,
    timeouts={"create": 30, "read": 5, "update": 30, "delete": 5},
    version=1,
)

# Members, one by one.


def _member_parts(identifier: str) -> tuple[str, str]:
    return v.parse_sub_id(identifier, "member", "Member ID")


def _find_member(op: Operation, group: str, member: str) -> bool:
    try:
        listed = op.graph_list(f"/groups/{group}/members", version=BETA, filtered=f"id eq '{member}'")
    except GraphError as error:
        if error.not_found:
            return False
        raise
    return any(item.get("id") == member for item in listed)


def create_member(op: Operation) -> None:
    """Add a member to a group."""
    group, member = op.get("groupObjectId"), op.get("memberObjectId")
    identifier = f"{group}/member/{member}"
    path = f"/groups/{group}"
    with op.locked(GROUP, group):
        with op.attempting(f"Retrieving {named(path)}"):
            if op.graph_find(path, version=BETA) is None:
                raise OperationError(f"{named(path)} was not found")
        with op.attempting(f"Listing existing members for {named(path)}"):
            existing = op.ids(f"{path}/members", version=BETA)
        if any(same_text(item, member) for item in existing):
            raise already_exists("azuread_group_member", identifier)
        with op.attempting(f"Adding {named(f'{path}/members/{member}')}"):
            op.graph_post(f"{path}/members/$ref", op.reference(member, version=BETA), version=BETA)
        op.id = identifier
        read_member(op)


def read_member(op: Operation) -> None:
    """Look whether the member is in the group."""
    group, member = _member_parts(op.id)
    with op.attempting(f'Retrieving member "{member}" for group with object ID: "{group}"'):
        if not _find_member(op, group, member):
            raise GoneError
    op.put("groupObjectId", group)
    op.put("memberObjectId", member)


def delete_member(op: Operation) -> None:
    """Take the member out of the group and wait until that shows."""
    group, member = _member_parts(op.id)
    where = f"/groups/{group}/members/{member}"
    with op.locked(GROUP, group):
        with op.attempting(f"Removing {named(where)}"):
            op.graph_delete(f"{where}/$ref", version=BETA)
        op.wait_until(
            lambda: not _find_member(op, group, member), f"Waiting for removal of {named(where)}", target="Deleted"
        )


def _check_member_id(identifier: str) -> None:
    _member_parts(identifier)


MEMBER: Final = Resource(
    name="GroupMember",
    tf="azuread_group_member",
    block={
        "groupObjectId": text(REQUIRED | FORCE_NEW, check=v.uuid),
        "memberObjectId": text(REQUIRED | FORCE_NEW, check=v.uuid),
    },
    create=create_member,
    read=read_member,
    delete=delete_member,
    check_id=_check_member_id,
    timeouts={"create": 5, "read": 5, "delete": 5},
)
