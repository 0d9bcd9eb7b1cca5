"""Who vouches for a workload: one typed setting per platform, and the federated credential that it comes to.

How this works: Entra accepts any issuer and subject silently and fails at the exchange (AADSTS700211, 700213, 7002138),
so each platform's form is checked here, at preview. Sources: Microsoft Graph `federatedIdentityCredential`, and each
platform's own reference of its OIDC tokens.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from wicketgate.args import CredentialIssuer, FederatedCredentialArgs
from wicketgate_gateway.contract import model
from wicketgate_gateway.contract.gateway import TOKEN_EXCHANGE_AUDIENCE
from wicketgate_gateway.contract.values import Uuid

MAX_CREDENTIALS = 20
MAX_SUBJECT = 600
AUDIENCES = (
    TOKEN_EXCHANGE_AUDIENCE,
    "api://AzureADTokenExchangeUSGov",
    "api://AzureADTokenExchangeChina",
)
"""What the clouds of Microsoft expect."""
GITHUB = "https://token.actions.githubusercontent.com"

_GITHUB_NAME = re.compile(r"[A-Za-z0-9-]+/[A-Za-z0-9._-]+\Z")
_GITHUB_IDS = re.compile(r"[A-Za-z0-9-]+@\d+/[A-Za-z0-9._-]+@\d+\Z")
_CLUSTERS = {
    "aks": (
        re.compile(r"https://[a-z0-9-]+\.oic\.prod-aks\.azure\.(com|us|cn)/[0-9a-f-]{36}/[0-9a-f-]{36}/\Z"),
        (
            "https://REGION.oic.prod-aks.azure.com/TENANT/ID/ (with the slash at its end; `az aks show --query "
            "oidcIssuerProfile.issuerUrl`)"
        ),
    ),
    "eks": (
        re.compile(r"https://oidc\.eks\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/id/[0-9A-F]{32}\Z"),
        "https://oidc.eks.REGION.amazonaws.com/id/ID (`aws eks describe-cluster --query cluster.identity.oidc.issuer`)",
    ),
    "gke": (
        re.compile(
            r"https://container\.googleapis\.com/v1/projects/[a-z0-9-]+/(locations|zones)/[a-z0-9-]+/clusters/\S+\Z"
        ),
        "https://container.googleapis.com/v1/projects/PROJECT/locations/LOCATION/clusters/NAME",
    ),
}
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
_ACCOUNT = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?\Z")
_TERRAFORM = re.compile(r"[A-Za-z0-9_ -]+\Z")
_SPIFFE = re.compile(r"spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)*\Z")
_CLAIM = re.compile(r"claims\['([^']+)'\] +(eq|matches) +'([^']*)'\Z")
_FLEXIBLE_ISSUERS = {
    GITHUB: {"sub", "job_workflow_ref"},
    "https://gitlab.com": {"sub", "ref_path", "ci_config_ref_uri"},
    "https://app.terraform.io": {"sub", "terraform_full_workspace"},
}


def _issuer(value: str) -> str:
    if not value.startswith("https://") or value != value.strip() or any(c in value for c in "?#* \\@"):
        raise ValueError("must be an https address, byte for byte as in the token: Entra fetches its keys there")
    return value


Issuer = Annotated[str, AfterValidator(_issuer)]


def _audience(value: str) -> str:
    if value not in AUDIENCES:
        allowed = ", ".join(f"`{a}`" for a in AUDIENCES)
        raise ValueError(f"`{value}` is no audience of a token exchange; Entra's clouds want {allowed}")
    return value


Audience = Annotated[str, AfterValidator(_audience)]


def _exact(value: str) -> str:
    if not value or len(value) > MAX_SUBJECT or value != value.strip():
        raise ValueError(f"must be 1 to {MAX_SUBJECT} characters without spaces around them")
    if "*" in value or "?" in value:
        raise ValueError("is one exact value: Entra compares it byte for byte; for patterns use `expression`")
    return value


Subject = Annotated[str, AfterValidator(_exact)]


class Platform(model.Model):
    """Base of the platforms."""

    def resolve(self) -> FederatedCredentialArgs:
        """The credential as Entra stores it."""
        raise NotImplementedError

    def warnings(self) -> list[str]:
        """What is not wrong, but worth a second thought."""
        return []


def _credential(kind: CredentialIssuer, issuer: str, subject: str) -> FederatedCredentialArgs:
    return {"kind": kind, "issuer": issuer, "subject": subject, "audience": TOKEN_EXCHANGE_AUDIENCE}


class GitHub(Platform):
    """A workflow of GitHub Actions."""

    repository: str
    """`owner/name`, or `owner@id/name@id` where GitHub issues immutable subjects (repositories made, renamed or
    transferred since 2026-07-15)."""
    branch: Subject | None = None
    """The branch whose workflows may act."""
    tag: Subject | None = None
    """The tag whose workflows may act."""
    environment: Subject | None = None
    """The deployment environment whose jobs may act."""
    pull_request: bool = False
    """Any pull request of the repository, from forks too where the workflow allows it."""

    @model_validator(mode="after")
    def _one_context(self) -> Self:
        if not _GITHUB_NAME.match(self.repository) and not _GITHUB_IDS.match(self.repository):
            raise ValueError("`repository` must be `owner/name`, or `owner@id/name@id`: both with ids, or none")
        if sum(bool(c) for c in (self.branch, self.tag, self.environment, self.pull_request)) != 1:
            raise ValueError("needs exactly one of `branch`, `tag`, `environment`, `pullRequest`")
        return self

    def resolve(self) -> FederatedCredentialArgs:
        """Issuer and subject, as GitHub's OIDC reference says."""
        if self.branch:
            context = f"ref:refs/heads/{self.branch}"
        elif self.tag:
            context = f"ref:refs/tags/{self.tag}"
        else:
            context = f"environment:{self.environment}" if self.environment else "pull_request"
        return _credential(CredentialIssuer.GITHUB, GITHUB, f"repo:{self.repository}:{context}")

    def warnings(self) -> list[str]:
        """A name that can change hands; pull requests, which anyone may open."""
        found: list[str] = []
        if "@" not in self.repository:
            found.append(
                f"`{self.repository}` is a name that can change hands; where GitHub issues immutable subjects write "
                "`owner@id/name@id` (`gh api repos/OWNER/NAME --jq '.owner.id, .id'`)"
            )
        if self.pull_request:
            found.append(f"whoever opens a pull request of `{self.repository}` may act as this bot")
        return found


class GitLab(Platform):
    """A pipeline of GitLab: by the project's id, which never changes hands, or by its path, which can."""

    issuer: Issuer = "https://gitlab.com"
    """The GitLab instance."""
    project_id: int | None = None
    """The project's number."""
    project: str | None = None
    """The project's path, `group/name`."""
    branch: Subject | None = None
    """The branch whose pipelines may act."""
    tag: Subject | None = None
    """The tag whose pipelines may act."""

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        if (self.project_id is None) == (self.project is None):
            raise ValueError("needs exactly one of `projectId`, `project`")
        if (self.branch is None) == (self.tag is None):
            raise ValueError("needs exactly one of `branch`, `tag`")
        if self.project is not None and not re.fullmatch(r"[\w.-]+(/[\w.-]+)+", self.project):
            raise ValueError("`project` must be a path such as `group/name`")
        return self

    def resolve(self) -> FederatedCredentialArgs:
        """Issuer and subject, as GitLab's ID token reference says."""
        who = f"project_id:{self.project_id}" if self.project_id is not None else f"project_path:{self.project}"
        kind, ref = ("branch", self.branch) if self.branch else ("tag", self.tag)
        return _credential(CredentialIssuer.GITLAB, self.issuer, f"{who}:ref_type:{kind}:ref:{ref}")

    def warnings(self) -> list[str]:
        """A path that can change hands."""
        return [f"the path `{self.project}` can change hands; write `projectId`"] if self.project else []


class Kubernetes(Platform):
    """A service account of a cluster whose issuer Entra can reach."""

    cluster: Literal["aks", "eks", "gke", "self-hosted"] = "self-hosted"
    """The kind of cluster, by which the issuer's form is checked."""
    issuer: Issuer
    """The cluster's issuer URL, byte for byte."""
    namespace: str
    """The namespace of the service account."""
    service_account: str
    """The service account's name."""

    @model_validator(mode="after")
    def _forms(self) -> Self:
        if not _NAMESPACE.match(self.namespace):
            raise ValueError(f"`{self.namespace}` is no namespace: lower-case letters, digits and `-`")
        if not _ACCOUNT.match(self.service_account):
            raise ValueError(f"`{self.service_account}` is no service account: lower-case letters, digits, `-`, `.`")
        if self.cluster in _CLUSTERS:
            form, say = _CLUSTERS[self.cluster]
            if not form.match(self.issuer):
                raise ValueError(f"the issuer of {self.cluster.upper()} is {say}")
        return self

    def resolve(self) -> FederatedCredentialArgs:
        """Issuer and subject of projected service account tokens."""
        subject = f"system:serviceaccount:{self.namespace}:{self.service_account}"
        return _credential(CredentialIssuer.KUBERNETES, self.issuer, subject)

    def warnings(self) -> list[str]:
        """The account that every pod of a namespace has."""
        if self.service_account != "default":
            return []
        return [f"every pod in `{self.namespace}` without an account of its own may act as this bot"]


class Terraform(Platform):
    """A run of HCP Terraform."""

    issuer: Issuer = "https://app.terraform.io"
    """HCP Terraform, or an installation of Terraform Enterprise."""
    organization: str
    """The organization."""
    project: str
    """The project."""
    workspace: str
    """The workspace."""
    phase: Literal["plan", "apply"]
    """The phase of the run; each needs a credential of its own."""

    @model_validator(mode="after")
    def _names(self) -> Self:
        for value in (self.organization, self.project, self.workspace):
            if not _TERRAFORM.match(value):
                raise ValueError(f"`{value}` is no name of HCP Terraform")
        return self

    def resolve(self) -> FederatedCredentialArgs:
        """Issuer and subject, as HCP Terraform's reference of workload identity says."""
        subject = (
            f"organization:{self.organization}:project:{self.project}:workspace:{self.workspace}:run_phase:{self.phase}"
        )
        return _credential(CredentialIssuer.TERRAFORM, self.issuer, subject)


class Google(Platform):
    """A service account of Google Cloud."""

    unique_id: str
    """Its numeric unique id, not its mail address, which can be given anew."""

    @model_validator(mode="after")
    def _digits(self) -> Self:
        if not re.fullmatch(r"\d{15,30}", self.unique_id):
            raise ValueError("`uniqueId` is the account's number (`gcloud iam service-accounts describe`), in quotes")
        return self

    def resolve(self) -> FederatedCredentialArgs:
        """Issuer and subject of Google's ID tokens."""
        return _credential(CredentialIssuer.GOOGLE, "https://accounts.google.com", self.unique_id)


class Spiffe(Platform):
    """A workload of SPIFFE; its issuer must sign with RSA."""

    issuer: Issuer
    """The OIDC discovery provider of the trust domain."""
    id: str
    """The SPIFFE ID, `spiffe://domain/path`."""

    @model_validator(mode="after")
    def _form(self) -> Self:
        if not _SPIFFE.match(self.id) or len(self.id) > MAX_SUBJECT:
            raise ValueError("`id` must be `spiffe://trust-domain/path`")
        return self

    def resolve(self) -> FederatedCredentialArgs:
        """Issuer and subject of JWT-SVIDs."""
        return _credential(CredentialIssuer.SPIFFE, self.issuer, self.id)


class ManagedIdentity(Platform):
    """A user-assigned managed identity of the same tenant."""

    tenant: Uuid
    """The tenant, which is its issuer."""
    principal: Uuid
    """Its principal (object) id, not its client id."""

    def resolve(self) -> FederatedCredentialArgs:
        """Issuer and subject of a managed identity's tokens."""
        issuer = f"https://login.microsoftonline.com/{self.tenant}/v2.0"
        return _credential(CredentialIssuer.MANAGED_IDENTITY, issuer, self.principal)


class Expression(Platform):
    """A flexible federated credential (Graph beta, a preview of Entra's): a pattern instead of one subject."""

    issuer: Issuer
    """GitHub's, GitLab's or HCP Terraform's issuer: Entra knows no others here."""
    matching: Annotated[str, Field(max_length=MAX_SUBJECT)]
    """`claims['sub'] matches 'repo:acme/shop:ref:refs/heads/*'`, parts joined by `and`; `*` and `?` are wildcards."""

    @model_validator(mode="after")
    def _parts(self) -> Self:
        known = _FLEXIBLE_ISSUERS.get(self.issuer)
        if known is None:
            raise ValueError("Entra takes expressions for these issuers alone: " + ", ".join(_FLEXIBLE_ISSUERS))
        bounded = False
        for part in re.split(r" +and +", self.matching.strip()):
            match = _CLAIM.match(part)
            if match is None:
                raise ValueError(f"`{part}` is no part of an expression: write `claims['sub'] matches '…'` or `eq '…'`")
            claim, operator, value = match.groups()
            if claim not in known:
                raise ValueError(
                    f"Entra does not compare `{claim}` of this issuer; it knows {', '.join(sorted(known))}"
                )
            if operator == "matches" and re.match(r"[^:/]*[*?]", value.partition(":")[2] or value):
                raise ValueError(f"`{value}` leaves open whose workload it is: a wildcard may not stand in its owner")
            bounded = bounded or claim == "sub" or operator == "eq"
        if not bounded:
            raise ValueError("needs a part on `sub`")
        return self

    def resolve(self) -> FederatedCredentialArgs:
        """The expression, without a subject."""
        return {
            "kind": CredentialIssuer.EXPRESSION,
            "issuer": self.issuer,
            "expression": self.matching.strip(),
            "audience": TOKEN_EXCHANGE_AUDIENCE,
        }


class Oidc(Platform):
    """Any other issuer of RS256-signed tokens that Entra can reach."""

    issuer: Issuer
    """The token's `iss`, byte for byte; Entra fetches its keys from there."""
    subject: Subject
    """The token's `sub`, byte for byte."""
    audience: Audience = TOKEN_EXCHANGE_AUDIENCE
    """The token's `aud`."""

    def resolve(self) -> FederatedCredentialArgs:
        """Issuer and subject as given."""
        return {
            "kind": CredentialIssuer.OIDC,
            "issuer": self.issuer,
            "subject": self.subject,
            "audience": self.audience,
        }


class Credential(model.Model):
    """One federated credential, by the platform that vouches for the workload."""

    github: GitHub | None = None
    """A workflow of GitHub Actions."""
    gitlab: GitLab | None = None
    """A pipeline of GitLab."""
    kubernetes: Kubernetes | None = None
    """A service account of a cluster."""
    terraform: Terraform | None = None
    """A run of HCP Terraform."""
    google: Google | None = None
    """A service account of Google Cloud."""
    spiffe: Spiffe | None = None
    """A workload of SPIFFE."""
    managed_identity: ManagedIdentity | None = None
    """A user-assigned managed identity of Azure."""
    expression: Expression | None = None
    """A pattern over claims."""
    oidc: Oidc | None = None
    """Any other issuer."""
    adopt: Uuid | None = None
    """Id of this federated credential, where an adopted application has it already."""

    @model_validator(mode="after")
    def _one_platform(self) -> Self:
        if len(self._given()) != 1:
            fields = type(self).model_fields.items()
            names = ", ".join(f"`{info.alias or name}`" for name, info in fields if name != "adopt")
            raise ValueError(f"a credential is exactly one of {names}")
        return self

    def _given(self) -> list[Platform]:
        names = (name for name in type(self).model_fields if name != "adopt")
        return [value for name in names if (value := getattr(self, name)) is not None]

    def resolve(self) -> FederatedCredentialArgs:
        """The credential as Entra stores it."""
        resolved = self._given()[0].resolve()
        return resolved if self.adopt is None else {**resolved, "adopt": self.adopt}

    def warnings(self) -> list[str]:
        """What is not wrong, but worth a second thought."""
        return self._given()[0].warnings()


def _few(value: Any) -> Any:
    if isinstance(value, list) and len(value) > MAX_CREDENTIALS:
        raise ValueError(
            f"Entra takes at most {MAX_CREDENTIALS} federated credentials for each application: use `expression`, or "
            "a second bot in the same groups"
        )
    return value


Credentials = Annotated[list[Credential], BeforeValidator(_few)]
