"""Discovery, keys and the GitHub Actions token request."""

from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from wicketgate.testing.issuer.config import Workflow
from wicketgate.testing.issuer.server import WorkloadIssuer

SUBJECT = "repo:acme/shop:ref:refs/heads/main"


def test_discovery_leads_to_the_keys_that_verify(issuer: WorkloadIssuer, web: httpx2.Client) -> None:
    document = web.get("/.well-known/openid-configuration").json()
    assert document["issuer"] == issuer.url
    keys: Any = web.get(document["jwks_uri"]).json()
    assert all("d" not in one for one in keys["keys"])
    token = issuer.token(SUBJECT, "aud", claims={"repository": "acme/shop"})
    claims = jwt.decode(token, KeySet.import_key_set(keys), algorithms=["RS256"]).claims
    assert (claims["iss"], claims["sub"], claims["aud"]) == (issuer.url, SUBJECT, "aud")
    assert claims["repository"] == "acme/shop"
    assert claims["exp"] - claims["iat"] == 300


def test_a_workflow_asks_as_on_github(issuer: WorkloadIssuer, web: httpx2.Client) -> None:
    url, request_token = issuer.allow("ci", SUBJECT, claims={"ref": "refs/heads/main"})
    answer = web.get(f"{url}&audience=api://AzureADTokenExchange", headers={"Authorization": f"bearer {request_token}"})
    assert answer.headers["cache-control"] == "no-store"
    keys: Any = web.get("/.well-known/jwks").json()
    claims = jwt.decode(answer.json()["value"], KeySet.import_key_set(keys), algorithms=["RS256"]).claims
    assert (claims["sub"], claims["aud"], claims["ref"]) == (SUBJECT, "api://AzureADTokenExchange", "refs/heads/main")


@pytest.mark.parametrize("header", ["", "bearer", "bearer wrong", "basic {token}", "bearer {token}x", "{token}"])
def test_other_callers_get_nothing(issuer: WorkloadIssuer, web: httpx2.Client, header: str) -> None:
    url, request_token = issuer.allow("ci", SUBJECT)
    answer = web.get(f"{url}&audience=a", headers={"Authorization": header.format(token=request_token)})
    assert answer.status_code == 401
    assert "value" not in answer.json()


def test_the_subject_cannot_be_chosen_and_audiences_may_be_limited(issuer: WorkloadIssuer, web: httpx2.Client) -> None:
    url, request_token = issuer.allow("ci", SUBJECT)
    headers = {"Authorization": f"bearer {request_token}"}
    token = web.get(f"{url}&audience=a&subject=evil&sub=evil", headers=headers).json()["value"]
    keys: Any = web.get("/.well-known/jwks").json()
    assert jwt.decode(token, KeySet.import_key_set(keys), algorithms=["RS256"]).claims["sub"] == SUBJECT
    assert web.get(f"{url}&audience=a&audience=b", headers=headers).status_code == 400
    issuer.add_workflow(Workflow(name="narrow", subject="s", audiences=["only"]))
    narrow = (issuer.state / "requests" / "narrow.token").read_text()
    headers = {"Authorization": f"bearer {narrow}"}
    assert web.get(f"{url}&audience=only", headers=headers).status_code == 200
    assert web.get(f"{url}&audience=other", headers=headers).status_code == 403
