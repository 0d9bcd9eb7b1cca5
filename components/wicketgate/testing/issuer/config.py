"""What the issuer signs for whom: `issuer.json`.

```json
{"workflows": [{"name": "quickstart", "subject": "repo:acme/shop:ref:refs/heads/main",
                "claims": {"repository": "acme/shop"}, "audiences": ["api://AzureADTokenExchange"]}],
 "projected": [{"subject": "system:serviceaccount:bots:code-review", "audience": "api://AzureADTokenExchange",
                "path": "/run/bot/token", "lifetime": 3600}]}
```

A workflow gets a request token in `DIR/requests/NAME.token` (0600) unless it stands in `request_token`; without
`audiences` any may be asked for. A projected token is kept fresh in its file, as a kubelet does.
"""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SecretStr

_MIN_LIFETIME = 30


class Workflow(BaseModel):
    """One CI job that may ask for tokens with this subject."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
    subject: Annotated[str, Field(min_length=1, max_length=600)]
    claims: dict[str, JsonValue] = {}
    audiences: list[str] | None = None
    request_token: Annotated[SecretStr, Field(min_length=16)] | None = None


class Projected(BaseModel):
    """One token file that is kept fresh. `lifetime` in seconds; it is renewed at 80 % of it, as a kubelet does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subject: Annotated[str, Field(min_length=1, max_length=600)]
    audience: Annotated[str, Field(min_length=1)]
    path: Path
    lifetime: Annotated[float, Field(ge=_MIN_LIFETIME, le=86400)] = 3600
    claims: dict[str, JsonValue] = {}


class IssuerConfig(BaseModel):
    """The whole document."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    workflows: list[Workflow] = []
    projected: list[Projected] = []
