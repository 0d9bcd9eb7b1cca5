"""Names of federated credentials follow from their content."""

from wicketgate.args import CredentialIssuer, FederatedCredentialArgs
from wicketgate.identity.credentials import slug

ONE: FederatedCredentialArgs = {
    "kind": CredentialIssuer.OIDC,
    "issuer": "https://i",
    "subject": "s",
    "audience": "api://AzureADTokenExchange",
}


def test_the_name_differs_whenever_the_content_does() -> None:
    others: list[FederatedCredentialArgs] = [
        {**ONE, "issuer": "https://i/"},
        {**ONE, "subject": "S"},
        {**ONE, "audience": "other"},
        # Parts that run together must not collide.
        {**ONE, "issuer": "https://i\ns", "subject": ""},
    ]
    names = {slug(c) for c in (ONE, *others)}
    assert len(names) == 1 + len(others)


def test_the_name_fits_what_entra_takes() -> None:
    assert 3 <= len(slug(ONE)) <= 120
    assert slug(ONE).startswith("oidc-")
