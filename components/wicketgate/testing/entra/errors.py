"""The two kinds of refusal: Entra's token endpoint's (AADSTS codes) and Graph's (error documents).

The texts are the real service's, since clients match on them: the azuread provider retries on some, and people search
for all. Sources: Entra's list of AADSTS codes, Graph's error reference, and answers quoted in public issues.
"""

import uuid
from datetime import UTC, datetime
from typing import Any

# A line with AADSTS code, HTTP status and OAuth error, then the text. `login_error` fills what is in braces.
_TABLE = """
16000 400 interaction_required
    Either multiple user identities are available for the current request or selected account is not supported
    for the scenario.
50011 400 invalid_request
    The redirect URI '{redirect}' specified in the request does not match the redirect URIs configured for the
    application '{app}'. Make sure the redirect URI sent in the request matches one added to your application in
    the Azure portal. Navigate to https://aka.ms/redirectUriMismatchError to learn more about how to fix this.
50027 401 invalid_client
    JWT token is invalid or malformed.
50034 400 invalid_grant
    The user account {user} does not exist in the {tenant} directory. To sign into this application, the account
    must be added to the directory.
50057 400 invalid_grant
    The user account is disabled.
50105 400 invalid_grant
    Your administrator has configured the application {name} ('{app}') to block users unless they are
    specifically granted ('assigned') access to the application. The signed-in user '{user}' is blocked because
    they are not a direct member of a group with access, nor had access directly assigned by an administrator.
    Please contact your administrator to assign access to this application.
50166 400 invalid_request
    Request to External OIDC endpoint failed.
54005 400 invalid_grant
    OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing
    refresh token.
65001 400 invalid_grant
    The user or administrator has not consented to use the application with ID '{app}' named '{name}'. Send an
    interactive authorization request for this user and resource.
70000 400 invalid_grant
    Provided grant is invalid or malformed.
70003 400 unsupported_grant_type
    The app requested an unsupported grant type '{grant}'.
70008 400 invalid_grant
    The provided authorization code or refresh token has expired due to inactivity. Send a new interactive
    authorization request for this user and resource.
70011 400 invalid_scope
    The provided request must include a 'scope' input parameter. The provided value for the input parameter
    'scope' is not valid. The scope {scope} is not valid.
70016 400 authorization_pending
    OAuth 2.0 device flow error. Authorization is pending. Continue polling.
70018 400 bad_verification_code
    Invalid verification code due to user typing in wrong user code for device code flow.
70019 400 expired_token
    Verification code expired. Please retry the sign-in.
70020 400 authorization_declined
    The end user denied the authorization request.
90002 400 invalid_request
    Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the
    correct cloud. Check with your subscription administrator, this may happen if there are no active
    subscriptions for the tenant.
90014 400 invalid_request
    The required field '{field}' is missing from the credential. Ensure that you have all the necessary
    parameters for the login request.
90023 400 invalid_request
    Invalid STS request.
500011 400 invalid_resource
    The resource principal named {resource} was not found in the tenant named {tenant_name}. This can happen if
    the application has not been installed by the administrator of the tenant or consented to by any user in the
    tenant. You might have sent your authentication request to the wrong tenant.
500014 400 invalid_resource
    The service principal for resource '{resource}' is disabled. This indicate that a subscription within the
    tenant has lapsed, or that the administrator for this tenant has disabled the application, preventing tokens
    from being issued for it.
75005 400 invalid_request
    The request is not a valid Saml2 protocol message.
501051 400 invalid_grant
    Application '{app}'({name}) is not assigned to a role for the application '{resource}'({resource_name}).
501481 400 invalid_grant
    The Code_Verifier does not match the code_challenge supplied in the authorization request.
700016 400 unauthorized_client
    Application with identifier '{app}' was not found in the directory '{tenant_name}'. This can happen if the
    application has not been installed by the administrator of the tenant or consented to by any user in the
    tenant. You may have sent your authentication request to the wrong tenant.
700021 401 invalid_client
    Client assertion application identifier doesn't match 'client_id' parameter. Review the documentation at
    https://learn.microsoft.com/entra/identity-platform/certificate-credentials.
700023 401 invalid_client
    Client assertion audience claim does not match Realm issuer. Review the documentation at
    https://learn.microsoft.com/entra/identity-platform/certificate-credentials.
700024 401 invalid_client
    Client assertion is not within its valid time range. Current time: {now}, assertion valid from {start},
    expiry time of assertion {end}.
700027 401 invalid_client
    The certificate with identifier used to sign the client assertion is not registered on application. [Reason
    - {reason}, Thumbprint of key used by client: '{thumbprint}', Please visit the Azure Portal, Graph Explorer
    or directly use MS Graph to see configured keys for app Id '{app}'.]
700030 401 invalid_client
    Invalid certificate - subject name or issuer in certificate is not authorized.
700082 400 invalid_grant
    The refresh token has expired due to inactivity.
700211 401 invalid_client
    No matching federated identity record found for presented assertion issuer '{value}'. Check your federated
    identity credential Subject, Audience and Issuer against the presented assertion.
    https://learn.microsoft.com/entra/workload-id/workload-identity-federation
700212 401 invalid_client
    No matching federated identity record found for presented assertion audience '{value}'. Check your federated
    identity credential Subject, Audience and Issuer against the presented assertion.
    https://learn.microsoft.com/entra/workload-id/workload-identity-federation
700213 401 invalid_client
    No matching federated identity record found for presented assertion subject '{value}'. Check your federated
    identity credential Subject, Audience and Issuer against the presented assertion.
    https://learn.microsoft.com/entra/workload-id/workload-identity-federation
900023 400 invalid_request
    Specified tenant identifier '{tenant}' is neither a valid DNS name, nor a valid external domain.
750054 400 invalid_request
    SAMLRequest or SAMLResponse must be present as query string parameters in HTTP request for SAML Redirect
    binding.
900144 400 invalid_request
    The request body must contain the following parameter: '{field}'.
1002012 400 invalid_scope
    The provided value for scope {scope} is not valid. Client credential flows must have a scope value with
    /.default suffixed to the resource identifier (application ID URI).
5002727 401 invalid_client
    Invalid JWT header type specified. Allowed types: 'JWT','http://openid.net/specs/jwt/1.0'.
7000112 400 unauthorized_client
    Application '{app}'({name}) is disabled.
7000215 401 invalid_client
    Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not
    the client secret ID, for a secret added to app '{app}'.
7000216 400 invalid_request
    'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.
7000218 401 invalid_client
    The request body must contain the following parameter: 'client_assertion' or 'client_secret'.
7000222 401 invalid_client
    The provided client secret keys for app '{app}' are expired. Visit the Azure portal to create new keys for
    your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security:
    https://aka.ms/certCreds.
7002138 401 invalid_client
    No matching federated identity record found for presented assertion subject '{value}'. The subject matches
    with case-insensitive comparison, but not with case-sensitive comparison. Check your federated identity
    credential Subject, Audience and Issuer against the presented assertion.
    https://learn.microsoft.com/entra/workload-id/workload-identity-federation
9002313 400 invalid_request
    Invalid request. Request is malformed or invalid.
"""


def _read_table() -> dict[int, tuple[int, str, str]]:
    found: dict[int, tuple[int, str, list[str]]] = {}
    code = 0
    for line in _TABLE.strip().splitlines():
        if line.startswith(" "):
            found[code][2].append(line.strip())
        else:
            number, status, error = line.split()
            code = int(number)
            found[code] = (int(status), error, [])
    return {code: (status, error, " ".join(text)) for code, (status, error, text) in found.items()}


AADSTS: dict[int, tuple[int, str, str]] = _read_table()
"""HTTP status, OAuth error and text of each code."""


class LoginError(Exception):
    """A refusal by the login endpoints. Make it with `login_error`."""

    def __init__(self, code: int, status: int, error: str, text: str) -> None:
        super().__init__(f"AADSTS{code}: {text}")
        self.code = code
        self.status = status
        self.error = error
        self.text = text

    def body(self, authority: str, correlation: str | None = None) -> dict[str, Any]:
        """The error document as the token endpoint sends it."""
        trace = str(uuid.uuid4())
        correlation = correlation or str(uuid.uuid4())
        timestamp = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%SZ}"
        return {
            "error": self.error,
            "error_description": f"AADSTS{self.code}: {self.text} Trace ID: {trace} Correlation ID: {correlation} "
            f"Timestamp: {timestamp}",
            "error_codes": [self.code],
            "timestamp": timestamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"{authority}/error?code={self.code}",
        }


def login_error(code: int, **fields: str) -> LoginError:
    """The refusal with this AADSTS code; `fields` fill its text. Raises KeyError for an unknown code or field."""
    status, error, text = AADSTS[code]
    return LoginError(code, status, error, text.format(**fields))


class GraphError(Exception):
    """A refusal by Graph: HTTP status, `error.code`, `error.message`."""

    def __init__(self, status: int, code: str, message: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}

    def body(self, request_id: str, client_request_id: str) -> dict[str, Any]:
        """The error document as Graph sends it."""
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "innerError": {
                    "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}",
                    "request-id": request_id,
                    "client-request-id": client_request_id,
                },
            }
        }


def not_found(key: str) -> GraphError:
    """404: no such object, or not yet seen by this replica."""
    return GraphError(
        404,
        "Request_ResourceNotFound",
        f"Resource '{key}' does not exist or one of its queried reference-property objects are not present.",
    )


def bad_request(message: str, code: str = "Request_BadRequest") -> GraphError:
    """400 with Graph's usual code."""
    return GraphError(400, code, message)


def conflict(message: str) -> GraphError:
    """409: another object has the same key."""
    return GraphError(409, "Request_MultipleObjectsWithSameKeyValue", message)


def denied() -> GraphError:
    """403, which tells no more than the real one: that a privilege lacks."""
    return GraphError(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
