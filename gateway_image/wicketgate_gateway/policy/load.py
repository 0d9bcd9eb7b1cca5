"""The policy bundle: read, compiled, handed out per bot and target, and read again when the file changes."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from wicketgate_gateway.contract import model, yaml
from wicketgate_gateway.contract.checks import operation_problems
from wicketgate_gateway.contract.errors import DocumentError, Problem
from wicketgate_gateway.contract.gateway import GatewayTarget
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.contract.policy import Bundle, BundledPolicy, RecordFiles, RecordLevel, Untraceable
from wicketgate_gateway.contract.values import seconds
from wicketgate_gateway.masking.masks import Masks
from wicketgate_gateway.policy.api_operations import Operations
from wicketgate_gateway.policy.compile import CompiledRule, compile_policy
from wicketgate_gateway.policy.engine import Record, Subject, TargetPolicy, VerdictCache

_CACHED_POLICIES = 1024


class PolicySet:
    """A compiled bundle."""

    def __init__(self, bundle: Bundle, document: yaml.Document | None = None) -> None:
        """Compile; raises DocumentError with all that is wrong."""
        self.bundle = bundle
        self.digest = bundle.digest
        self.tenant = bundle.tenant
        self.bots = bundle.bots
        self.groups = frozenset(group for policy in bundle.policies for group in policy.groups)
        self._operations = {name: Operations(operations) for name, operations in bundle.operations.items()}
        apis = {name: operations.names for name, operations in self._operations.items()}
        self._rules: dict[str, list[CompiledRule]] = {}
        problems: list[Problem] = []
        for i, policy in enumerate(bundle.policies):
            at = ("policies", i)
            if policy.policy in self._rules:
                where = document.where((*at, "policy")) if document else None
                problems.append(Problem("two policies have this name", "rename one", where, policy.policy))
            self._rules[policy.policy], found = compile_policy(policy, document, at, bundle.approvers)
            problems += found
            problems += operation_problems(policy, apis, None, document, at)
        problems += _ambiguous_groups(bundle, document)
        if problems:
            raise DocumentError(problems)
        self._policies: OrderedDict[object, TargetPolicy] = OrderedDict()
        self._shared: dict[object, tuple[Masks | None, VerdictCache]] = {}

    def for_principal(self, principal: Principal, target_name: str, target: GatewayTarget) -> TargetPolicy | None:
        """What applies to this bot at this target; None if nothing does, and then it may not even connect."""
        if principal.kind is not PrincipalKind.BOT or principal.tenant != self.tenant:
            return None
        key = (
            principal.object_id,
            principal.groups,
            principal.roles,
            target_name,
            target.kind,
            tuple(sorted(target.labels.items())),
        )
        found = self._policies.get(key)
        if found is None:
            found = self._build(principal, target_name, target)
            if found is None:
                return None
            self._policies[key] = found
            if len(self._policies) > _CACHED_POLICIES:
                self._policies.popitem(last=False)
        else:
            self._policies.move_to_end(key)
        return found

    def _build(self, principal: Principal, target_name: str, target: GatewayTarget) -> TargetPolicy | None:
        policies = [
            policy
            for policy in self.bundle.policies
            if _applies(policy, principal) and policy.covers(target_name, target.kind.value, target.labels)
        ]
        if not policies:
            return None
        masks, cache = self._share(policies, target_name, target)
        names = {
            name for policy in self.bundle.policies for oid, name in policy.groups.items() if oid in principal.groups
        }
        bot = self.bots.get(principal.object_id)
        return TargetPolicy(
            [policy.policy for policy in policies],
            [rule for policy in policies for rule in self._rules[policy.policy]],
            masks,
            Record(
                _level(policies),
                max(seconds(policy.record.keep) for policy in policies),
                max(_files_up_to(policy) for policy in policies),
            ),
            Subject(bot.name if bot else "", tuple(sorted(names)), target_name, target.labels),
            self.digest,
            cache=cache,
            operations=self._operations.get(target_name),
            data_masks=[m for policy in policies for m in policy.mask if m.json_ or m.detect],
            detectors=[
                (found, policy.detectors) for policy in policies if (found := [m for m in policy.mask if m.detect])
            ],
        )

    def _share(
        self, policies: list[BundledPolicy], name: str, target: GatewayTarget
    ) -> tuple[Masks | None, VerdictCache]:
        # Bots with the same policies share masks and verdicts, or a thousand bots would have a thousand caches.
        key = (tuple(policy.policy for policy in policies), name, target.kind, tuple(sorted(target.labels.items())))
        found = self._shared.get(key)
        if found is None:
            masks = [mask for policy in policies for mask in policy.mask if mask.columns or mask.names]
            denies = any(policy.untraceable is Untraceable.DENY for policy in policies)
            compiled = Masks(masks, denies_untraceable=denies) if masks else None
            found = self._shared[key] = (compiled, VerdictCache())
        return found


def _files_up_to(policy: BundledPolicy) -> int:
    return policy.record.files_up_to if policy.record.files is RecordFiles.CONTENT else 0


def _level(policies: list[BundledPolicy]) -> RecordLevel:
    return RecordLevel.FULL if any(p.record.level is RecordLevel.FULL for p in policies) else RecordLevel.REQUESTS


def _applies(policy: BundledPolicy, principal: Principal) -> bool:
    if principal.object_id in policy.bots or not principal.groups.isdisjoint(policy.groups):
        return True
    return policy.subjects is not None and not principal.roles.isdisjoint(policy.subjects.roles or ())


def _ambiguous_groups(bundle: Bundle, document: yaml.Document | None) -> list[Problem]:
    # Conditions speak of groups by name: one name for two groups would let one of them in for the other.
    ids: dict[str, str] = {}
    problems: list[Problem] = []
    for i, policy in enumerate(bundle.policies):
        for oid, name in policy.groups.items():
            if ids.setdefault(name, oid) != oid:
                where = document.where(("policies", i, "groups", oid)) if document else None
                problems.append(Problem("two groups have this name", "rename one of them", where, name))
    return problems


def load_bundle(path: str | Path) -> PolicySet:
    """Read and compile a rendered bundle; raises DocumentError."""
    document = model.load(path)
    return PolicySet(model.validate(Bundle, document), document)


class PolicyStore:
    """The bundle in force. `refresh`, called about once a second, takes up a changed file.

    A changed file that does not compile is refused, and the bundle before it stays in force: `on_refused` is told once
    for each such change, `on_loaded` for each bundle that comes into force.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        on_loaded: Callable[[PolicySet], None] | None = None,
        on_refused: Callable[[DocumentError, PolicySet], None] | None = None,
    ) -> None:
        """Read the bundle; raises DocumentError: a gateway does not start without one."""
        self.path = Path(path)
        self.on_loaded = on_loaded
        self.on_refused = on_refused
        self._seen = self._stamp()
        self.current = load_bundle(self.path)
        """What decides now. Take it anew for each operation."""

    def refresh(self) -> bool:
        """Look whether the file changed; True if a new bundle came into force."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            loaded = load_bundle(self.path)
        except DocumentError as error:
            if self.on_refused is not None:
                self.on_refused(error, self.current)
            return False
        if loaded.digest == self.current.digest:
            return False
        self.current = loaded
        if self.on_loaded is not None:
            self.on_loaded(loaded)
        return True

    def _stamp(self) -> tuple[int, int, int] | None:
        # Follows links: Kubernetes swaps a ConfigMap's folder by a symbolic link.
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
