"""The policy document, and the bundle of all policies that the gateway enforces.

A rule speaks of one protocol, and matches *aspects* of an operation. A SQL statement has one aspect for each
(class, relation) pair that it touches, and one for each function that is not a plain built-in. `deny` beats `hold`
beats `allow`: an operation is denied if a `deny` meets any aspect of it, and if no `allow` and no `hold` covers one;
else it is held if a `hold` meets any aspect, and allowed if none does.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from wicketgate_gateway.contract.http import HttpTerms, json_path
from wicketgate_gateway.contract.kubernetes import KubernetesTerms
from wicketgate_gateway.contract.model import Model, Strings, Terms, listed
from wicketgate_gateway.contract.openapi import ApiOperations
from wicketgate_gateway.contract.patterns import checked_pattern
from wicketgate_gateway.contract.ssh import SshTerms
from wicketgate_gateway.contract.targets import PROTOCOL_OF
from wicketgate_gateway.contract.values import Date, Duration, Name, Uuid, seconds
from wicketgate_gateway.contract.windows import Windows

_RELATION = re.compile(r'[^.\s"]+(?:\.[^.\s"]+)\Z')
_COLUMN = re.compile(r'[^.\s"]+(?:\.[^.\s"]+){2}\Z')
_FUNCTION = re.compile(r'[^.\s"]+(?:\.[^.\s"]+)?\Z')


class StatementClass(StrEnum):
    """What a SQL statement does, from its whole parse tree; a statement can be of several classes."""

    READ = "read"
    """Reads rows: SELECT, TABLE, VALUES, COPY TO STDOUT, and the reading parts of other statements."""
    WRITE = "write"
    """Changes rows: INSERT, UPDATE, DELETE, MERGE, TRUNCATE, COPY FROM STDIN, SELECT FOR UPDATE."""
    DDL = "ddl"
    """Changes the schema: CREATE, ALTER, DROP, COMMENT, SELECT INTO, REFRESH."""
    GRANT = "grant"
    """Changes who may do what, or what concerns the whole server: GRANT, REVOKE, roles, SET ROLE, SET SESSION
    AUTHORIZATION, policies, owners, databases, extensions, PREPARE TRANSACTION."""
    SESSION = "session"
    """Changes a session setting that does not change what a statement means."""
    MAINTENANCE = "maintenance"
    """VACUUM, ANALYZE, CLUSTER, REINDEX, CHECKPOINT, LOCK."""
    PROCEDURAL = "procedural"
    """Runs code that no rule can see into: DO, CALL, CREATE FUNCTION, triggers, rules, extensions."""
    MESSAGING = "messaging"
    """LISTEN, UNLISTEN, NOTIFY."""
    FILE = "file"
    """Touches the server's files or programs, or other servers: COPY to or from a file or PROGRAM, LOAD, ALTER SYSTEM,
    foreign servers and tables, subscriptions, large objects."""


BUILT_IN_DETECTORS = ("api-key", "card", "jwt", "private-key", "iban", "email", "phone")
"""Detectors that need no pattern (`masking/detectors_table.py`)."""
WITHOUT_RELATIONS = frozenset({StatementClass.PROCEDURAL, StatementClass.FILE})
"""Classes for which relations say nothing: no rule with `relations` covers them."""


def _pattern(shape: re.Pattern[str], say: str) -> Any:
    def check(values: list[str]) -> list[str]:
        if not values:
            raise ValueError("an empty list matches nothing: list something, or remove the key")
        for value in values:
            if not shape.match(value):
                raise ValueError(f"`{value}` is not {say}")
        return values

    return AfterValidator(check)


Relations = Annotated[Strings, _pattern(_RELATION, "of the form `schema.relation`; `*` and `?` are wildcards")]
Columns = Annotated[Strings, _pattern(_COLUMN, "of the form `schema.relation.column`; `*` and `?` are wildcards")]
Functions = Annotated[Strings, _pattern(_FUNCTION, "a function's name, with or without its schema")]


class SqlTerms(Terms):
    """What a rule says of a SQL statement; every term that is given must match."""

    statements: Annotated[list[Annotated[StatementClass, Field(strict=False)]], Field(min_length=1)] | None = None
    """Statement classes; for `allow` and `hold`: which classes the rule covers."""
    relations: Relations | None = None
    """Tables, views and sequences as `schema.relation`; without it, any."""
    columns: Columns | None = None
    """Columns as `schema.relation.column`. In `deny` and `hold`: the statement mentions one, or could. In `allow`,
    with `statements: write`: INSERT and UPDATE that set no other columns than these."""
    functions: Functions | None = None
    """Functions by name or `schema.name`; in `allow`: those beyond the plain built-ins that may be called."""

    @model_validator(mode="before")
    @classmethod
    def _statements_listed(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("statements"), str):
            return {**value, "statements": [value["statements"]]}
        return value

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if all(term is None for term in (self.statements, self.relations, self.columns, self.functions)):
            raise ValueError("needs at least one of `statements`, `relations`, `columns`, `functions`")
        return self


class Match(Terms):
    """What a rule matches: the terms of exactly one protocol, and an optional condition."""

    sql: SqlTerms | None = None
    """Terms for SQL statements (targets of kind `postgres`)."""
    http: HttpTerms | None = None
    """Terms for HTTP requests (targets of kind `http`)."""
    kubernetes: KubernetesTerms | None = None
    """Terms for requests to Kubernetes (targets of kind `kubernetes`)."""
    ssh: SshTerms | None = None
    """Terms for commands and sessions (targets of kind `ssh`)."""
    when: str | None = None
    """A CEL expression over `op`, `bot` and `target` that must compile to a boolean; an evaluation error denies."""
    during: Windows | None = None
    """When the rule is in force; without it, always."""
    because: str | None = None
    """Why the rule is there; told to the bot when the rule denies, and to approvers when it holds."""

    @model_validator(mode="after")
    def _one_protocol(self) -> Self:
        if sum(terms is not None for terms in (self.sql, self.http, self.kubernetes, self.ssh)) != 1:
            raise ValueError("needs exactly one of `sql`, `http`, `kubernetes`, `ssh`")
        return self

    @property
    def protocol(self) -> str:
        """Which of the protocols it speaks of: `sql`, `http`, `kubernetes` or `ssh`."""
        return next(name for name in ("sql", "http", "kubernetes", "ssh") if getattr(self, name) is not None)


class Approvers(Terms):
    """Who may approve."""

    groups: Annotated[list[Name], Field(min_length=1), BeforeValidator(listed)]
    """Names of groups of people, as the stack's `approvers` has them; a member of any of them may approve."""
    quorum: Annotated[int, Field(ge=1, le=20)] = 1
    """How many different people must approve."""


class Reason(StrEnum):
    """Whether the bot must say why."""

    REQUIRED = "required"
    """Without a reason the operation fails, and nobody is asked."""
    OPTIONAL = "optional"
    """Approvers see the reason if there is one."""


class Counting(StrEnum):
    """How the number of rows that an operation would change is found out."""

    ROLLBACK = "rollback"
    """By running it in a transaction that is rolled back, under time limits."""


class Hold(Match):
    """What waits for people to approve it, one operation at a time."""

    approvers: Approvers
    """Who may approve."""
    within: Duration = "10m"
    """How long the request stands; unanswered, it lapses."""
    use_within: Annotated[Duration | None, Field(alias="useWithin")] = None
    """How long an approval may be used; `within` if left out."""
    wait: Duration = "60s"
    """How long the client waits for the answer before its statement fails with a handle to come back with."""
    reason: Annotated[Reason, Field(strict=False)] = Reason.OPTIONAL
    """`required`: the bot must give a reason (`SET wicketgate.reason = '…'`)."""
    once: bool | None = None
    """`true`, which holds anyway without `for`: an approval serves one run."""
    reuse: Annotated[Duration | None, Field(alias="for")] = None
    """An approval serves the very same operation again and again for so long."""
    count: Annotated[Counting | None, Field(strict=False)] = None
    """`rollback`: approvers also see how many rows it changes, from a run that is rolled back; else an estimate."""

    @model_validator(mode="after")
    def _times(self) -> Self:
        if self.once is False:
            raise ValueError("`once: false` says not how long: write `for`, such as `for: 1h`")
        if self.once and self.reuse is not None:
            raise ValueError("`once` and `for` exclude each other")
        if self.use_within is not None and self.reuse is not None:
            raise ValueError("`useWithin` and `for` exclude each other")
        for name, value, most in (
            ("within", self.within, 7 * 86400),
            ("useWithin", self.use_within, 7 * 86400),
            ("wait", self.wait, 600),
            ("for", self.reuse, 86400),
        ):
            least = 0 if name == "wait" else 1
            if value is not None and not least <= seconds(value) <= most:
                raise ValueError(f"`{name}` must be from {least} to {most} seconds")
        return self


class Rule(Terms):
    """One rule: exactly one of `allow`, `hold`, `deny`."""

    allow: Match | None = None
    """What may pass."""
    hold: Hold | None = None
    """What may pass once people approved it, whatever `allow` rules say."""
    deny: Match | None = None
    """What may not, whatever other rules say."""

    @model_validator(mode="after")
    def _one_effect(self) -> Self:
        if sum(match is not None for match in (self.allow, self.hold, self.deny)) != 1:
            raise ValueError("a rule is exactly one of `allow`, `hold`, `deny`")
        covering = self.allow or self.hold
        if covering is None:
            return self
        sql = covering.sql
        if sql is None:
            return self
        if self.allow is not None and sql.columns is not None and sql.statements != [StatementClass.WRITE]:
            raise ValueError(
                "`columns` in `allow` needs `statements: write`, for what may be set; to hide a column's values use "
                "`mask`, and to forbid mentioning it `deny`"
            )
        if sql.columns is not None and (sql.functions is not None or sql.relations is not None):
            raise ValueError("`columns` stands alone with `statements`: they name their relations themselves")
        if sql.relations is not None:
            for cls in sorted(WITHOUT_RELATIONS.intersection(sql.statements or ())):
                effect = "allow" if self.allow is not None else "hold"
                raise ValueError(
                    f"`{cls}` cannot be limited to relations: {effect} it in a rule of its own, without `relations`"
                )
        return self

    @property
    def effect(self) -> str:
        """`allow`, `hold` or `deny`."""
        return "allow" if self.allow is not None else "hold" if self.hold is not None else "deny"

    @property
    def match(self) -> Match:
        """The rule's terms, whichever its effect."""
        match = self.allow or self.hold or self.deny
        assert match
        return match


class MaskMethod(StrEnum):
    """How a masked value comes out: in the column's own type, so that clients can still read it, or as NULL where the
    type has room for no replacement."""

    REDACT = "redact"
    """A fixed text, `•••`; of other types their zero."""
    PARTIAL = "partial"
    """The last four characters (of an e-mail address: its first letter and its domain), the rest as `*`."""
    HASH = "hash"
    """A keyed digest (HMAC-SHA-256, 16 hex digits): equal values stay equal, none can be guessed."""
    FORMAT = "format"
    """Each digit another digit, each letter another letter, by a key: shape stays, equal values stay equal."""
    NULL = "null"
    """NULL; where there is none (a stream of text), nothing."""


def _null_is_a_method(value: Any) -> Any:
    return "null" if value is None else value  # people write `with: null`, which YAML reads as no value


class MaskUses(StrEnum):
    """What SQL may do with a masked column beside giving it out masked. All of it can tell something of a value."""

    NONE = "none"
    """Nothing."""
    COMPARE = "compare"
    """Compare it as it is: `=`, `<>`, `IN`, `IS NULL`, also in joins. Who guesses a value learns that it is right."""
    ANY = "any"
    """Anything: LIKE, ORDER BY, GROUP BY, DISTINCT, aggregates, casts. Who asks often enough learns the value."""


class Untraceable(StrEnum):
    """What becomes of a result column that cannot be followed to its sources, such as what a function returns."""

    MASK = "mask"
    """It comes back masked, by the strictest method."""
    DENY = "deny"
    """The statement is denied."""


class Mask(Model):
    """What comes back masked."""

    columns: Columns | None = None
    """Source columns as `schema.relation.column`, followed through aliases, views and expressions."""
    names: Strings | None = None
    """Columns of this name: result columns by their label wherever they come from, and source columns of every relation
    whatever their label; wildcards `*` and `?`, case ignored."""
    json_: Annotated[Strings | None, Field(alias="json")] = None
    """Fields of JSON documents (HTTP and Kubernetes): `$.items[*].email`; `**` stands for any depth, as in
    `$.**.email`."""
    detect: Strings | None = None
    """Whatever these detectors find in what the target sends, whichever its column or field, and in what is recorded of
    what the bot sends: `api-key`, `card`, `jwt`, `private-key`, `iban`, `email`, `phone`, and those of `detectors`."""
    method: Annotated[MaskMethod, Field(alias="with", strict=False), BeforeValidator(_null_is_a_method)]
    """`redact`, `partial`, `hash`, `format` or `null`."""
    uses: Annotated[MaskUses, Field(strict=False)] = MaskUses.NONE
    """What SQL may do with the columns beside giving them out masked: `none`, `compare` or `any`. Where masks meet, the
    one that lets the least wins."""

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not self.columns and not self.names and not self.json_ and not self.detect:
            raise ValueError("needs `columns`, `names`, `json` or `detect`")
        for path in self.json_ or ():
            json_path(path)
        return self


class Confirm(StrEnum):
    """A check that a detector's finds must pass."""

    LUHN = "luhn"
    """The digits pass Luhn's check, as cards do."""
    MOD97 = "mod97"
    """Letters and digits pass the check of an IBAN."""
    MIXED = "mixed"
    """Letters and digits are among it."""


class Detector(Terms):
    """A detector of your own."""

    pattern: Annotated[str, AfterValidator(checked_pattern)]
    """A regular expression over bytes that is found in linear time: no looking ahead, behind or back, no `^`, `$`,
    `\\b`; it must not match the empty text."""
    confirm: Annotated[Confirm | None, Field(strict=False)] = None
    """What a find must also pass: `luhn`, `mod97` or `mixed`."""


class RecordLevel(StrEnum):
    """How much of a session is recorded."""

    FULL = "full"
    """Everything both sides sent, as masked."""
    REQUESTS = "requests"
    """What the bot sent, with verdicts and outcomes, and nothing of what targets answered. Where several policies apply
    to a session, `full` in one of them holds."""


class RecordFiles(StrEnum):
    """How files that pass over SFTP and SCP are recorded."""

    DIGEST = "digest"
    """By size and SHA-256."""
    CONTENT = "content"
    """Their content as well, as the detectors mask it. Where several policies apply to a session, `content` in one of
    them holds, up to the largest of their limits."""


class Record(Model):
    """What is recorded, and for how long it is kept."""

    level: Annotated[RecordLevel, Field(strict=False)] = RecordLevel.FULL
    """How much is recorded."""
    files: Annotated[RecordFiles, Field(strict=False)] = RecordFiles.DIGEST
    """How files that pass over SFTP and SCP are recorded."""
    files_up_to: Annotated[int, Field(ge=1, le=1 << 30)] = 1024 * 1024
    """With `files: content`: bytes of each file; the rest is by digest alone, and the recording says so."""
    keep: Duration = "90d"
    """How long it is kept."""


class Subjects(Terms):
    """Whom the policy applies to, beside those whom the stack gives it to."""

    groups: Annotated[list[Name], BeforeValidator(listed)] | None = None
    """Groups of bots, by the stack's names."""
    bots: Annotated[list[Name], BeforeValidator(listed)] | None = None
    """Bots, by the stack's names."""
    roles: Strings | None = None
    """App roles of the gateway's registration: whoever's token carries one (`Bot.Connect`: every bot)."""

    @model_validator(mode="after")
    def _someone(self) -> Self:
        if not self.groups and not self.bots and not self.roles:
            raise ValueError("needs `groups`, `bots` or `roles`")
        return self


class TargetSelector(Terms):
    """Targets by kind or by labels; every term given must match."""

    kind: str | None = None
    """The protocol: `postgres`, `http`, `kubernetes` or `ssh`."""
    labels: dict[str, str] | None = None
    """Labels that the target must have, with these values."""

    @model_validator(mode="after")
    def _selects_something(self) -> Self:
        if self.kind is None and not self.labels:
            raise ValueError("needs `kind` or `labels`")
        if self.kind is not None and self.kind not in PROTOCOL_OF:
            raise ValueError(f"`{self.kind}` is no protocol: write `postgres`, `http`, `kubernetes` or `ssh`")
        return self


class Policy(Model):
    """A policy file. Who it applies to is said by the stack's groups and bots, or here by `subjects`."""

    policy: Name
    """The policy's name, as groups and bots refer to it."""
    description: str | None = None
    """What the policy is for."""
    targets: list[Name] | TargetSelector
    """Names of targets, or a selector by kind and labels."""
    subjects: Subjects | None = None
    """Groups and bots that it applies to, beside those to whom the stack file gives it."""
    during: Windows | None = None
    """When the policy lets something through. At other times its `allow` and `hold` cover nothing; what it denies,
    holds and masks stays denied, held and masked."""
    rules: list[Rule] = Field(min_length=1)
    """What is allowed, held and denied; whatever no rule covers is denied."""
    mask: list[Mask] = Field(default_factory=list[Mask])
    """What comes back masked."""
    detectors: dict[Name, Detector] = Field(default_factory=dict[Name, Detector])
    """Detectors of your own, which `detect` names beside the built-in ones."""
    untraceable: Annotated[Untraceable, Field(strict=False)] = Untraceable.MASK
    """Where there are masks: what becomes of a result column that cannot be followed to its sources, `mask` or `deny`.
    Where policies differ, `deny` wins."""
    record: Record = Field(default_factory=Record)
    """What is recorded, and for how long it is kept."""

    @model_validator(mode="after")
    def _detectors_are_known(self) -> Self:
        for name in self.detectors:
            if name in BUILT_IN_DETECTORS:
                raise ValueError(f"the detector `{name}` is built in: give yours another name")
        for mask in self.mask:
            for name in mask.detect or ():
                if name not in BUILT_IN_DETECTORS and name not in self.detectors:
                    known = ", ".join(f"`{each}`" for each in (*BUILT_IN_DETECTORS, *self.detectors))
                    raise ValueError(f"no detector is called `{name}`; there are {known}")
        return self

    def covers(self, name: str, kind: str, labels: Mapping[str, str]) -> bool:
        """Whether the policy is about the target `name` of that kind with those labels."""
        if isinstance(self.targets, list):
            return name in self.targets
        wanted = self.targets
        return (wanted.kind is None or wanted.kind == kind) and (wanted.labels or {}).items() <= labels.items()


class BundledPolicy(Policy):
    """A policy with its subjects resolved to Entra object ids: names recycle, ids do not."""

    groups: dict[Uuid, str] = Field(default_factory=dict)
    """Object ids of the groups that it applies to, with their names for people."""
    bots: dict[Uuid, str] = Field(default_factory=dict)
    """Object ids of the service principals that it applies to directly, with their names."""


class BundledBot(Model):
    """What the gateway knows of a bot beyond its token."""

    name: Name
    owner: str
    owner_id: Uuid | None = None
    """Object id of the group or person that answers for the bot, who never approves what it asks for."""
    expires: Date | None = None


class Bundle(Model):
    """All policies as the gateway enforces them. `digest` stands on every audit event."""

    version: int = 1
    tenant: Uuid
    policies: list[BundledPolicy]
    bots: dict[Uuid, BundledBot] = Field(default_factory=dict)
    """By the object id of the bot's service principal."""
    approvers: dict[Name, Uuid] = Field(default_factory=dict[Name, Uuid])
    """Object id of each group of people that `hold` rules name."""
    operations: dict[Name, ApiOperations] = Field(default_factory=dict[Name, ApiOperations])
    """The operations of each target that has an OpenAPI document."""

    def render(self) -> str:
        """The bundle's one canonical form: JSON, sorted keys, two spaces, a line end."""
        return json.dumps(self.document(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @property
    def digest(self) -> str:
        """`sha256:` and the hex digest of the rendered bundle."""
        return "sha256:" + hashlib.sha256(self.render().encode()).hexdigest()
